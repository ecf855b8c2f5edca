"""Batches for training and evaluation, made with grain from one or two corpora (no jax here).

The order of the images is a function of the seed alone. Per corpus, and anew in each epoch: indices
-> seeded shuffle -> global batches, the short rest dropped; then the next epoch. The two endless
streams are zipped, each process takes its slice of every global batch, and only then are records
read and decoded. So the batches depend neither on the number of processes or workers, nor on
whether images are kept in memory; the epochs of the domains differ in length, as the corpora do.
"""

import functools
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np

from dmsrl_jax.data import corpora, parallel, reading
from dmsrl_jax.data.batches import Batch, Batches, check_state
from dmsrl_jax.errors import InputError

__all__ = ['Batch', 'Batches', 'check_state', 'evaluation_batches', 'paired_batches']

_Reader = reading.OnDemand | reading.Decoded


class _Stream(NamedTuple):
    corpus: reading.Corpus | reading.Decoded
    size: int
    shuffle: bool


@functools.lru_cache(maxsize=8)
def _permutation(count: int, seed: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


class _Order:
    """Endless random access to the global batches of indices of one stream, epoch after epoch.

    One permutation per epoch costs a hundredth of grain's shuffle, which maps index by index.
    """

    def __init__(self, count: int, batch: int, seed: tuple[int, ...] | None):
        self.count, self.batch, self.seed = count, batch, seed

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, step: int) -> np.ndarray:
        epoch, number = divmod(int(step), self.count // self.batch)
        start = number * self.batch
        if self.seed is None:
            return np.arange(start, start + self.batch)
        return _permutation(self.count, (*self.seed, epoch))[start : start + self.batch]


class _Assemble:
    """Turns the indices of one global batch per stream into this process's batch."""

    def __init__(self, readers: Sequence[_Reader], rows: slice, target_from: int):
        self.readers, self.rows, self.target_from = readers, rows, target_from

    def __call__(self, number: int, indices: Sequence[np.ndarray]) -> Batch:
        read = self.readers if number >= self.target_from else self.readers[:1]
        wanted = zip(read, indices[: len(read)], strict=True)
        parts = [reader.read(order[self.rows]) for reader, order in wanted]
        batch = {'image_s': parts[0]['image'], 'label_s': parts[0]['label']}
        return batch if len(parts) == 1 else batch | {'image_t': parts[1]['image']}


def paired_batches(
    source: reading.Corpus | reading.Decoded,
    target: reading.Corpus | reading.Decoded | None,
    *,
    batch_size: int,
    size_s: int,
    size_t: int | None = None,
    seed: int,
    workers: int = 0,
    in_memory: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    source_shuffle: bool = True,
    target_shuffle: bool = True,
    target_from: int = 0,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Batches:
    """Pairs labelled source batches with unlabelled target batches, without end.

    Nothing reads a target record's label: it cannot reach the training step.

    Args:
        source: labelled corpus, or what `reading.decode_all` made of it.
        target: unlabelled corpus, or None to train on the source alone.
        batch_size: images per domain and process in one batch.
        size_s: side at which source images are decoded (see `augment.stored_size`).
        size_t: the same of target images; default `size_s`.
        seed: decides the order of both streams; they are shuffled independently.
        workers: processes that decode; 0 uses threads. Of no use, and ignored, in memory.
        in_memory: decode both corpora once, at the start, and keep them as uint8.
        process_index: which process this is, of `process_count`. All together take the same images
            at each step as one process with `process_count` times the batch size.
        process_count: number of processes.
        source_shuffle: False takes source images in file order.
        target_shuffle: False takes target images in file order, as the release does.
        target_from: number of the first batch (from 0) with target images; before it, on demand,
            none is read.
        threads: decoding threads of this process; default: one per processor, at most 16.
        progress: called with (done, total) while a corpus is decoded into memory.

    Returns:
        Iterator over `image_s` uint8 [B, size_s, size_s, 3], `label_s` int32 [B] and, with a
        target, from batch `target_from` on, `image_t` uint8 [B, size_t, size_t, 3].

    Raises:
        InputError: the source has no labels; a corpus has no full batch, does not fit in memory, or
            has a corrupt image.
    """
    _check_counts(batch_size, workers, process_index, process_count)
    if seed < 0:
        raise InputError(f'seed must be 0 or more, got {seed}')
    streams = [_Stream(source, size_s, source_shuffle)]
    if target is not None:
        streams.append(_Stream(target, size_t or size_s, target_shuffle))
    for stream in streams:
        _check_full_batch(stream.corpus, batch_size, process_count)
    if not reading.is_labelled(source):
        raise InputError(
            f'{reading.describe(source)} has no labels: it can be the target, and the source must '
            'be a corpus with labels'
        )
    readers = [
        _reader(
            stream.corpus,
            stream.size,
            in_memory,
            labels=stream is streams[0],
            threads=threads,
            progress=progress,
        )
        for stream in streams
    ]
    settings: dict[str, Any] = {
        'seed': seed,
        'workers': 0 if all(isinstance(r, reading.Decoded) for r in readers) else workers,
        'global_batch': batch_size * process_count,
        'images': [len(stream.corpus) for stream in streams],
        'shuffle': [stream.shuffle for stream in streams],
        'target_from': target_from,
    }
    rows = slice(process_index * batch_size, (process_index + 1) * batch_size)
    epochs = [count // settings['global_batch'] for count in settings['images']]
    return Batches(
        _iterate(_Assemble(readers, rows, target_from), settings, threads),
        settings,
        epochs[0],
        epochs[1] if len(epochs) > 1 else None,
        _kept(readers),
    )


def _kept(readers: Sequence[_Reader]) -> dict[str, reading.Decoded]:
    by_role = zip(('source', 'target'), readers, strict=False)
    return {role: reader for role, reader in by_role if isinstance(reader, reading.Decoded)}


def evaluation_batches(
    corpus: reading.Corpus | reading.Decoded,
    *,
    batch_size: int,
    size: int,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Goes once through a corpus in file order; the last batch is padded to full size.

    All processes yield equally many batches, and together every image exactly once with mask 1.

    Args:
        corpus: a corpus, or what `reading.decode_all` made of it.
        batch_size: images per process in one batch.
        size: side at which images are decoded.
        process_index: which process this is, of `process_count`.
        process_count: number of processes.

    Returns:
        Iterator over `image` uint8 [B, size, size, 3], `label` int32 [B], `mask` float32 [B] (1, or
        0 for padding) and `index` int32 [B], the position in the corpus (-1 for padding).

    Raises:
        InputError: the corpus is empty, or an image is corrupt.
    """
    _check_counts(batch_size, 0, process_index, process_count)
    if not len(corpus):
        raise InputError(f'{reading.describe(corpus)} has no image to evaluate')
    reader = _reader(corpus, size, False)
    if isinstance(reader, reading.Decoded):
        return _evaluation_batches(reader, reader.read, batch_size, process_index, process_count)
    return _decoded_by_threads(reader, batch_size, process_index, process_count)


def _decoded_by_threads(reader: reading.OnDemand, *how: int) -> Iterator[Batch]:
    with futures.ThreadPoolExecutor(reading.usual_threads()) as pool:
        read = functools.partial(reader.read, each=pool.map)
        yield from _evaluation_batches(reader, read, *how)


def _evaluation_batches(
    reader: _Reader,
    read: Callable[[np.ndarray], dict[str, np.ndarray]],
    batch_size: int,
    process_index: int,
    process_count: int,
) -> Iterator[Batch]:
    total = batch_size * process_count
    for first in range(0, len(reader), total):
        start = first + process_index * batch_size
        indices = np.arange(start, min(start + batch_size, len(reader)), dtype=np.int32)
        batch: Batch = {
            'image': np.zeros((batch_size, reader.size, reader.size, 3), np.uint8),
            'label': np.zeros(batch_size, np.int32),
            'mask': np.zeros(batch_size, np.float32),
            'index': np.full(batch_size, -1, np.int32),
        }
        if len(indices):
            filled = slice(0, len(indices))
            batch['mask'][filled], batch['index'][filled] = 1.0, indices
            for name, values in read(indices).items():
                batch[name][filled] = values
        yield batch


def _check_counts(batch_size: int, workers: int, process_index: int, process_count: int) -> None:
    if batch_size < 1:
        raise InputError(f'batch_size must be at least 1, got {batch_size}')
    if workers < 0:
        raise InputError(f'workers must be 0 or more, got {workers}')
    if not 0 <= process_index < process_count:
        raise InputError(f'process_index must be in 0..{process_count - 1}, got {process_index}')


def _check_full_batch(
    corpus: reading.Corpus | reading.Decoded, batch_size: int, process_count: int
) -> None:
    if len(corpus) < batch_size * process_count:
        total = batch_size * process_count
        shared = (
            f' ({batch_size} on each of {process_count} processes)' if process_count > 1 else ''
        )
        whole = ', all processes together' if process_count > 1 else ''
        raise InputError(
            f'{reading.describe(corpus)} has {len(corpus)} images, fewer than one batch of '
            f'{total}{shared}; set batch_size to at most '
            f'{len(corpus) // process_count * process_count}{whole}'
        )


def _reader(
    corpus: reading.Corpus | reading.Decoded, size: int, in_memory: bool, **options: Any
) -> _Reader:
    if isinstance(corpus, reading.Decoded):
        if corpus.size != size:
            raise InputError(f'the corpus was decoded at side {corpus.size}, not at {size}')
        return corpus
    if in_memory:
        return reading.decode_all(corpus, size, **options)
    return reading.OnDemand(corpus, size, labels=options.get('labels', True))


def _iterate(assemble: _Assemble, settings: dict[str, Any], threads: int | None) -> Any:
    """Chains the streams of `settings` and the reading of their images to a grain iterator."""
    import grain

    workers = settings['workers']
    streams = [
        grain.MapDataset.source(
            _Order(count, settings['global_batch'], (settings['seed'], number) if shuffle else None)
        )
        for number, (count, shuffle) in enumerate(
            zip(settings['images'], settings['shuffle'], strict=True)
        )
    ]
    zipped = grain.experimental.ZipMapDataset(streams).map_with_index(assemble)
    # grain's default reads 500 elements ahead; ours are whole batches.
    ahead = 2 if workers else (threads or reading.usual_threads())
    options = grain.ReadOptions(num_threads=ahead, prefetch_buffer_size=ahead + 2)
    dataset = zipped.to_iter_dataset(options)
    if workers:
        _mark_flags_parsed()
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2),
            worker_init_fn=_worker_started,
        )
    return iter(dataset)


def _worker_started(number: int, count: int) -> None:
    """What a worker process does before its threads begin to read."""
    del number, count
    parallel.end_with_parent()
    corpora.import_readers()


def _mark_flags_parsed() -> None:
    """Lets grain's worker processes start outside of `absl.app.run` (tests, notebooks)."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()

"""Batches for training and evaluation, made with grain from one or two corpora (no jax here).

The order of the images is a function of the seed alone. Per corpus, and anew in each epoch: indices
-> seeded shuffle -> global batches, the short rest dropped -> repeat without end. The two endless
streams are zipped, each process takes its slice of every global batch, and only then are records
read and decoded. So the batches depend neither on the number of processes or workers, nor on
whether images are kept in memory; the epochs of the domains differ in length, as the corpora do.
"""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dmsrl_jax.data import reading
from dmsrl_jax.errors import InputError

Batch = dict[str, np.ndarray]
_Reader = reading.OnDemand | reading.Decoded


class Batches:
    """Endless iterator over training batches, whose state can be saved and restored at any step.

    Attributes:
        iterator: the grain `DatasetIterator` inside, for `grain.checkpoint.CheckpointSave`.
        settings: what the order of the batches depends on; store it beside the state of `iterator`
            and compare it with `check_state` before restoring.
        source_batches_per_epoch: full batches in one pass over the source.
        target_batches_per_epoch: the same of the target, or None without one.
    """

    def __init__(
        self,
        iterator: Any,
        settings: dict[str, Any],
        source_batches_per_epoch: int,
        target_batches_per_epoch: int | None,
    ):
        self.iterator = iterator
        self.settings = settings
        self.source_batches_per_epoch = source_batches_per_epoch
        self.target_batches_per_epoch = target_batches_per_epoch

    def __iter__(self) -> 'Batches':
        return self

    def __next__(self) -> Batch:
        if self.iterator is None:
            raise RuntimeError('the input pipeline is closed')
        try:
            batch = next(self.iterator)
            if not self.settings['workers']:
                return batch
            # Out of the shared memory of the workers, which must not outlive the iterator.
            return {name: np.array(values) for name, values in batch.items()}
        except InputError:
            raise
        except Exception as error:
            # Worker processes hand their errors over as text inside another error.
            if 'InputError: ' not in str(error):
                raise
            message = str(error).rpartition('InputError: ')[2].splitlines()[0]
            raise InputError(message) from error

    def get_state(self) -> dict[str, Any]:
        """Returns the position as JSON-able values: the next batch is the first one to come."""
        return {'settings': self.settings, 'iterator': self.iterator.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position that `get_state` returned, here or in another process.

        Raises:
            InputError: the state comes from other settings and would give other batches.
        """
        check_state(state['settings'], self.settings)
        self.iterator.set_state(state['iterator'])

    def start(self) -> None:
        """Starts reading ahead (worker processes take seconds to start)."""
        self.iterator.start_prefetch()

    def close(self) -> None:
        """Stops threads and worker processes; further batches are not to be had."""
        if self.iterator is not None:
            self.iterator.close()
            self.iterator = None  # grain's finaliser fails if it runs at interpreter exit

    def __enter__(self) -> 'Batches':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_state(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuses to resume with settings under which the saved position means other batches.

    Args:
        saved: `Batches.settings` of the run that wrote the state.
        current: `Batches.settings` of this run.

    Raises:
        InputError: they differ; the message lists the differences.
    """
    different = [
        f'{name} was {saved.get(name)!r} and is now {current.get(name)!r}'
        for name in sorted({*saved, *current})
        if saved.get(name) != current.get(name)
    ]
    if different:
        raise InputError(
            f'cannot resume the input pipeline: {"; ".join(different)}. Go on with the saved '
            'values, or start anew in another working folder'
        )


class _Assemble:
    """Turns the indices of two global batches into this process's batch."""

    def __init__(self, source: _Reader, target: _Reader | None, start: int, stop: int):
        self.source, self.target, self.rows = source, target, slice(start, stop)

    def __call__(self, indices: tuple[np.ndarray, ...]) -> Batch:
        source = self.source.read(indices[0][self.rows])
        batch = {'image_s': source['image'], 'label_s': source['label']}
        if self.target is not None:
            batch['image_t'] = self.target.read(indices[1][self.rows])['image']
        return batch


def paired_batches(
    source: reading.Corpus,
    target: reading.Corpus | None,
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
        threads: decoding threads of this process; default: one per processor, at most 16.
        progress: called with (done, total) while a corpus is decoded into memory.

    Returns:
        Iterator over `image_s` uint8 [B, size_s, size_s, 3], `label_s` int32 [B] and, with a
        target, `image_t` uint8 [B, size_t, size_t, 3].

    Raises:
        InputError: a corpus has no full batch, does not fit in memory, or has a corrupt image.
    """
    _check_counts(batch_size, workers, process_index, process_count)
    corpora = [(source, size_s, source_shuffle)]
    if target is not None:
        corpora.append((target, size_t or size_s, target_shuffle))
    total = batch_size * process_count
    for corpus, _, _ in corpora:
        _check_full_batch(corpus, batch_size, process_count)
    readers = [
        _reader(corpus, size, in_memory, labels=not number, threads=threads, progress=progress)
        for number, (corpus, size, _) in enumerate(corpora)
    ]
    if isinstance(readers[0], reading.Decoded) and readers[0].label is None:
        raise InputError('the source corpus was decoded without its labels')
    streams = [
        _indices(len(corpus), total, shuffle=shuffle, seed=_stream_seed(seed, number))
        for number, (corpus, _, shuffle) in enumerate(corpora)
    ]
    if all(isinstance(reader, reading.Decoded) for reader in readers):
        workers = 0
    start = process_index * batch_size
    assemble = _Assemble(
        readers[0], readers[1] if len(readers) > 1 else None, start, start + batch_size
    )
    settings = {
        'seed': seed,
        'workers': workers,
        'global_batch': total,
        'images': [len(corpus) for corpus, _, _ in corpora],
        'shuffle': [shuffle for _, _, shuffle in corpora],
    }
    epochs = [len(corpus) // total for corpus, _, _ in corpora]
    return Batches(
        _iterate(streams, assemble, workers, threads),
        settings,
        epochs[0],
        epochs[1] if len(epochs) > 1 else None,
    )


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
    return _evaluation_batches(reader, batch_size, process_index, process_count)


def _evaluation_batches(
    reader: _Reader, batch_size: int, process_index: int, process_count: int
) -> Iterator[Batch]:
    total = batch_size * process_count
    for first in range(0, len(reader), total):
        start = first + process_index * batch_size
        indices = np.arange(start, min(start + batch_size, len(reader)), dtype=np.int32)
        batch = {
            'image': np.zeros((batch_size, reader.size, reader.size, 3), np.uint8),
            'label': np.zeros(batch_size, np.int32),
            'mask': np.zeros(batch_size, np.float32),
            'index': np.full(batch_size, -1, np.int32),
        }
        if len(indices):
            filled = reader.read(indices) | {'mask': 1.0, 'index': indices}
            for name, values in filled.items():
                batch[name][: len(indices)] = values
        yield batch


def _check_counts(batch_size: int, workers: int, process_index: int, process_count: int) -> None:
    if batch_size < 1:
        raise InputError(f'batch_size must be at least 1, got {batch_size}')
    if workers < 0:
        raise InputError(f'workers must be 0 or more, got {workers}')
    if not 0 <= process_index < process_count:
        raise InputError(f'process_index must be in 0..{process_count - 1}, got {process_index}')


def _check_full_batch(corpus: reading.Corpus, batch_size: int, process_count: int) -> None:
    if len(corpus) < batch_size * process_count:
        raise InputError(
            f'{reading.describe(corpus)} has {len(corpus)} images, fewer than one batch of '
            f'{batch_size * process_count} ({batch_size} on each of {process_count} processes); '
            f'set the batch size to at most {len(corpus) // process_count} per process'
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


def _stream_seed(seed: int, number: int) -> int:
    """Derives an independent 32-bit seed for each stream."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _indices(count: int, batch: int, *, shuffle: bool, seed: int) -> Any:
    """Returns an endless grain dataset of index batches, reshuffled in every epoch."""
    import grain

    indices = grain.MapDataset.range(count)
    if shuffle:
        indices = indices.shuffle(seed=seed)
    return indices.batch(batch, drop_remainder=True).repeat()


def _iterate(streams: list[Any], assemble: _Assemble, workers: int, threads: int | None) -> Any:
    import grain

    zipped = grain.experimental.ZipMapDataset(streams).map(assemble)
    # grain's default reads 500 elements ahead; ours are whole batches.
    ahead = 2 if workers else (threads or min(os.cpu_count() or 1, 16))
    options = grain.ReadOptions(num_threads=ahead, prefetch_buffer_size=ahead + 2)
    dataset = zipped.to_iter_dataset(options)
    if workers:
        _mark_flags_parsed()
        dataset = dataset.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        )
    return iter(dataset)


def _mark_flags_parsed() -> None:
    """Lets grain's worker processes start outside of `absl.app.run` (tests, notebooks)."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()

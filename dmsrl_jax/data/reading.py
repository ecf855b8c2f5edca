"""Decoded images of a corpus: on demand, or once and for all in memory (no jax here)."""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, Protocol

import numpy as np

from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NO_LABEL

_CHUNK = 64


class Corpus(Protocol):
    """Random access to records {'image': encoded bytes, 'label': int, 'file': str}.

    A corpus without labels has `expressions.NO_LABEL` in all of them.
    """

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One record."""


def describe(corpus: object) -> str:
    """Returns a corpus's name and split as far as it has them, for messages."""
    name, split = getattr(corpus, 'name', 'corpus'), getattr(corpus, 'split', '')
    return f'{name}[{split}]' if split else str(name)


def is_labelled(corpus: 'Corpus | Decoded') -> bool:
    """Whether a corpus has labels: all of its images have one, or none has.

    Args:
        corpus: with one image at least; its first label is looked at.

    Returns:
        True where there are labels.
    """
    if isinstance(corpus, Decoded):
        return corpus.label is not None and int(corpus.label[0]) != NO_LABEL
    return int(corpus[0]['label']) != NO_LABEL


class OnDemand:
    """Reads and decodes images each time they are asked for."""

    def __init__(self, corpus: Corpus, size: int, *, labels: bool = True):
        self.corpus, self.size, self.with_labels = corpus, size, labels
        # Prepared corpora have both without the rest of the record, which takes longer to parse.
        self._quick = hasattr(corpus, 'encoded') and hasattr(corpus, 'labels')

    def __len__(self) -> int:
        return len(self.corpus)

    def record(self, index: int) -> tuple[np.ndarray, int]:
        """Decodes one image; the label is -1, and is never looked at, if not asked for."""
        if self._quick:
            with contextlib.suppress(InputError):  # then once more: the message names the file
                return self._without_the_rest(int(index))
        record = self.corpus[int(index)]
        image = images.decode(record['image'], self.size, name=record.get('file', f'#{index}'))
        return image, int(record['label']) if self.with_labels else -1

    def _without_the_rest(self, index: int) -> tuple[np.ndarray, int]:
        corpus: Any = self.corpus
        image = images.decode(corpus.encoded(index), self.size)
        return image, int(corpus.labels()[index]) if self.with_labels else -1

    def read(self, indices: Iterable[int], each: Callable = map) -> dict[str, np.ndarray]:
        """Decodes some images.

        Args:
            indices: n positions in the corpus.
            each: `map`, or that of a pool of threads.

        Returns:
            `image` uint8 [n, size, size, 3] and, if asked for, `label` int32 [n].
        """
        places = np.asarray(indices)
        pixels = np.empty((len(places), self.size, self.size, 3), np.uint8)
        labels = np.empty(len(places), np.int32)

        def fill(number: int) -> None:
            pixels[number], labels[number] = self.record(places[number])

        for _ in each(fill, range(len(places))):
            pass
        batch = {'image': pixels}
        return batch | {'label': labels} if self.with_labels else batch


class Decoded:
    """A corpus held in memory as uint8 images [N, size, size, 3] and int32 labels [N]."""

    def __init__(self, image: np.ndarray, label: np.ndarray | None):
        self.image, self.label = image, label
        self.size: int = image.shape[1]

    def __len__(self) -> int:
        return len(self.image)

    def read(self, indices: Iterable[int]) -> dict[str, np.ndarray]:
        """Copies some images; see `OnDemand.read`."""
        indices = np.asarray(indices)
        batch = {'image': self.image[indices]}
        return batch if self.label is None else batch | {'label': self.label[indices]}


def usual_threads() -> int:
    """One thread per processor, at most 16."""
    return min(os.cpu_count() or 1, 16)


def decode_all(
    corpus: Corpus,
    size: int,
    *,
    labels: bool = True,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Decoded:
    """Decodes a whole corpus into memory, with threads (Pillow frees the interpreter lock).

    Args:
        corpus: the images.
        size: side of the decoded images.
        labels: whether to keep the labels; without, they are not even looked at.
        threads: how many images to decode at a time; default: one per processor, at most 16.
        progress: called now and then with (images done, all images).

    Returns:
        The decoded corpus.

    Raises:
        InputError: it would not fit in the free memory, or an image is corrupt.
    """
    total = len(corpus)
    check_memory(total * size * size * 3, f'{describe(corpus)} ({total} images of side {size})')
    reader = OnDemand(corpus, size, labels=labels)
    pixels = np.empty((total, size, size, 3), np.uint8)
    codes = np.empty(total, np.int32) if labels else None

    def fill(start: int) -> int:
        stop = min(start + _CHUNK, total)
        for index in range(start, stop):
            pixels[index], code = reader.record(index)
            if codes is not None:
                codes[index] = code
        return stop - start

    pool = futures.ThreadPoolExecutor(threads or usual_threads())
    try:
        for done in itertools.accumulate(pool.map(fill, range(0, total, _CHUNK))):
            if progress:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return Decoded(pixels, codes)


def check_memory(needed: int, what: str) -> None:
    """Raises InputError if `needed` bytes are more than the free memory (if that can be known)."""
    free = available_memory()
    if free is not None and needed > free:
        raise InputError(
            f'{what} needs {needed / 2**30:.1f} GiB in memory, {free / 2**30:.1f} GiB are free; '
            'turn off in_memory (and use workers), or decode at a smaller size'
        )


def available_memory() -> int | None:
    """Returns the bytes of memory that this process may still take, or None if unknown."""
    free = []
    try:
        for line in pathlib.Path('/proc/meminfo').read_text().splitlines():
            if line.startswith('MemAvailable:'):
                free.append(int(line.split()[1]) * 1024)
        group = pathlib.Path('/sys/fs/cgroup')
        limit = (group / 'memory.max').read_text().strip()
        if limit != 'max':
            free.append(int(limit) - int((group / 'memory.current').read_text()))
    except (OSError, ValueError):
        pass
    return max(min(free), 0) if free else None

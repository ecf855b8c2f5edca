"""Looks once at every image of a prepared corpus: sizes, labels, what it takes to find copies."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dmsrl_jax.data import corpora, fingerprints, images, parallel
from dmsrl_jax.expressions import EXPRESSIONS, NO_LABEL


class Look(NamedTuple):
    """What is kept of one image, about 400 bytes."""

    label: int
    size: tuple[int, int]
    grey: bool
    digest: bytes
    fingerprint: np.ndarray
    thumbnail: np.ndarray
    file: str
    subject: str


@dataclasses.dataclass(frozen=True)
class Survey:
    """All images of a corpus, N of them, split after split in the order of the records.

    Attributes:
        name: full name of the corpus.
        splits: split to its number of images, in the order of the arrays.
        split: int [N], number of the split.
        index: int [N], place in the split.
        labels: int [N], all of them `NO_LABEL` where the corpus has none.
        sizes: int [N, 2], width and height in pixels.
        grey: bool [N], whether it is stored without colours.
        digests: N fingerprints of the stored bytes.
        fingerprints: uint64 [N, 2].
        thumbnails: uint8 [N, 256].
        files: N names.
        subjects: N names, empty where not known.
    """

    name: str
    splits: dict[str, int]
    split: np.ndarray
    index: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray
    grey: np.ndarray
    digests: list[bytes]
    fingerprints: np.ndarray
    thumbnails: np.ndarray
    files: list[str]
    subjects: list[str]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    @property
    def labelled(self) -> bool:
        """Whether the corpus has labels."""
        return bool((self.labels != NO_LABEL).any())

    def word(self, i: int) -> str:
        """Expression of image `i`, empty without labels."""
        return EXPRESSIONS[self.labels[i]] if self.labelled else ''

    def split_of(self, i: int) -> str:
        """Name of the split that holds image `i`."""
        return list(self.splits)[self.split[i]]

    def where(self, i: int) -> str:
        """Split and file of image `i`, for people."""
        return f'{self.split_of(i)}/{self.files[i]}'


def look(record: dict[str, Any]) -> Look:
    """Looks at one record.

    Args:
        record: of a `corpora.Corpus`.

    Returns:
        What is kept of it.

    Raises:
        InputError: the image cannot be decoded.
    """
    image = images.upright(record['image'], name=record['file'])
    return Look(
        record['label'],
        image.size,
        image.mode == 'L',
        hashlib.blake2b(record['image'], digest_size=16).digest(),
        fingerprints.fingerprint(image),
        fingerprints.thumbnail(image),
        record['file'],
        record.get('subject', ''),
    )


def survey(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, workers: int = 0
) -> Survey:
    """Looks at every image of a prepared corpus.

    Args:
        name: `<corpus>` or `<corpus>/<config>`.
        data_dir: where prepared corpora lie.
        workers: processes that decode; 0 for none beside this one.

    Returns:
        The survey.

    Raises:
        InputError: it is not prepared, or an image cannot be decoded.
    """
    full, folder = corpora.find(name, data_dir)
    parts = {split: corpora.Corpus(full, split, folder) for split in corpora.splits(folder)}
    counts = {split: len(part) for split, part in parts.items()}
    looks = list(parallel.ordered(look, _records(list(parts.values())), workers=workers))
    return Survey(
        full,
        counts,
        np.repeat(np.arange(len(counts)), list(counts.values())),
        np.concatenate([np.arange(count) for count in counts.values()]),
        np.array([item.label for item in looks]),
        np.array([item.size for item in looks]),
        np.array([item.grey for item in looks]),
        [item.digest for item in looks],
        np.stack([item.fingerprint for item in looks]),
        np.stack([item.thumbnail for item in looks]),
        [item.file for item in looks],
        [item.subject for item in looks],
    )


def _records(parts: list[corpora.Corpus]) -> Iterator[dict[str, Any]]:
    for part in parts:
        for i in range(len(part)):
            yield part[i]


class Copies(NamedTuple):
    """Pictures that occur twice, within one corpus or in two.

    Attributes:
        pairs: int [P, 2], numbers of images in the first and the second survey.
        table: (split, split) to (pairs, pairs with different labels, pairs of identical files); no
            labels differ where a corpus has none.
    """

    pairs: np.ndarray
    table: dict[tuple[str, str], tuple[int, int, int]]


def copies(first: Survey, second: Survey | None = None) -> Copies:
    """Finds copies of pictures, whatever their size, file format and brightness.

    Args:
        first: a corpus.
        second: another one; None looks within the first.

    Returns:
        The pairs and their number by splits.
    """
    other = first if second is None else second
    arrays = [(s.fingerprints, s.thumbnails) for s in (first, other)]
    pairs = fingerprints.copies(arrays[0], None if second is None else arrays[1])
    table: dict[tuple[str, str], tuple[int, int, int]] = {}
    comparable = first.labelled and other.labelled
    for a, b in pairs.tolist():
        key = first.split_of(a), other.split_of(b)
        total, differ, same = table.get(key, (0, 0, 0))
        table[key] = (
            total + 1,
            differ + int(comparable and first.labels[a] != other.labels[b]),
            same + int(first.digests[a] == other.digests[b]),
        )
    return Copies(pairs, table)

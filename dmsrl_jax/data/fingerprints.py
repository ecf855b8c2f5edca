"""Fingerprints of pictures that survive a new size, a new file format, a change of brightness.

Two faces cut to the same place look much alike to any fingerprint of 128 bits. So pairs of near
fingerprints are only candidates, and a correlation of small pictures decides.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image

BITS = 128
# Bits that may differ between two copies of one picture; docs/corpus_report.md says why.
NEAR = 12
# Correlation of the thumbnails of two copies, at least.
ALIKE = 0.99
_SIDE, _THUMB = 8, 16
# Standard deviation of the grey values below which a picture counts as empty.
_BLANK = 1.0
_BLOCK = 2_000_000


def fingerprint(image: Image.Image) -> np.ndarray:
    """Which of neighbouring parts of a picture is brighter: across for 64 bits, down for 64 more.

    The picture is averaged down to 9 x 9 grey values g; bits are g[y, x + 1] > g[y, x] and
    g[y + 1, x] > g[y, x] for y, x in 0..7.

    Args:
        image: any mode and size.

    Returns:
        uint64 [2].
    """
    grey = image.convert('L').resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    values = np.asarray(grey, np.int16)
    across = values[:_SIDE, 1:] > values[:_SIDE, :-1]
    down = values[1:, :_SIDE] > values[:-1, :_SIDE]
    return np.packbits([across, down]).view('>u8').astype(np.uint64)


def thumbnail(image: Image.Image) -> np.ndarray:
    """A picture averaged down to 16 x 16 grey values: uint8 [256]."""
    small = image.convert('L').resize((_THUMB, _THUMB), Image.Resampling.BOX)
    return np.asarray(small, np.uint8).ravel()


def likeness(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlation of thumbnails uint8 [..., 256]: float32 [...], 1 for the same picture.

    Pictures of one grey value are alike among themselves only.
    """
    x, y = (values - values.mean(axis=-1, keepdims=True, dtype=np.float32) for values in (a, b))
    sizes = [np.linalg.norm(v, axis=-1) for v in (x, y)]
    blank = [size < _BLANK * _THUMB for size in sizes]
    shared = np.sum(x * y, axis=-1) / np.maximum(sizes[0] * sizes[1], 1e-6)
    return np.where(blank[0] | blank[1], (blank[0] & blank[1]).astype(np.float32), shared)


def copies(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    most: int = NEAR,
    alike: float = ALIKE,
) -> np.ndarray:
    """Pairs of pictures that are copies: near fingerprints and alike thumbnails.

    Args:
        first: fingerprints uint64 [N, 2] and thumbnails uint8 [N, 256].
        second: the same of other pictures; None for pairs within `first`, each once.
        most: bits of the fingerprints that may differ.
        alike: the least correlation of the thumbnails.

    Returns:
        int64 [P, 2]: index into `first`, index into `second` (or `first`).
    """
    other = first if second is None else second
    pairs = near_pairs(first[0], None if second is None else second[0], most=most)
    kept = [np.zeros((0, 2), np.int64)]
    for part in np.array_split(pairs[:, :2], len(pairs) // _BLOCK * 16 + 1):
        near = likeness(first[1][part[:, 0]], other[1][part[:, 1]]) >= alike
        kept.append(part[near])
    return np.concatenate(kept)


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number of bits that differ: [..., 2] and [..., 2] to int64 [...]."""
    return np.bitwise_count(a ^ b).sum(axis=-1, dtype=np.int64)


def near_pairs(
    first: np.ndarray, second: np.ndarray | None = None, *, most: int = NEAR
) -> np.ndarray:
    """All pairs of fingerprints that differ in at most so many bits.

    Two fingerprints of 128 bits that differ in at most m bits agree in at least one of m + 1 equal
    stretches of them; only pairs that share a stretch are compared. Memory is bounded.

    Args:
        first: uint64 [N, 2].
        second: uint64 [M, 2]; None for pairs within `first`, each once.
        most: bits that may differ.

    Returns:
        int64 [P, 3]: index into `first`, index into `second` (or `first`), bits that differ; sorted
        by the indices.
    """
    other = first if second is None else second
    found = [np.zeros((0, 3), np.int64)]
    parts = max(2, most + 1)
    for part in range(parts):
        stretches = (_stretch(values, part, parts) for values in (first, other))
        for a, b in _sharing(*stretches):
            bits = distance(first[a], other[b])
            near = bits <= most
            if second is None:
                near &= a < b
            found.append(np.stack([a[near], b[near], bits[near]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _stretch(values: np.ndarray, part: int, parts: int) -> np.ndarray:
    """Stretch number `part` of `parts` equal ones, two or more, as a number: uint64 [N]."""
    low, high = part * BITS // parts, (part + 1) * BITS // parts
    bits = np.unpackbits(values.astype('>u8').view(np.uint8).reshape(-1, BITS // 8), axis=1)
    words = np.zeros((len(bits), 64), np.uint8)
    words[:, 64 - (high - low) :] = bits[:, low:high]
    return np.packbits(words, axis=1).view('>u8')[:, 0].astype(np.uint64)


def _sharing(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Indices of all pairs with the same value, in blocks: a [n], b [n]."""
    order = np.argsort(right, kind='stable')
    start = np.searchsorted(right[order], left, side='left')
    counts = np.searchsorted(right[order], left, side='right') - start
    ends = np.cumsum(counts)
    done = 0
    while done < len(left):
        before = ends[done - 1] if done else 0
        stop = max(done + 1, int(np.searchsorted(ends, before + _BLOCK, side='right')))
        a = np.repeat(np.arange(done, stop), counts[done:stop])
        place = np.arange(len(a)) - np.repeat(ends[done:stop] - counts[done:stop] - before,
                                              counts[done:stop])  # fmt: skip
        yield a, order[start[a] + place]
        done = stop


def groups(pairs: np.ndarray, count: int) -> list[list[int]]:
    """Pictures that are linked by pairs, directly or over others.

    Args:
        pairs: [P, 2 or more], the first two columns are indices below `count`.
        count: number of pictures.

    Returns:
        Lists of two or more indices, sorted, in the order of their first.
    """
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs[:, :2].tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    members: dict[int, list[int]] = {}
    for i in sorted(set(pairs[:, :2].ravel().tolist())):
        members.setdefault(root(i), []).append(i)
    return list(members.values())

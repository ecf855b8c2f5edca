"""Reads what lies beside RAF-DB's images: the list, annotations and shares of votes."""

from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np

from data_builders import annotations, trees
from dmsrl_jax.errors import InputError

PARTS = ('train', 'test')


def key(name: str) -> str:
    """What a listed image is called without extension, in lower case."""
    return name.rpartition('.')[0].lower()


def absent_split(listed: Sequence[str], pictures: Container[str]) -> str:
    """Tells whether somebody has one split only, as a target needs no more, and the list of both.

    Args:
        listed: the images of the list, without extension, in lower case.
        pictures: those that are there.

    Returns:
        `train` or `test` if none of its images is there, and all of the other one; else empty.
    """
    there = {part: [k in pictures for k in listed if k.startswith(part)] for part in PARTS}
    for part, other in (PARTS, PARTS[::-1]):
        if there[other] and all(there[other]) and not any(there[part]):
            return part
    return ''


def read_list(tree: trees.Tree, paths: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Reads the list of images.

    Args:
        tree: the user's files.
        paths: the list, and others that are called nearly so; they must have the same lines.

    Yields:
        File name without `_aligned`, code, and where that stands.

    Raises:
        InputError: the lists differ, or a line is something else.
    """
    first, *others = ([text for _, text in tree.lines(path)] for path in paths)
    if any(lines != first for lines in others):
        raise InputError(
            f'{" and ".join(paths)} are both lists of RAF-DB and differ, so that nobody can tell '
            'which is meant: move one of them out of there'
        )
    for line, text in tree.lines(paths[0]):
        name, *code = text.replace(',', ' ').split()
        name = name if '.' in name else f'{name}.jpg'
        where = f'{paths[0]} line {line}'
        if len(code) != 1 or not code[0].isdecimal():
            raise InputError(f'{where}: expected `name code`, got {text!r}')
        yield name.replace('_aligned.', '.'), int(code[0]), where


def read_attributes(tree: trees.Tree, path: str) -> tuple[tuple[float, ...], dict[str, Any]]:
    """Reads a file of manual annotation: five landmarks, then gender, race and age group.

    Args:
        tree: the user's files.
        path: the file; empty for none.

    Returns:
        The landmarks as ten numbers, and the three codes, -1 where there is no file.

    Raises:
        InputError: not ten numbers and three codes.
    """
    if not path:
        return (), {'gender': -1, 'race': -1, 'age': -1}
    words = annotations.words_of(tree, path)
    try:
        *points, gender, race, age = map(float, words)
    except ValueError as error:
        raise InputError(f'{path}: not numbers ({error})') from error
    if len(points) != 10:
        raise InputError(f'{path}: {len(points) + 3} numbers, expected 5 x 2 and 3 codes')
    codes = {'gender': gender, 'race': race, 'age': age}
    return tuple(points), {name: annotations.whole(code, path) for name, code in codes.items()}


def read_distribution(text: str, where: str) -> tuple[str, np.ndarray] | None:
    """Reads a line of `distribution_basic.txt`: an image and the shares of the votes for it.

    Args:
        text: the line.
        where: file and line, for messages.

    Returns:
        Image name without extension, and seven shares in the canonical order, which is the order
        of the owners' codes; None for other than seven.

    Raises:
        InputError: a share is no number.
    """
    name, *values = text.split()
    if len(values) != 7:
        return None
    try:
        return name.rpartition('.')[0].lower(), np.asarray(values, np.float32)
    except ValueError as error:
        raise InputError(f'{where}: not numbers ({error})') from error

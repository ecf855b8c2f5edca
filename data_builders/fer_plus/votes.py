"""The votes of FER+ and the two rules that make a label of them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from data_builders import annotations, trees
from data_builders.fer2013 import rows
from dmsrl_jax.errors import InputError

WORDS = (
    'neutral',
    'happiness',
    'surprise',
    'sadness',
    'anger',
    'disgust',
    'fear',
    'contempt',
    'unknown',
    'nf',
)
NO_MAJORITY = 'no majority'
NO_VOTES = 'no votes'
_COLUMNS = ('usage', 'image name', *WORDS)


class Votes(NamedTuple):
    """One row of `fer2013new.csv`; `numbers` are the votes in the order of `WORDS`."""

    where: str
    usage: str
    name: str
    numbers: tuple[int, ...]


def read(tree: trees.Tree, path: str) -> Iterator[Votes]:
    """Reads `fer2013new.csv` row by row.

    Args:
        tree: the user's files.
        path: the file.

    Yields:
        The rows.

    Raises:
        InputError: a column is missing, a row is cut, or a vote is no number.
    """
    lines = rows.table(tree, path)
    places = rows.columns(next(lines, (0, []))[1], _COLUMNS, path)
    for line, cells in lines:
        where = f'{path} line {line}'
        if len(cells) <= max(places):
            raise InputError(f'{where}: {len(cells)} cells, expected {len(_COLUMNS)}')
        usage, name, *numbers = (cells[place] for place in places)
        numbers = [number.removesuffix('.0') for number in numbers]
        if not all(map(str.isdecimal, numbers)):
            raise InputError(f'{where}: votes must be numbers, got {", ".join(numbers)}')
        yield Votes(
            where, usage, name, tuple(annotations.whole(int(number), where) for number in numbers)
        )


def majority(numbers: Sequence[int]) -> str:
    """The word that has more than half of the votes, single votes not counted.

    Args:
        numbers: votes in the order of `WORDS`.

    Returns:
        One of `WORDS`, or `NO_MAJORITY`.

    Reference: Barsoum et al., 2016, section 3, "majority voting".
    """
    counted = [number if number > 1 else 0 for number in numbers]
    most = max(counted)
    return WORDS[counted.index(most)] if 2 * most > sum(counted) else NO_MAJORITY


def argmax(numbers: Sequence[int]) -> str:
    """The word with the most votes, of several the first of `WORDS`; without any, `NO_VOTES`."""
    if not any(numbers):
        return NO_VOTES
    return WORDS[numbers.index(max(numbers))]

"""How many images a corpus should have, how sure that is, and what was found instead."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS


class Count(NamedTuple):
    """A number that the complete corpus should give.

    Attributes:
        what: `<split> images`, `<split> <expression>` with `all` for all splits together,
            `subjects`, or what else the builder counts in its `found`.
        number: how many there should be.
        certain: whether a source confirms it; if not, a difference means little.
        most: the largest number, where `number` is the smallest one of a range; 0 for no range.
    """

    what: str
    number: int
    certain: bool
    most: int = 0


def per_class(split: str, numbers: Sequence[int], *, certain: bool) -> tuple[Count, ...]:
    """Counts of the seven expressions of a split.

    Args:
        split: `train`, ..., or `all`.
        numbers: one per expression, in the canonical order.
        certain: whether a source confirms them.

    Returns:
        Seven counts.
    """
    pairs = zip(EXPRESSIONS, numbers, strict=True)
    return tuple(Count(f'{split} {word}', number, certain) for word, number in pairs)


def measure(splits: Mapping[str, Mapping[str, Any]], found: Mapping[str, int]) -> dict[str, int]:
    """Flattens a report's splits to the names that `Count.what` uses.

    Args:
        splits: split to {'images': n, 'classes': {expression: n}}; no classes without labels.
        found: what the builder counted beside.

    Returns:
        Name to number.
    """
    totals = {f'{split} images': part['images'] for split, part in splits.items()}
    for split, part in splits.items():
        totals |= {f'{split} {word}': number for word, number in (part['classes'] or {}).items()}
    totals['all images'] = sum(part['images'] for part in splits.values())
    for word in EXPRESSIONS:
        parts = (part['classes'] or {} for part in splits.values())
        totals[f'all {word}'] = sum(classes.get(word, 0) for classes in parts)
    return totals | dict(found)


def compare(expected: Iterable[Count], measured: Mapping[str, int]) -> list[dict[str, Any]]:
    """Sets what should be beside what is.

    Args:
        expected: the declared counts.
        measured: see `measure`; what is not in it counts as 0.

    Returns:
        `{'what', 'expected', 'found', 'certain'}` for each, and `most` for a range, as it stands
        in `report.json`.
    """
    return [
        {
            'what': count.what,
            'expected': count.number,
            'found': int(measured.get(count.what, 0)),
            'certain': count.certain,
            **({'most': count.most} if count.most else {}),
        }
        for count in expected
    ]


def _agrees(count: Mapping[str, Any]) -> bool:
    return count['expected'] <= count['found'] <= count.get('most', count['expected'])


def _expected(count: Mapping[str, Any]) -> str:
    upto = f' to {count["most"]:,}' if 'most' in count else ''
    return f'{count["expected"]:,}{upto}'


def differences(compared: Iterable[Mapping[str, Any]]) -> list[str]:
    """Says which certain counts differ, one text each."""
    return [
        f'{count["what"]}: found {count["found"]:,}, expected {_expected(count)}'
        for count in compared
        if count['certain'] and not _agrees(count)
    ]


def require(corpus: str, compared: Iterable[Mapping[str, Any]]) -> None:
    """Refuses a corpus that is not complete.

    Raises:
        InputError: a certain count differs.
    """
    if different := differences(compared):
        raise InputError(
            f'{corpus} is not what its owners sent: {"; ".join(different)}. Complete the files, '
            'or leave --strict out to be warned only'
        )


def describe(compared: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for people: certain counts that differ, and uncertain ones beside what was found."""
    if not compared:
        return []
    certain = [count for count in compared if count['certain']]
    different = differences(compared)
    agree = len(certain) - len(different)
    lines = [f'counts that are certain: {agree} of {len(certain)} as expected'] if certain else []
    lines += [f'  warning: {text}' for text in different]
    others = [count for count in compared if not count['certain']]
    same = sum(map(_agrees, others))
    lines += [f'counts that are not certain: {same} of {len(others)} as expected'] if others else []
    lines += [
        f'  {count["what"]}: found {count["found"]:,}, perhaps {_expected(count)}'
        for count in others
        if not _agrees(count)
    ]
    return lines

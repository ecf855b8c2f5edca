"""Splits of our own for corpora that have none: by person, and the same for everybody."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from data_builders import common
from data_builders.items import Item
from dmsrl_jax.errors import InputError

PARTS = {'train': 'train', 'val': 'validation'}  # as benchmarks and copies name theirs
OPTIONS: dict[str, tuple[type, Any, str]] = {
    'test_fraction': (float, 0.2, 'share of the persons, or else images, in the test split'),
    'split_seed': (int, 0, 'another number gives another split'),
}
NOTE = 'our own: no person is in both parts, test_fraction={test_fraction}, seed={split_seed}'
NOTE_IMAGES = (
    'our own: the persons are not known, one may be in both parts; test_fraction={test_fraction}, '
    'seed={split_seed}'
)


def test_groups(groups: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Picks the persons of the test split.

    Persons are put in the order of a hash of name and seed, and the first ones are taken: the
    result depends on nothing else, and also few persons are divided as asked.

    Args:
        groups: names of the persons (or of images that stand for themselves), in any order.
        fraction: share of them in the test split, 0..1.
        seed: another number gives another split.

    Returns:
        The persons of the test split: `round(fraction * n)`, but with two or more persons, and a
        fraction between 0 and 1, at least one and not all.

    Raises:
        InputError: the fraction is not in 0..1.
    """
    if not 0.0 <= fraction <= 1.0:
        raise InputError(f'test_fraction={fraction} must be in 0..1')
    order = sorted(set(groups), key=lambda name: (common.hash_fraction(name, seed), name))
    count = round(fraction * len(order))
    if 0.0 < fraction < 1.0 and len(order) > 1:
        count = min(max(count, 1), len(order) - 1)
    return set(order[:count])


def divide(items: Sequence[Item], options: Mapping[str, Any]) -> tuple[dict[str, list[Item]], str]:
    """Items by split, those for which the owners have none divided by person.

    Args:
        items: the images.
        options: `test_fraction` and `split_seed`, where the builder has them.

    Returns:
        Split to items, and where our own split comes from, for the report; empty if there is none.

    Raises:
        InputError: the fraction is not in 0..1.
    """
    values = {name: default for name, (_, default, _) in OPTIONS.items()} | dict(options)
    ours = [item for item in items if not item.split]
    units = (item.unit for item in ours)
    tests = test_groups(units, values['test_fraction'], values['split_seed'])
    parts: dict[str, list[Item]] = {}
    for item in items:
        own = 'test' if item.unit in tests else 'train'
        parts.setdefault(item.split or own, []).append(item)
    note = NOTE if all(item.subject for item in ours) else NOTE_IMAGES
    return parts, note.format(**values) if ours else ''

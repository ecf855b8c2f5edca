"""Splits of our own for corpora that have none: by person, and the same for everybody."""

from collections.abc import Iterable
from typing import Any

from data_builders import common
from dmsrl_jax.errors import InputError

OPTIONS: dict[str, tuple[type, Any, str]] = {
    'test_fraction': (float, 0.2, 'share of the persons, or else images, in the test split'),
    'split_seed': (int, 0, 'another number gives another split'),
}
NOTE = 'our own: no person is in both parts, test_fraction={test_fraction}, seed={split_seed}'


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

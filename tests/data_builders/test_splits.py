import pytest

from data_builders import items, splits
from dmsrl_jax.errors import InputError

PEOPLE = ['KA', 'KL', 'KM', 'KR', 'MK', 'NA', 'NM', 'TM', 'UY', 'YM']


def test_golden():
    # order of BLAKE2b hashes: a split must never change
    assert splits.test_groups(PEOPLE, 0.2, 0) == {'KM', 'MK'}


@pytest.mark.parametrize(('fraction', 'count'), [(0, 0), (0.01, 1), (0.2, 2), (0.99, 9), (1, 10)])
def test_as_many_as_asked(fraction, count):
    chosen = splits.test_groups(PEOPLE, fraction, 0)
    assert len(chosen) == count
    assert chosen <= set(PEOPLE)


def test_neither_order_nor_repeats_matter():
    assert splits.test_groups(PEOPLE[::-1] * 3, 0.3, 1) == splits.test_groups(PEOPLE, 0.3, 1)


def test_seeds_differ():
    assert len({frozenset(splits.test_groups(PEOPLE, 0.2, seed)) for seed in range(10)}) > 3


def test_one_person_or_none():
    assert splits.test_groups(['a'], 0.2, 0) == set()
    assert splits.test_groups([], 0.2, 0) == set()


def test_bad_fraction():
    with pytest.raises(InputError, match=r'test_fraction=1\.5 must be in 0\.\.1'):
        splits.test_groups(PEOPLE, 1.5, 0)


@pytest.mark.parametrize(
    ('subjects', 'note'),
    [('AB', 'our own: no person is in both'), (('A', ''), 'our own: the persons are not known')],
)
def test_the_note_says_whether_persons_are_kept_apart(subjects, note):
    images = [items.Item(f'{i}.png', 0, '', subject=who) for i, who in enumerate(subjects)]
    assert splits.divide(images, {})[1].startswith(note)
    official = [image._replace(split='train') for image in images]
    assert splits.divide(official, {}) == ({'train': official}, '')

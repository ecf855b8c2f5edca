import pytest

from data_builders import counts
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

SPLITS = {
    'train': {'images': 3, 'classes': dict.fromkeys(EXPRESSIONS, 0) | {'fear': 2, 'anger': 1}},
    'test': {'images': 1, 'classes': dict.fromkeys(EXPRESSIONS, 0) | {'fear': 1}},
}


def test_per_class_is_in_canonical_order():
    made = counts.per_class('test', range(7), certain=False)
    assert made[0] == ('test surprise', 0, False)
    assert made[6] == ('test neutral', 6, False)
    with pytest.raises(ValueError, match='shorter'):
        counts.per_class('test', range(6), certain=True)


def test_measure_adds_up():
    measured = counts.measure(SPLITS, {'subjects': 5})
    assert measured['train images'] == 3
    assert measured['all images'] == 4
    assert (measured['all fear'], measured['test fear'], measured['all anger']) == (3, 1, 1)
    assert measured['subjects'] == 5


@pytest.fixture
def compared():
    expected = [
        counts.Count('all images', 4, True),
        counts.Count('train images', 12271, True),
        counts.Count('rows', 7, True),
        counts.Count('subjects', 5, False),
        counts.Count('test fear', 1074, False),
    ]
    return counts.compare(expected, counts.measure(SPLITS, {'subjects': 5}))


def test_compare(compared):
    assert compared[1] == {
        'what': 'train images', 'expected': 12271, 'found': 3, 'certain': True,
    }  # fmt: skip
    assert compared[2]['found'] == 0


def test_describe(compared):
    assert counts.describe(compared) == [
        'counts that are certain: 1 of 3 as expected',
        '  warning: train images: found 3, expected 12,271',
        '  warning: rows: found 0, expected 7',
        'counts that are not certain: 1 of 2 as expected',
        '  test fear: found 1, perhaps 1,074',
    ]
    assert counts.describe([]) == []


def test_only_certain_ones_are_required(compared):
    with pytest.raises(InputError, match=r'x is not .*: found 3, expected 12,271; rows: .*strict'):
        counts.require('x', compared)
    counts.require('x', [compared[0], *compared[3:]])

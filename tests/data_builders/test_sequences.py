import pytest

from data_builders import sequences


@pytest.mark.parametrize(
    ('frames', 'peaks', 'neutral', 'expected'),
    [
        ('abcdef', 3, True, [('a', 6), ('d', 3), ('e', 3), ('f', 3)]),
        ('abcd', 3, True, [('a', 6), ('b', 3), ('c', 3), ('d', 3)]),
        ('abc', 3, True, []),
        ('abc', 3, False, [('a', 3), ('b', 3), ('c', 3)]),
        ('abc', 1, False, [('c', 3)]),
        ('', 1, False, []),
    ],
)
def test_to_peak(frames, peaks, neutral, expected):
    assert sequences.to_peak(frames, 3, peaks=peaks, neutral=neutral) == expected


@pytest.mark.parametrize(
    ('count', 'neutral', 'expected'),
    [
        (9, True, [(0, 6), (3, 1), (4, 1), (5, 1)]),
        (10, False, [(3, 1), (4, 1), (5, 1)]),
        (5, True, [(0, 6), (1, 1), (2, 1), (3, 1)]),
        (4, True, []),
        (3, False, [(0, 1), (1, 1), (2, 1)]),
        (2, False, []),
    ],
)
def test_around_peak(count, neutral, expected):
    assert sequences.around_peak(count, 1, peaks=3, neutral=neutral) == expected

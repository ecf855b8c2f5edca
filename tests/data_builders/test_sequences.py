import pytest

from data_builders import sequences


@pytest.mark.parametrize(
    ('frames', 'peaks', 'onset', 'expected'),
    [
        ('abcdef', 3, 'a', [('a', 6), ('d', 3), ('e', 3), ('f', 3)]),
        ('abcd', 3, 'a', [('a', 6), ('b', 3), ('c', 3), ('d', 3)]),
        ('bcdef', 3, 'a', [('d', 3), ('e', 3), ('f', 3)]),  # a later one is not neutral
        ('bcdef', 3, 'b', [('b', 6), ('d', 3), ('e', 3), ('f', 3)]),
        ('abc', 3, 'a', []),
        ('abc', 3, None, [('a', 3), ('b', 3), ('c', 3)]),
        ('abc', 1, None, [('c', 3)]),
        ('', 1, None, []),
    ],
)
def test_to_peak(frames, peaks, onset, expected):
    assert sequences.to_peak(frames, 3, peaks=peaks, onset=onset) == expected


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

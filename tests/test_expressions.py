"""Every word that stands for an expression, and those that stand for none."""

import pytest

from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError

WORDS = {
    0: 'surprise surprised su sur',
    1: 'fear afraid fearful scared fe af fea',
    2: 'disgust disgusted di dis',
    3: 'happiness happy joy smile ha hap',
    4: 'sadness sad sa',
    5: 'anger angry an ang',
    6: 'neutral neutrality calm ne neu',
}
NONE_OF_THEM = (
    'contempt contemptuous unknown uncertain none other others nf non-face nonface noface'
)


@pytest.mark.parametrize(('code', 'words'), WORDS.items())
def test_words_of_each_class(code, words):
    for word in words.split():
        assert expressions.parse(f' {word.title()} ') == expressions.parse(word) == code


def test_words_that_are_dropped():
    assert {expressions.parse(word) for word in NONE_OF_THEM.upper().split()} == {None}


def test_other_words_are_mistakes():
    with pytest.raises(InputError, match="unknown expression label 'bored'; known names: surpri"):
        expressions.parse('bored')


def test_one_colour_for_each():
    assert expressions.NUM_CLASSES == len(set(expressions.COLOURS)) == 7


def test_which_words_are_labels():
    known = [*' '.join(WORDS.values()).split(), *NONE_OF_THEM.split(), ' Happy ']
    assert all(map(expressions.is_label, known))
    assert not any(map(expressions.is_label, ('', '3', 'Bob', 'happy face')))

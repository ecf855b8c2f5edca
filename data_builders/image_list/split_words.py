"""Words that name a split, alone or as a part of a longer name."""

import functools
import re
from collections.abc import Iterable

ORDER = ('train', 'validation', 'test')
_PARTS = re.compile('[A-Z]+(?![a-z])|[A-Z]?[a-z]+')  # of a name: by capitals, digits and signs
_EXACT = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation', 'eval'), 'validation'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}
_WITHIN = {
    **{f'{word}{end}': split for word, split in _EXACT.items() for end in ('', 'set', 'data')},
    **{'dev': 'validation', 'publictest': 'validation', 'privatetest': 'test'},
}


def exact(word: str) -> str | None:
    """The split that a word says: `train`, `Validation`."""
    return _EXACT.get(word.lower())


@functools.cache
def within(word: str) -> str | None:
    """The split that a part of a name says: `train_set`, `FER2013Train`, `val2`."""
    parts = [part.lower() for part in _PARTS.findall(word)]
    if 'public' in parts:
        return 'validation'
    return next((_WITHIN[part] for part in parts if part in _WITHIN), None)


def divides(words: Iterable[str]) -> bool:
    """Whether some words, none of them a sentence, name several splits, that of train among them.

    Args:
        words: what stands in a column, each once.

    Returns:
        Whether they divide a corpus; what else there is does not matter.
    """
    named = {within(word) for word in words if ' ' not in word}
    return {'train'} < named - {None}

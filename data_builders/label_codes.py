"""The integer codes of the field, all in one place: which number means which expression where."""

from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError


def _numbered(words: str, start: int = 0) -> dict[int, str]:
    return dict(enumerate(words.split(), start=start))


# Words that expressions.parse drops (contempt, none, ...) are codes that exist but are not kept.
ORDERS: dict[str, dict[int, str]] = {
    'canonical': dict(enumerate(expressions.EXPRESSIONS)),
    'raf': dict(enumerate(expressions.EXPRESSIONS, start=1)),
    'alphabetical': dict(enumerate(sorted(expressions.EXPRESSIONS))),
    'fer2013': _numbered('anger disgust fear happiness sadness surprise neutral'),
    'affectnet': _numbered(
        'neutral happiness sadness surprise fear disgust anger contempt none uncertain non-face'
    ),
    'ckplus': _numbered('neutral anger contempt disgust fear happiness sadness surprise'),
    'mmi': _numbered('anger disgust fear happiness sadness surprise', start=1),
    # The older list files of the Asian Facial Expression set; its four others are excited,
    # confused, tired and serious.
    'afe': _numbered(
        'neutral happiness other surprise sadness disgust fear other other anger other'
    ),
}


def canonical(code: int, order: str) -> int | None:
    """Turns a corpus's own code into the canonical one.

    Args:
        code: the number in the corpus's list.
        order: a key of `ORDERS`.

    Returns:
        The canonical code 0..6, or None for one that exists but is none of the seven.

    Raises:
        InputError: unknown order, or a code that the order does not have.
    """
    if order not in ORDERS:
        raise InputError(f'unknown order of codes {order!r}; known: {", ".join(ORDERS)}')
    if code not in ORDERS[order]:
        allowed = ', '.join(f'{number} {word}' for number, word in ORDERS[order].items())
        raise InputError(f'label {code} is out of range; the codes of {order!r} are {allowed}')
    return expressions.parse(ORDERS[order][code])

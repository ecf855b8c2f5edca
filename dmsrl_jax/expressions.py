"""The seven expressions that all corpora share: order, names, colours, synonyms.

The canonical order is RAF-DB's. Each corpus builder maps its own codes to these names.
"""

from dmsrl_jax.errors import InputError

EXPRESSIONS = ('surprise', 'fear', 'disgust', 'happiness', 'sadness', 'anger', 'neutral')
NUM_CLASSES = len(EXPRESSIONS)
NO_LABEL = -1  # the label of every image of a corpus without labels

# One colour per expression (RGB, 0..255), told apart by readers with colour-vision deficiency.
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (150, 150, 150),
)

_SYNONYMS = {
    'surprise': ('surprised', 'su', 'sur'),
    'fear': ('afraid', 'fearful', 'scared', 'fe', 'af', 'fea'),
    'disgust': ('disgusted', 'di', 'dis'),
    'happiness': ('happy', 'joy', 'smile', 'ha', 'hap'),
    'sadness': ('sad', 'sa'),
    'anger': ('angry', 'an', 'ang'),
    'neutral': ('neutrality', 'calm', 'ne', 'neu'),
}
_DROPPED = frozenset(
    [
        'contempt',
        'contemptuous',
        'unknown',
        'uncertain',
        'none',
        'other',
        'others',
        'nf',
        'non-face',
        'nonface',
        'noface',
    ]
)
_CODES = {word: code for code, name in enumerate(EXPRESSIONS) for word in (name, *_SYNONYMS[name])}


def is_label(name: str) -> bool:
    """Whether `parse` knows a name, be it one of the seven or not."""
    word = name.strip().lower()
    return word in _CODES or word in _DROPPED


def parse(name: str) -> int | None:
    """Turns an expression's name into its canonical code.

    Args:
        name: a name or synonym in any case, for instance `Happy`, `HAPPINESS`, `angry`.

    Returns:
        The code 0..6, or None for labels that exist in the field but are not one of the seven
        (contempt, unknown, non-face, ...), which builders drop and count.

    Raises:
        InputError: the word is no known label.
    """
    word = name.strip().lower()
    if word in _CODES:
        return _CODES[word]
    if word in _DROPPED:
        return None
    raise InputError(
        f'unknown expression label {name!r}; known names: {", ".join(EXPRESSIONS)} '
        f'(and synonyms), dropped: {", ".join(sorted(_DROPPED))}'
    )

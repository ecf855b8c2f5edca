"""Files of numbers beside images: a box, five landmarks, codes."""

from data_builders import trees
from data_builders.faces import Box
from dmsrl_jax.errors import InputError

_POINTS = 10
_MOST = 2**31  # records hold codes in 32 bits


def whole(value: float, where: str) -> int:
    """A number of a file as a whole one, cut off towards 0.

    Raises:
        InputError: it is not finite, or too large for a code.
    """
    if not abs(value) < _MOST:  # neither is nan
        raise InputError(f'{where}: {value:g} is no code; mend the file, or get it again')
    return int(value)


def read_box(tree: trees.Tree, path: str) -> Box:
    """Reads left, top, right, bottom.

    Raises:
        InputError: not four numbers.
    """
    words = words_of(tree, path)
    try:
        left, top, right, bottom = map(float, words)
    except ValueError as error:
        raise InputError(f'{path}: expected four numbers x0 y0 x1 y1 ({error})') from error
    return left, top, right, bottom


def read_points(tree: trees.Tree, path: str) -> tuple[float, ...]:
    """Reads five landmarks.

    Args:
        tree: the user's files.
        path: the file; empty for none.

    Returns:
        x and y of each, ten numbers; empty where there is no file.

    Raises:
        InputError: not ten numbers.
    """
    if not path:
        return ()
    words = words_of(tree, path)
    try:
        points = tuple(map(float, words))
    except ValueError as error:
        raise InputError(f'{path}: not numbers ({error})') from error
    if len(points) != _POINTS:
        raise InputError(f'{path}: {len(points)} numbers, expected 5 x 2')
    return points


def words_of(tree: trees.Tree, path: str) -> list[str]:
    """What stands between the blanks and line ends of a text file."""
    return [word for _, text in tree.lines(path) for word in text.split()]

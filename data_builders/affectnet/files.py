"""Reads the lists of AffectNet's older release and the arrays of the newer one."""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data_builders import faces, trees
from dmsrl_jax.errors import InputError

UNDEFINED = -2.0  # valence and arousal where the owners give none
_COLUMNS = (
    'subdirectory_filepath',
    'face_x',
    'face_y',
    'face_width',
    'face_height',
    'facial_landmarks',
    'expression',
    'valence',
    'arousal',
)
_NONE = ('', 'null', 'nan', 'none')


class Row(NamedTuple):
    """One line of `training.csv` or `validation.csv`, as text.

    Attributes:
        where: file and line.
        name: path below the folder of images.
        box: face_x, face_y, face_width, face_height.
        landmarks: 136 numbers with `;` between them.
        expression: the code.
        valence: -1..1, or -2.
        arousal: -1..1, or -2.
    """

    where: str
    name: str
    box: tuple[str, ...]
    landmarks: str
    expression: str
    valence: str
    arousal: str


def rows(tree: trees.Tree, path: str) -> Iterator[Row]:
    """Reads a list line by line; it may lack the header, or have blanks around its names.

    Args:
        tree: the user's files.
        path: the list.

    Yields:
        The rows.

    Raises:
        InputError: a column is missing, or a line has too few cells.
    """
    columns: Sequence[int] = ()
    for line, text in tree.lines(path):
        cells = [cell.strip(' "') for cell in text.split(',')]
        where = f'{path} line {line}'
        if not columns:
            columns = range(len(_COLUMNS))
            if _COLUMNS[0] in map(str.lower, cells):
                columns = _positions(cells, where)
                continue
        if len(cells) <= max(columns):
            other = next((mark for mark in ';\t' if mark in text and ',' not in text), '')
            hint = f'put commas between them, not {other!r}' if other else 'is it cut?'
            raise InputError(f'{where}: {len(cells)} cells, expected {len(_COLUMNS)}; {hint}')
        name, *box, landmarks, expression, valence, arousal = (cells[i] for i in columns)
        name = name.replace('\\', '/')
        yield Row(where, name, tuple(box), landmarks, expression, valence, arousal)


def _positions(header: list[str], where: str) -> list[int]:
    names = [name.lower() for name in header]
    if missing := [name for name in _COLUMNS if name not in names]:
        raise InputError(f'{where}: no column {", ".join(missing)} in {", ".join(header)[:200]}')
    return [names.index(name) for name in _COLUMNS]


def number(text: str, where: str) -> float | None:
    """A number of a list; None for an empty cell and for NULL.

    Raises:
        InputError: it is something else.
    """
    if text.lower() in _NONE:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f'{where}: expected a number, got {text!r}') from error


def box(row: Row) -> faces.Box | None:
    """The face's box as left, top, right, bottom in pixels; None where there is none."""
    left, top, width, height = (number(text, row.where) for text in row.box)
    if left is None or top is None or width is None or height is None:
        return None
    return left, top, left + width, top + height


def points(values: Sequence[float]) -> tuple[float, ...]:
    """68 landmarks, x and y in turn, brought to five; see `faces.five_points`."""
    return faces.five_points(list(zip(values[::2], values[1::2], strict=False)))


def landmarks(row: Row) -> tuple[float, ...]:
    """The landmarks of a row brought to five; empty where there are none."""
    values = [number(text, row.where) for text in row.landmarks.split(';')]
    return points([value for value in values if value is not None])


def array(tree: trees.Tree, path: str) -> np.ndarray:
    """Reads a `.npy` file of numbers, which some copies keep as text.

    Args:
        tree: the user's files.
        path: the file.

    Returns:
        float64, one dimension.

    Raises:
        InputError: it is damaged, or holds something else.
    """
    data = tree.read(path)
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
        return values.astype(np.float64).ravel()
    except (ValueError, TypeError, EOFError) as error:
        raise InputError(f'{path}: expected an array of numbers ({error})') from error


def scalar(tree: trees.Tree, path: str) -> float:
    """Reads a `.npy` file that holds one number; see `array`."""
    values = array(tree, path)
    if len(values) != 1:
        raise InputError(f'{path}: {len(values)} values, expected one')
    return float(values[0])

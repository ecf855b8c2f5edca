"""What MMI's session folders say of a clip, and how its frames become pictures of one face."""

from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from data_builders import trees
from dmsrl_jax.errors import InputError

UNITS = 100
FRONTAL, PROFILE, TWO = '0', '1', '2'


class Session(NamedTuple):
    """Content of `session.xml`: the view, and whether the last annotation is one of AUs.

    Single views with such an annotation are stored upright, the others lie on their side.
    """

    view: str
    upright: bool


def _elements(tree: trees.Tree, path: str, tag: str) -> Iterator[dict[str, str]]:
    """Attributes, names in lower case, of all elements with a tag, whatever their namespace."""
    try:
        root = ElementTree.fromstring(tree.read(path))
    except ElementTree.ParseError as error:
        raise InputError(f'{path} is not XML: {error}') from error
    for element in root.iter():
        if element.tag.rpartition('}')[2].lower() == tag:
            yield {name.lower(): value for name, value in element.attrib.items()}


def read_session(tree: trees.Tree, path: str) -> Session:
    """Reads `session.xml`.

    Args:
        tree: the user's files.
        path: the file.

    Returns:
        View of the first track, `0` where none is given, and whether the clip is upright.

    Raises:
        InputError: not XML.
    """
    views = [track['view'] for track in _elements(tree, path, 'track') if 'view' in track]
    names = [found.get('filename', '') for found in _elements(tree, path, 'annotation')]
    return Session(views[0] if views else FRONTAL, bool(names) and 'oao_aucs' in names[-1].lower())


def read_emotion(tree: trees.Tree, path: str) -> int | None:
    """Reads the emotion of a clip from `<sid>.xml`.

    Args:
        tree: the user's files.
        path: the file.

    Returns:
        The owners' number, or None if the clip has none.

    Raises:
        InputError: not XML, or not a number.
    """
    for found in _elements(tree, path, 'metatag'):
        if found.get('name', '').lower() == 'emotion':
            value = found.get('value', '')
            if not value.strip().isdecimal():
                raise InputError(f'{path}: Emotion is {value!r}, expected a number')
            return int(value)
    return None


def read_units(tree: trees.Tree, path: str) -> np.ndarray:
    """Reads which action units occur in a clip from `<sid>-oao_aucs.xml`.

    Args:
        tree: the user's files.
        path: the file; empty for none.

    Returns:
        int32 [100]: 1 at the numbers of units that occur and 0 elsewhere; all -1 without a file.

    Raises:
        InputError: not XML.
    """
    units = np.full(UNITS, 0 if path else -1, np.int32)
    for found in _elements(tree, path, 'actionunit') if path else ():
        number = found.get('number', '')
        if number.isdecimal() and int(number) < UNITS:  # some have letters for a side
            units[int(number)] = 1
    return units


def turned(pixels: np.ndarray) -> np.ndarray:
    """Turns a picture by 90 degrees clockwise."""
    return np.rot90(pixels, -1)


def half(pixels: np.ndarray, side: str) -> np.ndarray:
    """The `left` or `right` half of a picture."""
    middle = pixels.shape[1] // 2
    return pixels[:, :middle] if side == 'left' else pixels[:, middle:]


def frontal_side(pixels: np.ndarray) -> str:
    """Tells which half of a frame with two views shows the face from the front.

    A face from the front resembles its mirror image, a profile does not. Both halves are compared
    with their own mirror images at the shift that fits best.

    Args:
        pixels: uint8 [height, width, 3], both views side by side.

    Returns:
        `left` or `right`.
    """
    scores = {side: _symmetry(half(pixels, side)) for side in ('left', 'right')}
    return max(scores, key=lambda side: scores[side])


def _symmetry(pixels: np.ndarray) -> float:
    """Largest correlation of a picture with its mirror image over shifts up to a half."""
    small = Image.fromarray(np.ascontiguousarray(pixels)).convert('L').resize((48, 48))
    grey = np.asarray(small, np.float64)
    grey, best = grey - np.median(grey), -1.0
    for shift in range(-24, 25):
        part = grey[:, max(0, shift) : 48 + min(0, shift)]
        mirrored = part[:, ::-1]
        energy = float(np.sum(grey * grey))
        best = max(best, float(np.sum(part * mirrored)) / energy if energy else 0.0)
    return best

"""TFDS builder of ExpW: faces cut out of whole pictures by the owners' boxes."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_builders import corpus, counts, faces, forms, label_codes, splits, trees
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

NEEDS = (
    'data/label/label.lst and data/image/origin/, or the archive volumes (origin.7z.001, ...) that '
    'unpack to origin/'
)
PROTOCOLS = {
    'default': "every listed face, cut by the owners' box; train and test are our own",
    'agra': 'the lists of the AGRA benchmark, with landmarks and its own train and validation',
}
_COLUMNS = 8  # name, face number, top, left, right, bottom, confidence, code
_AGRA = 17  # name, face number, left, top, right, bottom, code, five points
_AGRA_LISTS = r'(?P<part>train|val)_list_5landmarks\.txt'
_PICTURE = r'(?P<id>[^/]+\.(?:jpe?g|png|bmp|gif))'
_FACES = (7_060, 1_088, 3_995, 30_537, 10_559, 3_671, 34_883)
_COUNTS = (
    counts.Count('listed faces', 91_793, True),
    *(counts.Count(f'listed {w}', n, True) for w, n in zip(EXPRESSIONS, _FACES, strict=True)),
)


class Line(NamedTuple):
    """One face of the list."""

    name: str
    face: int
    box: faces.Box
    confidence: float
    code: int
    points: tuple[float, ...] = ()


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | faces.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own; faces of one picture stay together."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    PICTURES: ClassVar = dict.fromkeys(PROTOCOLS, 'origin/NAME.jpg')
    COUNTS: ClassVar = {'default': _COUNTS}
    SPLITS: ClassVar = {'agra': ('train', 'validation')}
    EXTRA: ClassVar = {'confidence': tfds.features.Scalar(np.float32)}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Faces of the list in its order."""
        pictures = forms.Pictures(tree, 'origin', _PICTURE)
        for line, split in self._lines(tree):
            label = label_codes.canonical(line.code, 'fer2013')
            assert label is not None  # all seven codes are kept
            self.found['listed faces'] += 1
            self.found[f'listed {EXPRESSIONS[label]}'] += 1
            file = f'{line.name}#{line.face}'
            if (path := pictures.named(line.name)) is None:
                self.drops.add(corpus.MISSING, file)
            else:
                yield corpus.Item(
                    file,
                    label,
                    path,
                    split=split,
                    box=line.box,
                    points=line.points,
                    extra={'confidence': line.confidence},
                    group=line.name,
                )

    def _lines(self, tree: trees.Tree) -> Iterator[tuple[Line, str]]:
        """Lines of the lists with their splits; empty where the list does not say it."""
        agra = self.protocol == 'agra'
        for found in self.need(tree, _AGRA_LISTS if agra else r'label\.lst').values():
            split = splits.PARTS[found.groups['part'].lower()] if agra else ''
            for number, text in tree.lines(found.path):
                where = f'{found.path} line {number}'
                yield (read_agra_line if agra else read_line)(text, where), split
            if not agra:
                return


def read_line(text: str, where: str) -> Line:
    """Reads a line `name face top left right bottom confidence code`.

    Args:
        text: the line.
        where: file and line, for messages.

    Returns:
        The face, its box turned into left, top, right, bottom.

    Raises:
        InputError: other columns, no numbers, or a code out of range.
    """
    name, *cells = text.split()
    if len(cells) != _COLUMNS - 1:
        raise InputError(
            f'{where}: {len(cells) + 1} columns, expected {_COLUMNS} (image name, face number, '
            'top, left, right, bottom, confidence, code). The lists of the AGRA benchmark have '
            'others: --corpus expw/agra'
        )
    try:
        face, code = int(cells[0]), int(cells[6])
        top, left, right, bottom, confidence = map(float, cells[1:6])
        label_codes.canonical(code, 'fer2013')
    except ValueError as error:  # no number, or a code out of range
        raise InputError(f'{where}: {error}') from error
    return Line(name, face, (left, top, right, bottom), confidence, code)


def read_agra_line(text: str, where: str) -> Line:
    """Reads a line `name face left top right bottom code` with five points after it.

    Args:
        text: the line.
        where: file and line, for messages.

    Returns:
        The face; -1 for the confidence, which these lists do not have.

    Raises:
        InputError: other columns, no numbers, or a code out of range.
    """
    name, *cells = text.split()
    try:
        face, code, numbers = int(cells[0]), int(cells[5]), tuple(map(float, cells[1:]))
        label_codes.canonical(code, 'fer2013')
    except (ValueError, IndexError) as error:
        raise InputError(f'{where}: {error}; expected {_AGRA} columns') from error
    if len(cells) != _AGRA - 1:
        raise InputError(
            f'{where}: {len(cells) + 1} columns, expected {_AGRA} (image name, face number, left, '
            'top, right, bottom, code, five points)'
        )
    left, top, right, bottom = numbers[:4]
    return Line(name, face, (left, top, right, bottom), -1.0, code, numbers[5:])


make_builder = corpus.maker(Builder, options)

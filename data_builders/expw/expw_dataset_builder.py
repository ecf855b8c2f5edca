"""TFDS builder of ExpW: faces cut out of whole pictures by the owners' boxes."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_builders import corpus, counts, faces, label_codes, splits, trees
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

NEEDS = (
    'data/label/label.lst and data/image/origin/, or the archive volumes (origin.7z.001, ...) that '
    'unpack to origin/'
)
PROTOCOLS = {'default': "every listed face, cut by the owners' box; train and test are our own"}
_COLUMNS = 8  # name, face number, top, left, right, bottom, confidence, code
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


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | faces.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own; faces of one picture stay together."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {'default': _COUNTS}
    EXTRA: ClassVar = {'confidence': tfds.features.Scalar(np.float32)}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Faces of the list in its order."""
        found, *_ = self.need(tree, r'label\.lst').values()
        pictures = tree.index(rf'origin/{_PICTURE}') or tree.index(_PICTURE)
        for number, text in tree.lines(found.path):
            where = f'{found.path} line {number}'
            line = read_line(text, where)
            label = label_codes.canonical(line.code, 'fer2013')
            assert label is not None  # all seven codes are kept
            self.found['listed faces'] += 1
            self.found[f'listed {EXPRESSIONS[label]}'] += 1
            file = f'{line.name}#{line.face}'
            if (path := pictures.get(line.name.lower())) is None:
                self.drops.add(corpus.MISSING, file)
            else:
                extra = {'confidence': line.confidence}
                yield corpus.Item(file, label, path, box=line.box, extra=extra, group=line.name)


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
            'top, left, right, bottom, confidence, code). Lists of benchmarks have others; take '
            "the owners' label.lst"
        )
    try:
        face, code = int(cells[0]), int(cells[6])
        top, left, right, bottom, confidence = map(float, cells[1:6])
        label_codes.canonical(code, 'fer2013')
    except ValueError as error:  # no number, or a code out of range
        raise InputError(f'{where}: {error}') from error
    return Line(name, face, (left, top, right, bottom), confidence, code)


make_builder = corpus.maker(Builder, options)

"""TFDS builder of JAFFE: all pictures, with the mean ratings of the README."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import corpus, counts, forms, splits, trees
from dmsrl_jax import expressions

NEEDS = 'jaffedbase.zip, or the folder jaffe/ with KA.AN1.39.tiff and the like'
PROTOCOLS = {'default': 'all 213 pictures; published results use them all (split `all`)'}
_PICTURE = (
    r'(?P<subject>[A-Z]{{2}})\.(?P<expression>AN|DI|FE|HA|NE|SA|SU)(?P<take>\d)'
    r'\.\d+\.(?:{kinds})'
)
_KINDS = ('tiff', 'tif', 'png|bmp|jpe?g')  # the owners' go before those of copies
_RATED = ('SUR', 'FEA', 'DIS', 'HAP', 'SAD', 'ANG')  # the canonical order, without neutral
_COUNTS = (
    counts.Count('all images', 213, True),
    counts.Count('subjects', 10, True),
    *counts.per_class('all', (30, 32, 29, 31, 31, 30, 30), certain=False),
)


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own by person."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    IMAGE_SHAPE = (None, None, 1)
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {'default': _COUNTS}
    EXTRA: ClassVar = {'ratings': tfds.features.Tensor(shape=(6,), dtype=np.float32)}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """All pictures; the expression is the second part of the name."""
        ratings = read_ratings(tree)
        patterns = [_PICTURE.format(kinds=kinds) for kinds in _KINDS]
        pictures = forms.first(tree, patterns, forms.by_stem)
        for name, found in pictures.values() or self.need(tree, patterns[0]).items():
            subject = found.groups['subject'].upper()
            expression = found.groups['expression'].upper()
            label = expressions.parse(expression)
            assert label is not None  # the pattern has the seven only
            rated = ratings.get(f'{subject}-{expression}{found.groups["take"]}', (0.0,) * 6)
            extra = {'ratings': np.asarray(rated, np.float32)}
            yield corpus.Item(name, label, found.path, subject=subject, extra=extra)


def read_ratings(tree: trees.Tree) -> dict[str, tuple[float, ...]]:
    """Reads the table of mean ratings out of the owners' README, if it is there.

    Others that are called so have no such table, and do no harm.

    Args:
        tree: the user's files.

    Returns:
        Name such as `KM-NE1` to six means of 1 to 5: surprise, fear, disgust, happiness, sadness,
        anger.
    """
    ratings = {}
    for path in tree.files():
        if not path.rpartition('/')[2].upper().startswith('README'):
            continue
        columns: list[str] = []
        for line in tree.read(path).decode('latin-1').splitlines():
            cells = line.split()
            if {*_RATED, 'PIC'} <= set(cells):
                columns = cells
            elif columns and len(cells) == len(columns) and cells[0].isdecimal():
                row = dict(zip(columns, cells, strict=True))
                with contextlib.suppress(ValueError):  # a line of prose of as many words
                    ratings[row['PIC'].upper()] = tuple(float(row[word]) for word in _RATED)
    return ratings


make_builder = corpus.maker(Builder, options)

"""TFDS builder of KDEF: straight views, or all five angles."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import common, corpus, counts, forms, splits, trees
from dmsrl_jax import expressions
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

NEEDS = 'KDEF_and_AKDEF.zip, or the folder KDEF/ with AF01/AF01AFS.JPG and the like'
PROTOCOLS = {
    'straight': 'straight views: 70 persons x 7 expressions x 2 series = 980 pictures',
    'all_angles': 'all five angles: 4,900 pictures, of which about ten are black or broken',
}
_ANGLES = {'straight': 'S', 'all_angles': 'FL|HL|S|HR|FR'}
_PICTURE = (
    r'(?P<series>[AB])(?P<person>[FM]\d{{2}})(?P<expression>AF|AN|DI|HA|NE|SA|SU)'
    r'(?P<angle>{angles})\.(?:{kinds})'
)
_KINDS = ('JPG', 'jpeg|png|bmp')  # the owners' go before those of copies
# Two lists of black pictures differ, so pixels decide; a broken one is left out only if listed.
_KNOWN = (
    *('AF01SUFR', 'AF10AFFR', 'AF11NEHL', 'AF20DIHL', 'AM20DIHL', 'AM25DIFL', 'AM34DIFR'),
    *('BF13NEHR', 'BM21DIFL', 'BM22DIHL', 'BM24DIFL'),
)
_DARKEST = 12  # of 255: a picture whose values span less shows nothing


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own by person; a person is in both series."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {
        'straight': (
            counts.Count('pictures', 980, True),
            counts.Count('subjects', 70, True),
            counts.Count('all images', 980, True),
            *counts.per_class('all', (140,) * 7, certain=True),
        ),
        'all_angles': (
            counts.Count('pictures', 4900, True),
            counts.Count('subjects', 70, True),
            counts.Count('all images', 4890, False),
        ),
    }
    EXTRA: ClassVar = {'angle': tfds.features.Text(), 'series': tfds.features.Text()}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Pictures with a name of the owners' form; averaged faces and odd names do not fit."""
        angles = _ANGLES[self.protocol]
        patterns = [_PICTURE.format(angles=angles, kinds=kinds) for kinds in _KINDS]
        pictures = forms.first(tree, patterns, forms.by_stem)
        for name, found in pictures.values() or self.need(tree, patterns[0]).items():
            groups = {key: text.upper() for key, text in found.groups.items()}
            label = expressions.parse(groups['expression'])
            assert label is not None  # the pattern has the seven only
            self.found['pictures'] += 1
            extra = {'angle': groups['angle'], 'series': groups['series']}
            yield corpus.Item(name, label, found.path, subject=groups['person'], extra=extra)

    def picture(self, tree: trees.Tree, item: corpus.Item) -> bytes:
        """The file, unless it is black or known to be broken."""
        data = tree.read(item.path)
        try:
            pixels = images.decode(data, 64, name=item.path)
        except InputError:
            if item.file.partition('.')[0].upper() in _KNOWN:
                raise common.LeftOut('broken picture, known to be so') from None
            raise
        if int(np.ptp(pixels)) < _DARKEST:
            raise common.LeftOut('black picture')
        return data


make_builder = corpus.maker(Builder, options)

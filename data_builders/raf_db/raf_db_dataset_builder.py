"""TFDS builder of RAF-DB (basic emotions): aligned faces, or whole pictures with boxes."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import annotations, corpus, counts, faces, forms, trees
from data_builders.raf_db import files
from dmsrl_jax.errors import InputError

NEEDS = (
    'the folder basic/ of RAF-DB: EmoLabel/list_patition_label.txt with Image/aligned or '
    'aligned.zip, or (protocol original) with Image/original and Annotation/boundingbox'
)
PROTOCOLS = {
    'aligned': "the owners' aligned faces, 100x100; train and test are the owners'",
    'original': "whole pictures cut by the owners' boxes; train and test are the owners'",
}
# The sister set has files of the same names; a folder around both is not it.
_OTHERS = r'(?![^/]*basic)[^/]*compound[^/]*'
_NOT_WHOLE = rf'{_OTHERS}|[^/]*aligned[^/]*'  # aligned faces are called like whole ones, too
_ID = r'(?P<id>(?:train|test)_\d+)'
# The owners' form and those of copies, each before the ones behind it.
_PICTURES = {
    'aligned': (
        rf'{_ID}_aligned\.jpg',
        rf'{_ID}_aligned\.(?:jpeg|png|bmp)',
        rf'aligned/{_ID}\.(?:jpe?g|png|bmp)',
    ),
    'original': (rf'{_ID}\.jpg', rf'{_ID}\.(?:jpeg|png|bmp)'),
}
# Those of copies and of detectors are called otherwise.
_BOXES = (
    rf'boundingbox/{_ID}_boundingbox\.txt',
    rf'boundingbox[^/]*/{_ID}_boundingbox\.txt',
    rf'boundingbox[^/]*/{_ID}\.txt',
)
_TRAIN = (1290, 281, 717, 4772, 1982, 705, 2524)
_TEST = (329, 74, 160, 1185, 478, 162, 680)
_COUNTS = (
    counts.Count('listed images', 15339, True),
    counts.Count('train images', 12271, True),
    counts.Count('test images', 3068, True),
    *counts.per_class('train', _TRAIN, certain=True),
    *counts.per_class('test', _TEST, certain=False),
)


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | faces.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test as the names of the images say."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = dict.fromkeys(PROTOCOLS, _COUNTS)
    SPLITS: ClassVar = dict.fromkeys(PROTOCOLS, files.PARTS)
    BY_CLASS = True
    PICTURES: ClassVar = {'aligned': 'train_00001_aligned.jpg', 'original': 'train_00001.jpg'}
    EXTRA: ClassVar = {
        'gender': tfds.features.Scalar(np.int32),
        'race': tfds.features.Scalar(np.int32),
        'age': tfds.features.Scalar(np.int32),
        'distribution': tfds.features.Tensor(shape=(7,), dtype=np.float32),
    }

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Images of the list in its order, or of class folders 1..7 where there is no list."""
        cut = self.protocol == 'original'
        pictures = self._pictures(tree)
        boxes = _first_of(tree, _BOXES, _OTHERS)
        attributes = tree.index(rf'{_ID}_manu_attri\.txt', without=_OTHERS)
        distributions = self._distributions(tree)
        left = dict(pictures)
        codes = list(self._codes(tree))
        absent = files.absent_split([files.key(name) for name, *_ in codes], pictures)
        for name, code, where in codes:
            self.found['listed images'] += 1
            key = files.key(name)
            left.pop(key, None)
            label = self.keep(code, 'raf', name, where)
            if key not in pictures:
                gone = absent and key.startswith(absent)
                self.drops.add(f'no image of {absent} is there' if gone else corpus.MISSING, name)
            elif cut and key not in boxes:
                self.drops.add('no box', name)
            elif label is not None:
                box = (
                    self.beside(boxes[key], annotations.read_box, tree, boxes[key]) if cut else None
                )
                if cut and box is None:
                    continue
                path, none = attributes.get(key, ''), files.read_attributes(tree, '')
                points, extra = self.beside(path, files.read_attributes, tree, path, without=none)
                extra['distribution'] = distributions.get(key, np.zeros(7, np.float32))
                yield corpus.Item(
                    name,
                    label,
                    pictures[key],
                    split=key.partition('_')[0],
                    box=box,
                    points=points if cut else (),
                    extra=extra,
                )

        for path in left.values():
            self.drops.add('not listed', path)

    def _pictures(self, tree: trees.Tree) -> dict[str, str]:
        """Files by picture; of whole ones those in `original/`, if there are any."""
        patterns = _PICTURES[self.protocol]
        if self.protocol == 'original':
            inside = (f'original/{pattern}' for pattern in patterns)
            pictures = _first_of(tree, inside, _OTHERS) or _first_of(tree, patterns, _NOT_WHOLE)
        else:
            pictures = _first_of(tree, patterns, _OTHERS)
        if not pictures:
            self.need(tree, patterns[0], without=_OTHERS, alike=False)
        return pictures

    def _distributions(self, tree: trees.Tree) -> dict[str, np.ndarray]:
        """Image name without extension to the shares, see `files.read_distribution`."""
        shares = {}
        for found in tree.find(r'distribution_basic\.txt').values():
            for line, text in tree.lines(found.path):
                where = f'{found.path} line {line}'
                if named := self.beside(where, files.read_distribution, text, where):
                    shares[named[0]] = named[1]
        return shares

    def _codes(self, tree: trees.Tree) -> Iterator[tuple[str, int, str]]:
        """File name, as in the list, code, and where that stands."""
        lists = tree.find(r'list_pa(r)?tition_label\.txt', without=_OTHERS)
        if lists:
            yield from files.read_list(tree, [found.path for found in lists.values()])
            return
        found_in: dict[str, trees.Found] = {}
        for pattern in _PICTURES[self.protocol]:
            found_in = found_in or tree.find(rf'(?P<code>\d+)/{pattern}', without=_OTHERS)
        if not found_in:
            raise InputError(
                f'{self.name}/{self.protocol}: the list EmoLabel/list_patition_label.txt is '
                f'missing: get it from the owners{_advice(tree)}. No image lies in a folder 1 to 7 '
                f'either; {self.describe(tree)}'
            )
        for found in found_in.values():
            yield f'{found.groups["id"]}.jpg', int(found.groups['code']), found.path


def _advice(tree: trees.Tree) -> str:
    """How to read the lists of a copy in circulation, to go into a message."""
    lists = tree.find(r'(?:train|test)_labels\.csv')
    return ''.join(
        f'; {found.path} of a copy is read by --corpus image_list/NAME --set list={found.path} '
        '--set codes=raf, one list at a time'
        for found in list(lists.values())[:1]
    )


def _first_of(tree: trees.Tree, patterns: Iterable[str], without: str) -> dict[str, str]:
    """Files by their `id`, each of the first pattern that it has."""
    found = forms.first(tree, patterns, forms.by_id, without=without)
    return {key: file.path for key, (_, file) in found.items()}


make_builder = corpus.maker(Builder, options)

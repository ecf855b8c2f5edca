"""TFDS builder of RAF-DB (basic emotions): aligned faces, or whole pictures with boxes."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import annotations, corpus, counts, faces, trees
from dmsrl_jax.errors import InputError

NEEDS = (
    'the folder basic/ of RAF-DB: EmoLabel/list_patition_label.txt with Image/aligned or '
    'aligned.zip, or (protocol original) with Image/original and Annotation/boundingbox'
)
PROTOCOLS = {
    'aligned': "the owners' aligned faces, 100x100; train and test are the owners'",
    'original': "whole pictures cut by the owners' boxes; train and test are the owners'",
}
_OTHERS = r'[^/]*compound[^/]*'  # the sister set has files of the same names
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
_BOXES = (rf'boundingbox[^/]*/{_ID}_boundingbox\.txt', rf'boundingbox[^/]*/{_ID}\.txt')
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
    SPLITS: ClassVar = dict.fromkeys(PROTOCOLS, ('train', 'test'))
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
        for name, code, where in self._codes(tree):
            self.found['listed images'] += 1
            key = name.rpartition('.')[0].lower()
            left.pop(key, None)
            label = self.keep(code, 'raf', name, where)
            if key not in pictures:
                self.drops.add(corpus.MISSING, name)
            elif cut and key not in boxes:
                self.drops.add('no box', name)
            elif label is not None:
                box = (
                    self.beside(boxes[key], annotations.read_box, tree, boxes[key]) if cut else None
                )
                if cut and box is None:
                    continue
                path, none = attributes.get(key, ''), read_attributes(tree, '')
                points, extra = self.beside(path, read_attributes, tree, path, without=none)
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
        """Image name without extension to the shares of the votes, see `read_distribution`."""
        shares = {}
        for found in tree.find(r'distribution_basic\.txt').values():
            for line, text in tree.lines(found.path):
                where = f'{found.path} line {line}'
                if named := self.beside(where, read_distribution, text, where):
                    shares[named[0]] = named[1]
        return shares

    def _codes(self, tree: trees.Tree) -> Iterator[tuple[str, int, str]]:
        """File name, as in the list, code, and where that stands."""
        lists = tree.find(r'list_pa(r)?tition_label\.txt', without=_OTHERS)
        if lists:
            yield from read_list(tree, [found.path for found in lists.values()])
            return
        found_in: dict[str, trees.Found] = {}
        for pattern in _PICTURES[self.protocol]:
            found_in = found_in or tree.find(rf'(?P<code>\d+)/{pattern}', without=_OTHERS)
        if not found_in:
            raise InputError(
                f'{self.name}/{self.protocol}: the list EmoLabel/list_patition_label.txt is '
                'missing: get it from the owners. No image lies in a folder 1 to 7 either; '
                f'{self.describe(tree)}'
            )
        for found in found_in.values():
            yield f'{found.groups["id"]}.jpg', int(found.groups['code']), found.path


def _first_of(tree: trees.Tree, patterns: Iterable[str], without: str) -> dict[str, str]:
    """Files by their `id`, each of the first pattern that it has."""
    found: dict[str, str] = {}
    for pattern in patterns:
        more = tree.find(pattern, without=without, alike=False).values()
        # Copies of what is there already need not be alike among themselves.
        if not {file.groups['id'].lower() for file in more} <= found.keys():
            found = tree.index(pattern, without=without) | found
    return found


def read_list(tree: trees.Tree, paths: Sequence[str]) -> Iterator[tuple[str, int, str]]:
    """Reads the list of images.

    Args:
        tree: the user's files.
        paths: the list, and others that are called nearly so; they must have the same lines.

    Yields:
        File name without `_aligned`, code, and where that stands.

    Raises:
        InputError: the lists differ, or a line is something else.
    """
    first, *others = ([text for _, text in tree.lines(path)] for path in paths)
    if any(lines != first for lines in others):
        raise InputError(
            f'{" and ".join(paths)} are both lists of RAF-DB and differ, so that nobody can tell '
            'which is meant: move one of them out of there'
        )
    for line, text in tree.lines(paths[0]):
        name, *code = text.split()
        where = f'{paths[0]} line {line}'
        if len(code) != 1 or not code[0].isdecimal():
            raise InputError(f'{where}: expected `name code`, got {text!r}')
        yield name.replace('_aligned.', '.'), int(code[0]), where


def read_attributes(tree: trees.Tree, path: str) -> tuple[tuple[float, ...], dict[str, Any]]:
    """Reads a file of manual annotation: five landmarks, then gender, race and age group.

    Args:
        tree: the user's files.
        path: the file; empty for none.

    Returns:
        The landmarks as ten numbers, and the three codes, -1 where there is no file.

    Raises:
        InputError: not ten numbers and three codes.
    """
    if not path:
        return (), {'gender': -1, 'race': -1, 'age': -1}
    words = annotations.words_of(tree, path)
    try:
        *points, gender, race, age = map(float, words)
    except ValueError as error:
        raise InputError(f'{path}: not numbers ({error})') from error
    if len(points) != 10:
        raise InputError(f'{path}: {len(points) + 3} numbers, expected 5 x 2 and 3 codes')
    codes = {'gender': gender, 'race': race, 'age': age}
    return tuple(points), {name: annotations.whole(code, path) for name, code in codes.items()}


def read_distribution(text: str, where: str) -> tuple[str, np.ndarray] | None:
    """Reads a line of `distribution_basic.txt`: an image and the shares of the votes for it.

    Args:
        text: the line.
        where: file and line, for messages.

    Returns:
        Image name without extension, and seven shares in the canonical order, which is the order
        of the owners' codes; None for other than seven.

    Raises:
        InputError: a share is no number.
    """
    name, *values = text.split()
    if len(values) != 7:
        return None
    try:
        return name.rpartition('.')[0].lower(), np.asarray(values, np.float32)
    except ValueError as error:
        raise InputError(f'{where}: not numbers ({error})') from error


make_builder = corpus.maker(Builder, options)

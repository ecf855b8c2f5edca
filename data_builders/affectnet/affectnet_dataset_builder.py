"""TFDS builder of AffectNet: the older release with CSV lists, and the newer one with arrays."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import corpus, counts, distributing, faces, forms, label_codes, limits, trees
from data_builders.affectnet import files
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

NEEDS = (
    'Manually_Annotated_file_lists/training.csv and validation.csv with Manually_Annotated_Images/ '
    '(protocol csv), or train_set/ and val_set/ with images/ and annotations/ (protocol npy)'
)
PROTOCOLS = {
    'csv': "older release: web pictures cut by the owners' boxes; train and validation are theirs",
    'npy': "newer release: the owners' faces, 224x224; train and validation are theirs",
}
_LISTS = r'(?P<part>training|validation)\.csv'
_CODES = r'(?P<stem>(?P<part>train|val)_set/annotations/(?P<number>\d+))_exp\.npy'
_FORMS = {'csv': _LISTS, 'npy': _CODES}
_SPLITS = {'training': 'train', 'validation': 'validation', 'train': 'train', 'val': 'validation'}
_AUTOMATIC = 'Automatically_Annotated[^/]*'  # labels of a network, in lists of the same form
_IMAGES = 'Manually_Annotated_Images'
_PICTURE = r'(?P<id>[^/]+/[^/]+\.(?:jpe?g|jfif|png|bmp|tiff?|gif|webp))'
_TRAIN = (14_090, 6_378, 3_803, 134_415, 25_459, 24_882, 74_874)
_CSV = (
    counts.Count('train rows', 414_799, False),
    counts.Count('train rows of the seven', 283_901, True),
    *(counts.Count(f'train rows {w}', n, True) for w, n in zip(EXPRESSIONS, _TRAIN, strict=True)),
    counts.Count('train rows contempt', 3_750, True),
    counts.Count('train images', 283_901, False),
    counts.Count('validation rows', 5_500, False),
    counts.Count('validation rows of the seven', 3_500, True),
    counts.Count('validation rows contempt', 500, True),
    counts.Count('validation images', 3_500, False),
)
_NPY = (
    counts.Count('train rows', 287_651, False),
    counts.Count('validation rows', 3_999, False),
)


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | faces.OPTIONS


class Builder(corpus.Builder):
    """Writes train and validation; the test set is not public."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {'csv': _CSV, 'npy': _NPY}
    SPLITS: ClassVar = dict.fromkeys(PROTOCOLS, ('train', 'validation'))
    BY_CLASS = True
    PICTURES: ClassVar = {
        'csv': 'Manually_Annotated_Images/1/NAME.jpg',
        'npy': 'train_set/images/0.jpg',
    }
    ADVICE = 'If you have the pictures of one list (or set) only, move the other list away'
    EXTRA: ClassVar = {
        'valence': tfds.features.Scalar(np.float32),
        'arousal': tfds.features.Scalar(np.float32),
    }

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Validation before training, so that what is in both lists stays in validation alone."""
        for other in PROTOCOLS:
            if tree.find(_FORMS[other], without=_AUTOMATIC) and not tree.find(
                _FORMS[self.protocol], without=_AUTOMATIC
            ):
                raise InputError(
                    f'these are files of the other release, for --corpus affectnet/{other}; '
                    f'{tree.describe()}'
                )
        return self._listed(tree) if self.protocol == 'csv' else self._annotated(tree)

    def _listed(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        lists = self.need(tree, _LISTS, without=_AUTOMATIC).values()
        pictures = forms.Pictures(tree, _IMAGES, _PICTURE, without=_AUTOMATIC)
        for found in sorted(lists, key=lambda found: found.groups['part'].lower(), reverse=True):
            split = _SPLITS[found.groups['part'].lower()]
            for row in files.rows(tree, found.path):
                label = self._label(files.number(row.expression, row.where), row.name, row.where)
                self._count(split, row.expression, label)
                path = pictures.named(row.name)
                if label is None:
                    continue
                if path is None:
                    self.drops.add(corpus.MISSING, row.name)
                elif (box := self.beside(row.where, files.box, row, without=())) is None:
                    self.drops.add('no box', row.name)
                elif box:
                    yield corpus.Item(
                        row.name,
                        label,
                        path,
                        split=split,
                        box=box,
                        points=self.beside(row.where, files.landmarks, row, without=()),
                        extra={
                            'valence': self._number(row.valence, row.where),
                            'arousal': self._number(row.arousal, row.where),
                        },
                    )

    def _annotated(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        codes = self.need(tree, _CODES).values()
        stem = r'(?P<id>(?:train|val)_set/images/\d+)\.'
        kinds = (rf'{stem}jpg', rf'{stem}(?:jpeg|png|bmp|tiff?|gif|webp)')
        faces_there = forms.first(tree, kinds, forms.by_id)
        pictures = {key: file.path for key, (_, file) in faces_there.items()}
        for found in sorted(codes, key=_place):
            part, number = found.groups['part'].lower(), found.groups['number']
            name = f'{part}_set/images/{number}'
            label = self.beside(found.path, self._label_in, tree, found.path, name)
            self.found[f'{_SPLITS[part]} rows'] += 1
            if (path := pictures.pop(name, None)) is None:
                self.drops.add(corpus.MISSING, name)
            elif label is not None:
                stem = found.path[: -len('_exp.npy')]
                yield corpus.Item(
                    f'{name}.jpg', label, path, split=_SPLITS[part], extra={'stem': stem}
                )
        for name in pictures:
            self.drops.add('no annotation', name)

    def _label(self, code: float | None, name: str, where: str) -> int | None:
        if code is None or not code.is_integer():
            raise InputError(f'{where}: the expression must be a whole number, not {code}')
        return self.keep(int(code), 'affectnet', name, where)

    def _label_in(self, tree: trees.Tree, path: str, name: str) -> int | None:
        return self._label(files.scalar(tree, path), name, path)

    def _number(self, text: str, where: str) -> float:
        value = self.beside(where, files.number, text, where)
        return files.UNDEFINED if value is None else value

    def _count(self, split: str, code: str, label: int | None) -> None:
        word = label_codes.ORDERS['affectnet'][int(float(code))]
        self.found[f'{split} rows'] += 1
        self.found[f'{split} rows {word}'] += 1
        self.found[f'{split} rows of the seven'] += label is not None

    def example(self, tree: trees.Tree, item: corpus.Item) -> dict[str, Any]:
        """Reads one item; the arrays beside a face of the newer release are read only now."""
        if 'stem' not in item.extra:
            return super().example(tree, item)
        broken: list[str] = []
        of = functools.partial(self._optional, tree, item.extra['stem'], broken)
        extra = {
            'valence': of('_val.npy', files.scalar, files.UNDEFINED),
            'arousal': of('_aro.npy', files.scalar, files.UNDEFINED),
        }
        points = files.points(of('_lnd.npy', files.array, ()))
        record = super().example(tree, item._replace(extra=extra, points=points))
        return record | ({distributing.BROKEN: broken} if broken else {})

    def _optional(
        self,
        tree: trees.Tree,
        stem: str,
        broken: list[str],
        end: str,
        read: Callable[[trees.Tree, str], Any],
        without: Any,
    ) -> Any:
        """What a file beside a face holds; `broken` is told of one that is left out."""
        if (path := stem + end) not in tree:
            return without
        try:
            return read(tree, path)
        except InputError as error:
            if isinstance(error, limits.LockedError) or self.options.get('on_corrupt') != 'drop':
                raise
            broken.append(path)
            return without


def _place(found: trees.Found) -> tuple[bool, int]:
    return found.groups['part'].lower() == 'train', int(found.groups['number'])


make_builder = corpus.maker(Builder, options)

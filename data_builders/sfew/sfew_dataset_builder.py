"""TFDS builder of SFEW 2.0: aligned faces, or whole frames of the films."""

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from data_builders import corpus, counts, faces, trees
from data_builders import forms as forms_of
from data_builders.sfew import forms
from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError

NEEDS = (
    'Train_Aligned_Faces.zip and Val_Aligned_Faces_new.zip (protocol frames: the whole frames, '
    'Train/<class>/ and Val/<class>/), archives or unpacked'
)
PROTOCOLS = {
    'aligned': "the owners' aligned faces, 143x181; train and validation are the owners'",
    'frames': "whole frames, 720x576; train and validation are the owners'",
    'csv': 'aligned faces of the copy with sfew_2.0_labels.csv; its splits are those of the owners',
    'agra': 'whole frames cut by the boxes of the AGRA benchmark, which were made by a detector',
}
_CLASS, _IMAGE = r'(?P<word>[^/]+)', r'(?P<name>[^/]+\.{kind})'
_KINDS = ('png', '(?:jpe?g)')  # the owners', and that of copies
_MORE = r'(?:_new)?(?:[ _-]?\(\d+\))?'  # of the owners, and of a second download
# The owners' form, and those of copies.
_PICTURES = {
    'aligned': (
        rf'{{part}}_Aligned_Faces/{_CLASS}/{_IMAGE}',
        rf'{{part}}_Aligned_Faces{_MORE}/{_CLASS}/{_IMAGE}',
    ),
    'frames': (rf'{{part}}/{_CLASS}/{_IMAGE}', rf'{{part}}/[^/]+/{_CLASS}/{_IMAGE}'),
}
_NEW = rf'{{part}}_Aligned_Faces_new/(?:[^/]*/)?{_CLASS}/{_IMAGE}'
_NOT_FRAMES = r'[^/]*Aligned[^/]*|(?!SFEW)[^/]*(?:LPQ|PHOG|Feature)[^/]*'
_SPLITS = {'Train': 'train', 'Val': 'validation'}
# surprise, fear, disgust, happiness, sadness, anger, neutral
_FRAMES = {'train': (96, 98, 66, 198, 172, 178, 150), 'validation': (57, 47, 23, 73, 73, 77, 86)}
_ALIGNED = (
    counts.Count('train images', 891, False),
    counts.Count('validation images', 431, False),
)


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | faces.OPTIONS


class Builder(corpus.Builder):
    """Writes train and validation; the test set has no labels."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    SPLITS: ClassVar = dict.fromkeys(PROTOCOLS, ('train', 'validation'))
    PICTURES: ClassVar = {
        'aligned': 'Train_Aligned_Faces/Angry/NAME.png',
        'frames': 'Train/Angry/NAME.png (not below Train_Aligned_Faces)',
        'csv': 'NAME.png',
        'agra': 'Train/imgs/Angry/NAME.png',
    }
    COUNTS: ClassVar = {
        **dict.fromkeys(('aligned', 'csv'), _ALIGNED),
        'agra': (counts.Count('validation images', 436, False),),
        'frames': (
            counts.Count('train images', 958, False),
            counts.Count('validation images', 436, False),
            *counts.per_class('train', _FRAMES['train'], certain=False),
            *counts.per_class('validation', _FRAMES['validation'], certain=False),
        ),
    }

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Pictures in class folders, or as another form names them."""
        if self.protocol in ('csv', 'agra'):
            return (forms.listed if self.protocol == 'csv' else forms.boxed)(self, tree)
        return self._in_folders(tree)

    def _in_folders(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Of the validation faces the newer archive goes first."""
        for part, split in _SPLITS.items():
            patterns = [
                pattern.format(part=part, kind=kind)
                for pattern in _PICTURES[self.protocol]
                for kind in _KINDS
            ]
            new = [_NEW.format(part=part, kind=kind) for kind in _KINDS]
            pictures = forms_of.first(tree, new, _picture) if self.protocol == 'aligned' else {}
            without = _NOT_FRAMES if self.protocol == 'frames' else ''
            pictures = pictures or forms_of.first(tree, patterns, _picture, without=without)
            for _, file in pictures.values():
                name = f'{part}/{file.groups["word"].capitalize()}/{file.groups["name"]}'
                label = self.word(file.groups['word'], name)
                if label is not None:
                    yield corpus.Item(name, label, file.path, split=split)
        if self.protocol == 'aligned':
            for name in tree.find(r'Test_Aligned_Faces[^/]*/[^/]+\.png'):
                self.drops.add('test set, no labels', name)


def _picture(name: str, found: trees.Found) -> str:
    """Which picture a file is: its class, however it is written, and its name without format."""
    word = found.groups['word']
    with contextlib.suppress(InputError):
        label = expressions.parse(word)
        word = word if label is None else str(label)
    return f'{word}/{forms_of.by_stem(name.rpartition("/")[2], found)}'.lower()


make_builder = corpus.maker(Builder, options)

"""TFDS builder of Oulu-CASIA NIR&VIS: frames of the sequences of one camera and one light."""

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders import corpus, counts, sequences, splits, trees
from dmsrl_jax.errors import InputError

NEEDS = (
    'B_OriginalImg.zip or the folder OriginalImg/ with VL/Strong/P001/Anger/000.jpeg and the like '
    '(for the protocols _cropped the preprocessed pictures, VL_Acropped/Strong/P001/...)'
)
_CAMERAS = {'vl': 'visible light', 'ni': 'near infrared'}
_KINDS = {
    'peak3_neutral': 'last 3 frames, and the first one as neutral: 480 x 4 = 1,920 images',
    'peak3': 'last 3 frames, no neutral: 480 x 3 = 1,440 images',
}
_FORMS = {'': 'whole frames', '_cropped': "owners' crops"}
PROTOCOLS = {
    f'{camera}_{light}_{kind}{form}': f'{seen}, {light}, {frames}; {pictures}'
    for (form, pictures), (kind, frames), (camera, seen), light in itertools.product(
        _FORMS.items(), _KINDS.items(), _CAMERAS.items(), ('strong', 'weak', 'dark')
    )
}
_PLACE = (
    r'{camera}{form}/{light}/(?P<subject>P\d{{3}})/'
    r'(?P<expression>[^/]+)/(?P<frame>\d{{3}})\.(?:jpe?g|png|bmp)'
)
_ONSET = '002'  # frames are numbered from 000; up to here a face is still neutral
_SEQUENCES, _SUBJECTS = 480, 80


def _counts(protocol: str) -> tuple[counts.Count, ...]:
    neutral = 'neutral' in protocol
    return (
        counts.Count('subjects', _SUBJECTS, True),
        counts.Count('sequences', _SEQUENCES, False),
        counts.Count('all images', _SEQUENCES * (3 + neutral), False),
        *counts.per_class('all', (3 * _SUBJECTS,) * 6 + (_SEQUENCES * neutral,), certain=False),
    )


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own by person."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {protocol: _counts(protocol) for protocol in PROTOCOLS}
    EXTRA: ClassVar = {'sequence': tfds.features.Text()}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Frames of the sequences; the folder is the label."""
        camera, light, *_ = self.protocol.split('_')
        form = '_Acropped' if self.protocol.endswith('_cropped') else ''
        pattern = _PLACE.format(camera=camera.upper(), form=form, light=light.capitalize())
        filmed: dict[tuple[str, str], dict[str, str]] = {}
        for found in self.need(tree, pattern).values():
            key = (found.groups['subject'].upper(), found.groups['expression'].capitalize())
            path = filmed.setdefault(key, {}).setdefault(found.groups['frame'], found.path)
            if path != found.path:
                raise InputError(
                    f'{path} and {found.path} are one frame in two files, so that nobody can tell '
                    'which is meant: move one of them, or its folder, out of there'
                )
        self.found['sequences'] = len(filmed)
        for (subject, word), frames in sorted(filmed.items()):
            name = f'{subject}/{word}'
            if (label := self.word(word, name)) is None:
                continue
            onset = _ONSET if 'neutral' in self.protocol else None
            chosen = sequences.to_peak(sorted(frames), label, peaks=3, onset=onset)
            if not chosen:
                self.drops.add(sequences.TOO_SHORT, name)
            elif onset is not None and min(frames) > onset:
                self.drops.add(sequences.NO_ONSET, name)
            for frame, code in chosen:
                path = frames[frame]
                file = '/'.join(path.split('/')[-5:])
                extra = {'sequence': name}
                yield corpus.Item(file, code, path, subject=subject, extra=extra)


make_builder = corpus.maker(Builder, options)

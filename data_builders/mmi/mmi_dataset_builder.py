"""TFDS builder of MMI: frames of the clips that have one of the six basic emotions."""

import os
import re
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from data_builders import (
    common,
    corpus,
    counts,
    distributing,
    limits,
    sequences,
    splits,
    trees,
    video,
)
from data_builders.mmi import clips
from dmsrl_jax.errors import InputError

NEEDS = (
    'your download of MMI: the folder Sessions/ with 1/S001-001.avi, 1/S001-001.xml, '
    '1/session.xml and the like'
)
PROTOCOLS = {
    'peak3_neutral': '3 frames in the middle, and the first one as neutral',
    'peak3': '3 frames in the middle, no neutral',
}
_SESSION, _SID = r'(?P<session>\d+)/', r'(?P<sid>S\d{3}-\d{3})'
_OPTIONS: dict[str, tuple[type, Any, str]] = {
    'turn': (str, 'auto', 'turn single views clockwise: auto (those not AU-coded), never, always'),
    'frontal': (str, 'auto', 'half of two views that is kept: auto (by symmetry), left, right'),
}
_CHOICES = {'turn': ('auto', 'never', 'always'), 'frontal': ('auto', 'left', 'right')}
_BASIC = range(1, 7)


class Clip(NamedTuple):
    """Which frames of a clip are wanted, and how they become pictures of one face."""

    numbers: tuple[int, ...]
    two_views: bool
    turn: bool


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | splits.OPTIONS | _OPTIONS


def make_builder(
    config_name: str | None,
    *,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    **values: Any,
) -> corpus.Builder:
    """The builder of one protocol; see `corpus.make`."""
    for name, allowed in _CHOICES.items():
        if values.get(name, 'auto') not in allowed:
            raise InputError(f'{name}={values[name]!r} must be one of {", ".join(allowed)}')
    folders = {'data_dir': data_dir, 'manual_dir': manual_dir}
    return corpus.make(Builder, config_name, options(), values, **folders)


class Builder(corpus.Builder):
    """Writes train and test, a split of our own by person."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    PICTURES: ClassVar = dict.fromkeys(PROTOCOLS, '1/S001-001.avi with S001-001.xml beside them')
    COUNTS: ClassVar = {
        'peak3_neutral': (
            counts.Count('labelled clips', 236, False),
            counts.Count('subjects', 32, False),
            counts.Count('all images', 704, False),
        ),
        'peak3': (counts.Count('labelled clips', 236, False), counts.Count('subjects', 32, False)),
    }
    EXTRA: ClassVar = {
        'sequence': tfds.features.Text(),
        'action_units': tfds.features.Tensor(shape=(clips.UNITS,), dtype=np.int32),
    }
    STATE: ClassVar = ('_clips', '_decoded')

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._clips: dict[str, Clip] = {}
        self._decoded: tuple[str, dict[int, np.ndarray]] = ('', {})

    def describe(self, tree: trees.Tree) -> str:
        """What lies in the user's folder, and which clips in it are not read."""
        place = re.compile(rf'(?:.*/)?{_SESSION}[^/]+')
        for found in tree.find(rf'{_SID}\.avi', alike=False).values():
            if not place.fullmatch(found.path):
                return (
                    f'{found.path} must lie in a folder named by the number of its session, with '
                    f'its session.xml: 1/S001-001.avi; {super().describe(tree)}'
                )
        return super().describe(tree)

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Frames of the clips with a basic emotion, seen from the front."""
        video.require()  # else every clip would count as corrupt
        found = self.need(tree, rf'{_SESSION}{_SID}\.avi').values()
        notes = {name.lower(): name for name in tree.files() if name.lower().endswith('.xml')}
        for file in sorted(found, key=lambda f: (int(f.groups['session']), f.path)):
            name, stem = '/'.join(file.path.split('/')[-2:]), file.path[:-4]
            note = notes.get(f'{stem}.xml'.lower(), '')
            label = self.beside(note, self._label, tree, name, note)
            session = notes.get(f'{stem.rpartition("/")[0]}/session.xml'.lower(), '')
            clip = None if label is None else self.beside(session, self._clip, tree, name, session)
            if label is None or clip is None:
                continue
            chosen = self._chosen(tree, name, file.path, label)
            self._clips[file.path] = clip._replace(numbers=tuple(number for number, _ in chosen))
            coded = notes.get(f'{stem}-oao_aucs.xml'.lower(), '')
            none = clips.read_units(tree, '')
            units = self.beside(coded, clips.read_units, tree, coded, without=none)
            for number, code in chosen:
                yield corpus.Item(
                    f'{name}#{number}',
                    code,
                    file.path,
                    subject=file.groups['sid'][:4].upper(),
                    extra={'sequence': name, 'action_units': units},
                )

    def _label(self, tree: trees.Tree, name: str, path: str) -> int | None:
        emotion = clips.read_emotion(tree, path) if path else None
        if emotion is None:
            self.drops.add('clip without an emotion', name)
            return None
        self.found['labelled clips'] += 1
        if emotion not in _BASIC:
            self.drops.add(f'emotion {emotion}, not one of the six', name)
            return None
        return self.keep(emotion, 'mmi', name, path)

    def _clip(self, tree: trees.Tree, name: str, path: str) -> Clip | None:
        if not path:
            self.drops.add('no session.xml beside the clip', name)
            return None
        session = clips.read_session(tree, path)
        if session.view not in (clips.FRONTAL, clips.TWO):
            reason = 'profile view' if session.view == clips.PROFILE else f'view {session.view}'
            self.drops.add(reason, name)
            return None
        turn = self.options.get('turn', _OPTIONS['turn'][1])
        turned = turn == 'always' or (turn == 'auto' and not session.upright)
        return Clip((), session.view == clips.TWO, turned)

    def _chosen(self, tree: trees.Tree, name: str, path: str, label: int) -> list[tuple[int, int]]:
        """Numbers and labels of the frames to take."""
        try:
            with tree.local(path) as file:
                length = video.count(file)
        except limits.LockedError:
            raise
        except InputError as error:
            if self.options.get('on_corrupt') != 'drop':
                raise InputError(f'{error} {distributing.HINT}') from error
            self.drops.add('corrupt clip', name)
            return []
        neutral = self.protocol.endswith('neutral')
        chosen = sequences.around_peak(length, label, peaks=3, neutral=neutral)
        if not chosen:
            self.drops.add(sequences.TOO_SHORT, name)
        return chosen

    def picture(self, tree: trees.Tree, item: corpus.Item) -> bytes:
        """One frame, turned or cut in half as its clip needs, as PNG."""
        clip = self._clips[item.path]
        if self._decoded[0] != item.path:
            with tree.local(item.path) as file:
                self._decoded = item.path, video.frames(file, clip.numbers)
        pixels = self._decoded[1][int(item.file.rpartition('#')[2])]
        if clip.two_views:
            side = self.options.get('frontal', _OPTIONS['frontal'][1])
            if side == 'auto':
                side = clips.frontal_side(self._decoded[1][clip.numbers[0]])
            pixels = clips.half(pixels, side)
        elif clip.turn:
            pixels = clips.turned(pixels)
        return common.png(Image.fromarray(np.ascontiguousarray(pixels)))

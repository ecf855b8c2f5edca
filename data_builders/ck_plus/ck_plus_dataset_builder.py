"""TFDS builder of CK+: frames of the sequences whose emotion is labelled."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import annotations, corpus, counts, faces, sequences, splits, trees
from data_builders.ck_plus import crops, hints
from dmsrl_jax.errors import InputError

NEEDS = (
    'extended-cohn-kanade-images.zip and Emotion_labels.zip (FACS_labels.zip and Landmarks.zip if '
    'you have them), or the folders cohn-kanade-images/ and Emotion/ that they unpack to'
)
PROTOCOLS = {
    'peak3_neutral': 'last 3 frames, and the first one as neutral: 309 x 4 = 1,236 images',
    'peak3': 'last 3 frames, no neutral: 309 x 3 = 927 images',
    'peak1': 'last frame, no neutral: 309 images',
    'peak1_neutral': 'last frame, and the first one as neutral: 309 x 2 = 618 images',
    **{name: form.text for name, form in crops.FORMS.items()},
}
_PEAKS = {'peak3_neutral': 3, 'peak3': 3, 'peak1': 1, 'peak1_neutral': 1}
_SEQUENCE = r'(?P<subject>S\d{3})/(?P<number>\d{3})/'
# Others hold faces cut out of them, under their names; a second download has a number behind it.
_OWN = r'(?:extended-)?cohn-kanade-images(?:[- ]\(?\d+\)?)?'
_FRAME = r'S\d{3}_\d{3}_(?P<frame>\d{8})'
# The owners' are PNG, which sort behind those of copies, so that of both they count.
_IMAGE = rf'{_SEQUENCE}{_FRAME}\.(?:png|jpe?g|bmp)'
_ONSET = 3  # frames are numbered from 1; up to here a face is still neutral
# Sequences of surprise, fear, disgust, happiness, sadness and anger.
_SEQUENCES = (83, 25, 59, 69, 28, 45)


def _counts(protocol: str) -> tuple[counts.Count, ...]:
    neutral = sum(_SEQUENCES) if protocol.endswith('neutral') else 0
    classes = [_PEAKS[protocol] * number for number in _SEQUENCES] + [neutral]
    return (
        counts.Count('sequences', 593, True),
        counts.Count('labelled sequences', 327, True),
        counts.Count('subjects', 123, True),
        counts.Count('all images', sum(classes), True),
        *counts.per_class('all', classes, certain=True),
    )


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | splits.OPTIONS


class Builder(corpus.Builder):
    """Writes train and test, a split of our own by person."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {
        **{protocol: _counts(protocol) for protocol in _PEAKS},
        **{name: form.counts for name, form in crops.FORMS.items()},
    }
    SPLITS: ClassVar = {'agra': ('train', 'validation')}
    PICTURES: ClassVar = dict.fromkeys(
        _PEAKS, 'S005/001/S005_001_00000011.png with S005/001/S005_001_00000011_emotion.txt'
    )
    EXTRA: ClassVar = {
        'sequence': tfds.features.Text(),
        'action_units': tfds.features.Tensor(shape=(crops.UNITS,), dtype=np.int32),
    }

    def describe(self, tree: trees.Tree) -> str:
        """What lies in the user's folder, and which forms of CK+ in it are not read."""
        hint = hints.loose_files(tree) if self.protocol in _PEAKS else ''
        return hint + hints.rows(tree) + super().describe(tree)

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Frames of the sequences, or crops, in the order of their names."""
        return crops.items(self, tree) if self.protocol in crops.FORMS else self._frames(tree)

    def _frames(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Frames of the sequences that have a label file."""
        self.need(tree, _IMAGE, alike=False)
        self.need(tree, rf'{_SEQUENCE}{_FRAME}_emotion\.txt')
        filmed = by_sequence(tree, f'{_OWN}/{_IMAGE}') or by_sequence(tree, _IMAGE)
        labels = by_sequence(tree, rf'{_SEQUENCE}{_FRAME}_emotion\.txt')
        units = by_sequence(tree, rf'{_SEQUENCE}{_FRAME}_facs\.txt')
        landmarks = by_sequence(tree, rf'{_SEQUENCE}{_FRAME}_landmarks\.txt')
        self.found['sequences'] = len(filmed)
        self.found['subjects'] = len({subject for subject, _ in filmed})
        for key in sorted(labels.keys() - filmed.keys()):
            self.drops.add('emotion of a sequence without pictures', '/'.join(key))
        for key, frames in filmed.items():
            name = '/'.join(key)
            if key not in labels:
                self.drops.add('sequence without an emotion', name)
                continue
            self.found['labelled sequences'] += 1
            (peak, path), *others = sorted(labels[key].items())
            if others:
                raise InputError(
                    f'{path} and {others[0][1]} label one sequence: remove one of them'
                )
            label = self.beside(path, self._label, tree, path, name)
            if label is None:
                continue
            coded = self.beside(
                name,
                action_units,
                tree,
                list(units.get(key, {}).values()),
                without=crops.no_units(),
            )
            for frame, code in self._chosen(frames, peak, label, name):
                place = landmarks.get(key, {}).get(frame)
                marks = self.beside(place, numbers, tree, place, 2, without=()) if place else ()
                extra = {
                    'sequence': name,
                    'action_units': crops.no_units() if code != label else coded,
                }
                yield corpus.Item(
                    f'{name}/{frames[frame].rpartition("/")[2]}',
                    code,
                    frames[frame],
                    subject=key[0],
                    points=faces.five_points(marks),
                    extra=extra,
                )

    def _label(self, tree: trees.Tree, path: str, name: str) -> int | None:
        return self.keep(code_of(tree, path), 'ckplus', name, path)

    def _chosen(
        self, frames: dict[int, str], peak: int, label: int, name: str
    ) -> list[tuple[int, int]]:
        """Frame and label of the peak, which is named by the label's file, and of the beginning."""
        if peak not in frames:
            self.drops.add(sequences.NO_PEAK, name)
            return []
        onset = _ONSET if self.protocol.endswith('neutral') else None
        upto = [frame for frame in sorted(frames) if frame <= peak]
        chosen = sequences.to_peak(upto, label, peaks=_PEAKS[self.protocol], onset=onset)
        if not chosen:
            self.drops.add(sequences.TOO_SHORT, name)
        elif onset is not None and upto[0] > onset:
            self.drops.add(sequences.NO_ONSET, name)
        return chosen


def by_sequence(tree: trees.Tree, pattern: str) -> dict[tuple[str, str], dict[int, str]]:
    """Files of each sequence.

    Args:
        tree: the user's files.
        pattern: with the groups subject, number and frame.

    Returns:
        (subject, number of the sequence) to number of the frame to name of the file.
    """
    found_in: dict[tuple[str, str], dict[int, str]] = {}
    for found in tree.find(pattern).values():
        key = (found.groups['subject'].upper(), found.groups['number'])
        found_in.setdefault(key, {})[int(found.groups['frame'])] = found.path
    return found_in


def numbers(tree: trees.Tree, path: str, columns: int) -> list[tuple[float, ...]]:
    """Reads a file of numbers such as `3.0000000e+00`.

    Args:
        tree: the user's files.
        path: the file.
        columns: numbers per line.

    Returns:
        One tuple per line, at least one.

    Raises:
        InputError: no line, or other than numbers, or not that many in a line.
    """
    lines = [text.split() for _, text in tree.lines(path)]
    try:
        rows = [tuple(map(float, words)) for words in lines]
    except ValueError as error:
        raise InputError(f'{path}: expected numbers ({error})') from error
    if not rows or any(len(row) != columns for row in rows):
        raise InputError(f'{path}: expected lines of {columns} numbers')
    return rows


def code_of(tree: trees.Tree, path: str) -> int:
    """Reads the code of a label file.

    Raises:
        InputError: it does not hold one whole number.
    """
    code = numbers(tree, path, 1)[0][0]
    if not code.is_integer():  # neither is nan
        raise InputError(f'{path}: the emotion must be a whole number, not {code}')
    return int(code)


def action_units(tree: trees.Tree, paths: Sequence[str]) -> np.ndarray:
    """Reads the action units of a sequence's peak.

    Args:
        tree: the user's files.
        paths: the files; none where the sequence is not coded.

    Returns:
        int32 [100]: at each unit's number its intensity 1..5, 0 where it is seen without
        intensity, -1 where it is not coded.

    Raises:
        InputError: other than two numbers in a line, or an intensity that is no code.
    """
    units = crops.no_units()
    for path in paths:
        for unit, intensity in numbers(tree, path, 2):
            if 0 <= unit < crops.UNITS and math.isfinite(intensity):
                units[int(unit)] = annotations.whole(intensity, path)
    return units


make_builder = corpus.maker(Builder, options)

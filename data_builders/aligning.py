"""Cuts the faces of a corpus while it is built: on several processes, with what was found kept."""

import collections
import dataclasses
import functools
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from data_builders import common
from dmsrl_jax.data import faces, images, parallel

CACHE, WITHOUT = '.faces.sqlite', 'no_face.txt'
_CHUNK = 4
Example = tuple[Any, dict[str, Any]]


class Task(NamedTuple):
    """One picture on its way to a worker; `found` are its faces if they are known already."""

    data: bytes
    name: str
    box: Sequence[float] | None
    landmarks: np.ndarray | None
    found: list[faces.Face] | None


class Result(NamedTuple):
    """What comes back: the crop, one of `faces.HOW`, and the faces if they were looked for."""

    crop: bytes
    how: str
    found: list[faces.Face] | None


class Aligner:
    """Replaces the image of every example by its face.

    An example may carry `box` (left, top, right, bottom) and `landmarks` (ten numbers or [5, 2]) in
    pixels of its upright image, as the owners of a corpus ship them; they are used and taken out.

    Attributes:
        settings: how faces are cut.
        counts: how many crops came from each of `faces.HOW`, and how many pictures were `known`.
        without: names of the pictures in which no face was found.

    Args:
        settings: see `faces.Settings`.
        cache: file of the faces that were found before, see `faces.FaceCache`.
        workers: processes; 0 works in this one.

    Raises:
        InputError: the detector cannot be loaded.
    """

    def __init__(
        self, settings: faces.Settings, *, cache: str | os.PathLike[str], workers: int = 0
    ):
        self.settings, self.cache, self.workers = settings, pathlib.Path(cache), workers
        self.identity = _detector(settings.detector).identity
        self.counts: collections.Counter[str] = collections.Counter()
        self.without: list[str] = []
        self.seconds = 0.0

    def attach(self, builder: Any) -> Callable[[Any], dict[str, Any]]:
        """Makes a builder write faces: whole pictures with the owners' boxes in, crops out.

        Args:
            builder: a TFDS builder; it is changed.

        Returns:
            What gives its splits from now on, in place of `_split_generators`.
        """
        builder.whole_pictures, builder.workers = True, 0  # the processes are busy with faces
        drops = getattr(builder, 'drops', None)
        drops = builder.drops = common.Drops() if drops is None else drops
        shape = (self.settings.size, self.settings.size, 3)
        builder.info.features._feature_dict['image'] = tfds.features.Image(shape=shape)
        split_generators = builder._split_generators

        def cut(dl_manager: Any) -> dict[str, Any]:
            return {
                split: common.checked_examples(split, self.examples(examples, drops), drops)
                for split, examples in split_generators(dl_manager).items()
            }

        return cut

    def examples(self, examples: Iterator[Example], drops: common.Drops) -> Iterator[Example]:
        """Passes examples on with their faces instead of their images, in the same order.

        Args:
            examples: key and record, the image as bytes of a file.
            drops: told the pictures without a face, if those are left out.

        Yields:
            Key and record.

        Raises:
            InputError: an image that cannot be decoded.
        """
        waiting: collections.deque[tuple[Any, dict[str, Any], str]] = collections.deque()
        work = functools.partial(work_on, settings=self.settings)
        start = time.perf_counter()
        with faces.FaceCache(self.cache) as cache:
            tasks = self._tasks(examples, waiting, cache)
            for result in parallel.ordered(work, tasks, workers=self.workers, chunk=_CHUNK):
                key, example, picture = waiting.popleft()
                if result.found is not None:
                    cache.put(self.identity, picture, result.found)
                if self._kept(result.how, example, drops):
                    yield key, example | {'image': result.crop}
        self.seconds += time.perf_counter() - start

    def _tasks(
        self,
        examples: Iterator[Example],
        waiting: collections.deque[tuple[Any, dict[str, Any], str]],
        cache: faces.FaceCache,
    ) -> Iterator[Task]:
        for key, example in examples:
            data, box = example['image'], example.pop('box', None)
            landmarks = example.pop('landmarks', None)
            points = None if landmarks is None else np.reshape(landmarks, (5, 2)).astype(float)
            where = '' if box is None else ','.join(f'{float(value):.2f}' for value in box)
            picture = f'{common.digest(data).hex()}{where}'
            found = [] if points is not None else cache.get(self.identity, picture)
            self.counts['known'] += points is None and found is not None
            waiting.append((key, example, picture))
            yield Task(data, example['file'], box, points, found)

    def _kept(self, how: str, example: dict[str, Any], drops: common.Drops) -> bool:
        self.counts[how] += 1
        if how != 'no_face':
            return True
        self.without.append(example['file'])
        if self.settings.no_face == 'drop':
            drops.add('no face found', example['file'])
            return False
        return True

    def report(self) -> dict[str, Any]:
        """What was done, for the corpus's report: settings, counts, examples, throughput."""
        total = sum(self.counts[how] for how in faces.HOW)
        return {
            'detector': self.identity,
            **{how: self.counts[how] for how in faces.HOW},
            'known': self.counts['known'],
            'examples_without': self.without[:5],
            'images_per_second': round(total / max(self.seconds, 1e-9), 1),
            'workers': self.workers,
        }


@functools.lru_cache(maxsize=1)
def _detector(name: str) -> faces.Detector:
    """The detector of this process: loading it once per picture would cost more than its work."""
    return faces.create(name)


def work_on(task: Task, settings: faces.Settings) -> Result:
    """Cuts the face out of one picture.

    Args:
        task: the picture.
        settings: how.

    Returns:
        The crop.

    Raises:
        InputError: the picture cannot be decoded.
    """
    image = images.upright(task.data, name=task.name)
    found = task.found
    if found is None:
        found = faces.search(image, _detector(settings.detector), task.box)
    place = faces.place(image.size, found, settings, box=task.box, landmarks=task.landmarks)
    crop = faces.encode(faces.warp(image, place.matrix, settings.size), settings.encoding)
    return Result(crop, place.how, found if task.found is None else None)


def as_text(settings: faces.Settings) -> str:
    """Settings in one line, to keep and to compare."""
    return ', '.join(f'{name} {value}' for name, value in dataclasses.asdict(settings).items())


def describe(report: dict[str, Any]) -> list[str]:
    """Lines for the terminal about how the faces of a corpus were cut.

    Args:
        report: what `Aligner.report` gave.

    Returns:
        Two lines, or one where every picture had a face.
    """
    words = {'owners_landmarks': "by the owners' landmarks", 'found': 'found by the detector',
             'owners_box': "by the owners' box alone", 'no_face': 'without a face'}  # fmt: skip
    parts = [f'{report[how]} {text}' for how, text in words.items() if report[how]]
    lines = [
        f'faces: {", ".join(parts) or "none"} ({report["detector"]}; '
        f'{report["images_per_second"]} images/s, {report["known"]} known from before)'
    ]
    if report['no_face']:
        more = ', ...' if report['no_face'] > len(report['examples_without']) else ''
        lines.append(f'  no face: {", ".join(report["examples_without"])}{more}')
    return lines

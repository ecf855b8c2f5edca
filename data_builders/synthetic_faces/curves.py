"""Smooth curves through a few points, as cached matrices, and small ready-made outlines."""

import functools

import numpy as np

# Catmull-Rom weights of the four points around a segment, for powers 0..3 of the position on it.
_CATMULL_ROM = 0.5 * np.array(
    [[0.0, 2.0, 0.0, 0.0], [-1.0, 0.0, 1.0, 0.0], [2.0, -5.0, 4.0, -1.0], [-1.0, 3.0, -3.0, 1.0]]
)


@functools.lru_cache(maxsize=64)
def _basis(count: int, steps: int, closed: bool) -> np.ndarray:
    """Matrix [samples, count] from control points to points on the curve."""
    segments = count if closed else count - 1
    rows = []
    for segment in range(segments):
        around = range(segment - 1, segment + 3)
        index = [i % count if closed else min(max(i, 0), count - 1) for i in around]
        for step in range(steps):
            row = np.zeros(count)
            np.add.at(row, index, (step / steps) ** np.arange(4.0) @ _CATMULL_ROM)
            rows.append(row)
    if not closed:
        rows.append(np.eye(count)[-1])
    return np.array(rows)


def smooth(points: np.ndarray, steps: int = 4, *, closed: bool = False) -> np.ndarray:
    """Points on the Catmull-Rom curve through the given ones.

    Args:
      points: float [N, 2], N >= 2.
      steps: samples per segment.
      closed: whether the last point joins the first.

    Returns:
      float [N * steps, 2] if closed, else [(N - 1) * steps + 1, 2].
    """
    return _basis(len(points), steps, closed) @ points


@functools.lru_cache(maxsize=8)
def _circle(count: int) -> np.ndarray:
    angle = np.arange(count) * (2.0 * np.pi / count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float | None = None, count: int = 14
) -> np.ndarray:
    """Outline of an ellipse, float [count, 2]; a circle if `radius_y` is left out."""
    return _circle(count) * (radius_x, radius_x if radius_y is None else radius_y) + (x, y)

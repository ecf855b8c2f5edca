"""The parts of a face, back to front, as outlines that any domain can paint in its own way."""

import numpy as np

from data_builders.synthetic_faces.creases import creases
from data_builders.synthetic_faces.curves import ellipse, smooth
from data_builders.synthetic_faces.features import brow, eye, mouth, nose
from data_builders.synthetic_faces.identity import Identity
from data_builders.synthetic_faces.landmarks import SIDES, Landmarks
from data_builders.synthetic_faces.parts import BEHIND, RAISED, SILHOUETTE, SURFACE, Part

_HEAD = np.array(
    [(0.0, -1.32), (0.5, -1.22), (0.86, -0.82), (0.95, -0.25), (0.9, 0.3), (0.0, 0.86), (0.0, 1.18)]
)


def head_outline(identity: Identity, marks: Landmarks) -> np.ndarray:
    """The head's silhouette, float [48, 2]; the jaw follows AU 26."""
    shape = identity.shape
    right = _HEAD.copy()
    right[5, 0], right[6, 0] = shape['jaw'], shape['chin']
    right[:, 0] *= shape['width']
    right[:, 1] *= shape['height']
    right[4:, 1] += marks.jaw_drop * np.array([0.1, 0.6, 1.0])
    chin = [(0.0, marks.chin_y + 0.04)]
    left = right[:0:-1] * (-1.0, 1.0)
    return smooth(np.concatenate([right, chin, left]), closed=True)


def _hair(identity: Identity, outline: np.ndarray) -> tuple[list[Part], list[Part]]:
    """What lies behind the head and what lies on it."""
    style, line = identity.hair_style, identity.shape['hairline']
    width, height = identity.shape['width'], identity.shape['height']
    top = outline[(outline[:, 1] < -0.35)]
    top = top[np.argsort(top[:, 0])]
    puff = {'shaved': 1.005, 'short': 1.05, 'parted': 1.08, 'long': 1.1, 'round': 1.2, 'bun': 1.05}
    outer = top * puff[style]
    back: list[Part] = []
    if style == 'long':
        lock = [(-1.0, -0.6), (-1.14, 0.4), (-1.05, 1.5), (1.05, 1.5), (1.14, 0.4), (1.0, -0.6)]
        back = [Part('hair', smooth(np.array(lock) * (width, height), closed=True), BEHIND)]
    elif style == 'round':
        back = [Part('hair', ellipse(0.0, -0.45, 1.2 * width, 1.05 * height, 20), BEHIND)]
    elif style == 'bun':
        back = [Part('hair', ellipse(0.0, -1.5 * height, 0.38, 0.3), BEHIND)]
    edge = {
        'shaved': [(0.8, -0.45), (0.62, -0.75), (0.0, line), (-0.62, -0.75), (-0.8, -0.45)],
        'short': [(0.86, -0.3), (0.68, -0.78), (0.0, line), (-0.68, -0.78), (-0.86, -0.3)],
        'parted': [(0.9, -0.2), (0.72, -0.62), (-0.3, line), (-0.66, -0.8), (-0.9, -0.2)],
        'long': [(0.93, 0.1), (0.76, -0.5), (0.0, line - 0.1), (-0.76, -0.5), (-0.93, 0.1)],
        'round': [(0.9, -0.2), (0.6, -0.66), (0.0, line + 0.06), (-0.6, -0.66), (-0.9, -0.2)],
        'bun': [(0.86, -0.3), (0.66, -0.8), (0.0, line), (-0.66, -0.8), (-0.86, -0.3)],
    }
    hairline = smooth(np.array(edge[style]) * (width, 1.0))
    hold = np.repeat([SILHOUETTE, SURFACE], [len(outer), len(hairline)])
    strength = 0.45 if style == 'shaved' else 1.0
    return back, [Part('hair', np.concatenate([outer, hairline]), hold, strength=strength)]


def _beard(identity: Identity, marks: Landmarks, outline: np.ndarray) -> list[Part]:
    if identity.beard == 'none':
        return []
    (left, left_y), (right, right_y) = marks.mouth_corner
    top, nose = float(marks.lips[0]), float(marks.nostril[:, 1].mean())
    lip = [(left - 0.05, left_y + 0.02), (left * 0.6, top - 0.05), (0.0, 0.4 * top + 0.6 * nose)]
    lip += [(right * 0.6, top - 0.05), (right + 0.05, right_y + 0.02), (0.0, top + 0.03)]
    moustache = Part('hair', smooth(np.array(lip), closed=True), strength=0.85)
    if identity.beard == 'moustache':
        return [moustache]
    low = outline[outline[:, 1] > 0.45]
    low = low[np.argsort(low[:, 0])]
    upper = [(0.74, 0.45), (right + 0.16, right_y - 0.06), (0.0, top - 0.1)]
    upper += [(left - 0.16, left_y - 0.06), (-0.74, 0.45)]
    hold = np.repeat([SILHOUETTE, SURFACE], [len(low), 17])
    strength = 0.25 if identity.beard == 'stubble' else 0.85
    return [Part('hair', np.concatenate([low, smooth(np.array(upper))]), hold, strength=strength)]


def _glasses(marks: Landmarks) -> list[Part]:
    rims = [
        Part('frame', ellipse(x, y + 0.03, 0.29, 0.23, 20)[[*range(20), 0]], RAISED, width=0.04)
        for x, y in marks.eye
    ]
    y = float(marks.eye[:, 1].mean())
    bridge = np.array([(marks.eye[0, 0] + 0.28, y), (0.0, y - 0.04), (marks.eye[1, 0] - 0.28, y)])
    return [*rims, Part('frame', smooth(bridge), RAISED, width=0.04)]


def build(identity: Identity, marks: Landmarks, units: np.ndarray, gaze: np.ndarray) -> list[Part]:
    """All parts of a head with neck and shoulders.

    Args:
      identity: the subject.
      marks: its landmarks.
      units: float [ROWS, 2] action units, for creases and teeth.
      gaze: float [2], -1..1, where the eyes look.

    Returns:
      The parts, back to front.
    """
    outline = head_outline(identity, marks)
    back, front = _hair(identity, outline)
    width = identity.shape['width']
    neck = np.array([(-0.5, 0.6), (-0.52, 1.5), (0.52, 1.5), (0.5, 0.6)]) * (width, 1.0)
    shoulders = smooth(
        np.array([(-2.6, 2.9), (-1.7, 1.75), (-0.5, 1.45), (0.5, 1.45), (1.7, 1.75), (2.6, 2.9)])
    )
    ears = [Part('ear', ellipse(sign * 0.95 * width, 0.02, 0.13, 0.25), BEHIND) for sign in SIDES]
    eyes = [part for side in (0, 1) for part in eye(identity, marks, side, gaze)]
    return [
        *back,
        Part('neck', neck, BEHIND),
        Part('cloth', shoulders, BEHIND),
        *ears,
        Part('head', outline, SILHOUETTE),
        *_beard(identity, marks, outline),
        *eyes,
        *creases(identity, marks, units),
        *nose(identity, marks),
        *mouth(marks, units),
        *(brow(identity, marks, side) for side in (0, 1)),
        *front,
        *(_glasses(marks) if identity.glasses else ()),
    ]

"""Lines that action units fold into the skin, deeper with age."""

import numpy as np

from data_builders.synthetic_faces.curves import smooth
from data_builders.synthetic_faces.identity import Identity
from data_builders.synthetic_faces.landmarks import SIDES, Landmarks
from data_builders.synthetic_faces.parts import RAISED, Part


def _forehead(age: float, marks: Landmarks, units: np.ndarray) -> list[Part]:
    """Furrows across the forehead (AU 1, 2) and between the brows (AU 4)."""
    rise, frown = units[[1, 2]].mean(), units[4].mean()
    top, between = float(marks.brow[1, :, 1].mean()), float(marks.brow[0, :, 1].mean())
    depth = 0.5 * rise + 0.25 * max(0.0, age - 0.3)
    parts = []
    for y in (top - 0.24, top - 0.36, top - 0.48):
        line = smooth(np.array([(-0.45, y + 0.02), (0.0, y), (0.45, y + 0.02)]))
        parts.append(Part('crease', line, width=0.024, strength=depth))
    for x in marks.brow[0, :, 0] * 0.55:
        line = np.array([(x, between - 0.11), (x * 0.9, between + 0.07)])
        parts.append(Part('crease', line, width=0.028, strength=0.65 * frown + 0.12 * age))
    return parts


def _cheek(age: float, marks: Landmarks, units: np.ndarray, side: int) -> list[Part]:
    """Fold from nose to mouth (AU 9, 10, 12, 15) and crow's feet (AU 6)."""
    sign, (eye_x, eye_y) = SIDES[side], marks.eye[side]
    (x, y), (corner_x, corner_y) = marks.nostril[side], marks.mouth_corner[side]
    bend = (0.5 * (x + corner_x) + 0.1 * sign, 0.5 * (y + corner_y) - 0.02)
    ends = (x + 0.03 * sign, y - 0.03), (corner_x + 0.07 * sign, corner_y + 0.02)
    fold = smooth(np.array([ends[0], bend, ends[1]]))
    depth = units[[9, 10, 12, 15], side] @ np.array([0.45, 0.45, 0.6, 0.2]) + 0.3 * age
    parts = [Part('crease', fold, width=0.028, strength=min(0.8, depth))]
    out = eye_x + sign * (marks.eye_half + 0.04)
    squeeze = 0.5 * units[6, side] + 0.3 * max(0.0, age - 0.4)
    for end in (-0.06, 0.0, 0.06):
        foot = np.array([(out, eye_y + 0.3 * end), (out + 0.11 * sign, eye_y + end)])
        parts.append(Part('crease', foot, width=0.022, strength=squeeze))
    return parts


def creases(identity: Identity, marks: Landmarks, units: np.ndarray) -> list[Part]:
    """All lines of a face.

    Args:
      identity: age, place of the eyes.
      marks: what the lines lie between.
      units: float [ROWS, 2] action units.

    Returns:
      Lines with role 'crease'.
    """
    parts = _forehead(identity.age, marks, units)
    for y in (identity.shape['eye_y'] + 0.02, identity.shape['eye_y'] + 0.08):
        line = np.array([(-0.11, y + 0.03), (0.0, y), (0.11, y + 0.03)])
        parts.append(Part('crease', line, RAISED, width=0.024, strength=0.75 * units[9].mean()))
    parts += [part for side in (0, 1) for part in _cheek(identity.age, marks, units, side)]
    y = float(marks.lips[3]) + 0.09
    pout = smooth(np.array([(-0.14, y + 0.04), (0.0, y), (0.14, y + 0.04)]))
    return [*parts, Part('crease', pout, width=0.03, strength=0.25 + 0.4 * units[17].mean())]

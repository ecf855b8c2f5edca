"""Eyes, brows, nose and mouth as outlines."""

import numpy as np

from data_builders.synthetic_faces.curves import ellipse, smooth
from data_builders.synthetic_faces.identity import Identity
from data_builders.synthetic_faces.landmarks import SIDES, Landmarks
from data_builders.synthetic_faces.parts import RAISED, Part


def eye(identity: Identity, marks: Landmarks, side: int, gaze: np.ndarray) -> list[Part]:
    """One eye with its lids; iris and pupil stay between them."""
    sign, half = SIDES[side], marks.eye_half
    x, y = marks.eye[side]
    up, down, tilt = marks.upper_lid[side], marks.lower_lid[side], identity.shape['eye_tilt']
    across = np.array([-1.0, -0.55, 0.0, 0.55, 1.0]) * half
    lift = sign * tilt * across / half
    height = np.array([0.0, 0.72, 1.0, 0.78, 0.0])
    upper = smooth(np.stack([x + across, y + lift - up * height], axis=1))
    lower = smooth(np.stack([x + across, y + lift + down * height], axis=1))
    radius = 0.088 * identity.shape['eye_size']
    white = np.concatenate([upper, lower[::-1]])
    iris = ellipse(x + 0.06 * gaze[0], y - 0.012 + 0.02 * gaze[1], radius)
    inside = np.stack([iris[:, 0], np.clip(iris[:, 1], y - 0.97 * up, y + 0.97 * down)], axis=1)
    pupil = ellipse(x + 0.06 * gaze[0], y - 0.012 + 0.02 * gaze[1], 0.45 * radius, count=8)
    pupil[:, 1] = np.clip(pupil[:, 1], y - 0.9 * up, y + 0.9 * down)
    fold = upper - (0.0, 0.045 + 0.2 * max(0.0, 0.09 - up))
    bag = smooth(
        np.array([(x - 0.8 * half, y + 0.06), (x, y + down + 0.075), (x + 0.8 * half, y + 0.06)])
    )
    return [
        Part('eye_white', white),
        Part('iris', inside),
        Part('pupil', pupil),
        Part('glint', ellipse(x + 0.06 * gaze[0] + 0.03, y - 0.045, 0.02, count=6)),
        Part('lid', upper, width=0.036),
        Part('crease', lower, width=0.02, strength=0.35),
        Part('crease', fold, width=0.022, strength=0.35),
        Part('crease', bag, width=0.02, strength=0.1 + 0.35 * identity.age),
    ]


def brow(identity: Identity, marks: Landmarks, side: int) -> Part:
    """One brow, thinner towards its outer end."""
    ridge = smooth(marks.brow[:, side])
    thick = identity.shape['brow_thickness'] * np.linspace(1.0, 0.45, len(ridge))[:, None]
    down = thick * (0.0, 0.5)
    return Part('brow', np.concatenate([ridge - down, (ridge + down)[::-1]]))


def nose(identity: Identity, marks: Landmarks) -> list[Part]:
    """Base, one side of the bridge, nostrils."""
    (left, left_y), (right, right_y) = marks.nostril
    y, top = marks.nose_y, identity.shape['eye_y'] + 0.06
    base = [(left, left_y - 0.05), (left * 0.9, left_y + 0.03), (left * 0.4, y + 0.035)]
    base += [(0.0, y + 0.06), (right * 0.4, y + 0.035), (right * 0.9, right_y + 0.03)]
    base += [(right, right_y - 0.05)]
    bridge = [(0.09, top), (0.075, 0.5 * (top + y)), (0.55 * right, right_y - 0.09)]
    holes = [
        Part('nostril', ellipse(0.48 * x, y + 0.022, 0.045, 0.024, 8), RAISED)
        for x in (left, right)
    ]
    return [
        Part('crease', smooth(np.array(base)), RAISED, width=0.026, strength=0.6),
        Part('crease', smooth(np.array(bridge)), RAISED, width=0.03, strength=0.22),
        *holes,
    ]


_ACROSS = np.linspace(-1.0, 1.0, 13)
_BOW = 0.018 * (
    np.exp(-((_ACROSS / 0.16) ** 2)) - 0.8 * np.exp(-(((np.abs(_ACROSS) - 0.28) / 0.2) ** 2))
)


def mouth(marks: Landmarks, units: np.ndarray) -> list[Part]:
    """Lips and what they show, from four curves between the corners."""
    corner = np.where(_ACROSS[:, None] < 0.0, marks.mouth_corner[0], marks.mouth_corner[1])
    x = np.abs(_ACROSS) * corner[:, 0]
    bend = np.abs(_ACROSS) ** np.array([[1.9], [2.2], [2.2], [2.0]])
    middle = marks.lips[:, None]
    y = middle + (corner[:, 1] - middle) * bend
    y[0] += _BOW
    lines = [np.stack([x, line], axis=1) for line in y]
    parts = [
        Part('mouth', np.concatenate([lines[1], lines[2][::-1]])),
        *_inside(lines, marks.mouth_open, units.mean(axis=1)),
        Part('lip', np.concatenate([lines[0], lines[1][::-1]]), strength=0.9),
        Part('lip', np.concatenate([lines[2], lines[3][::-1]])),
        Part('lip_line', lines[1], width=0.03, strength=0.9),
    ]
    if marks.mouth_open > 0.02:
        parts.append(Part('lip_line', lines[2], width=0.02, strength=0.5))
    return parts


def _inside(lines: list[np.ndarray], gap: float, strength: np.ndarray) -> list[Part]:
    """Teeth and tongue, as far as the lips show them."""
    if gap < 0.035:
        return []
    upper, lower = lines[1][1:-1], lines[2][1:-1]
    lift = min(1.0, float(strength[9] + strength[10] + strength[12] + 0.5 * strength[20]))
    room = lower[:, 1] - upper[:, 1]
    parts = []
    if gap > 0.14:
        tongue = np.stack([lower[:, 0] * 0.7, lower[:, 1] - 0.35 * room], axis=1)
        parts.append(Part('tongue', np.concatenate([tongue, lower[::-1]])))
    edge = np.stack([upper[:, 0], upper[:, 1] + np.minimum(0.8 * room, 0.04 + 0.06 * lift)], axis=1)
    parts.append(Part('teeth', np.concatenate([upper, edge[::-1]])))
    if strength[16] + strength[20] > 0.5:
        rim = np.stack([lower[:, 0], lower[:, 1] - np.minimum(0.4 * room, 0.05)], axis=1)
        parts.append(Part('teeth', np.concatenate([rim, lower[::-1]]), strength=0.85))
    return parts

"""The parts of a face, back to front, as outlines that any domain can paint in its own way."""

from typing import NamedTuple

import numpy as np

from data_builders.synthetic_faces.curves import ellipse, smooth
from data_builders.synthetic_faces.identity import Identity
from data_builders.synthetic_faces.landmarks import SIDES, Landmarks

# What a part's points hang on, which decides how they turn with the head.
SURFACE, SILHOUETTE, BEHIND, RAISED = 1.0, 0.0, -1.0, 1.3


class Part(NamedTuple):
    """One painted outline.

    Attributes:
      role: names its paint, such as 'head', 'iris' or 'crease'.
      points: float [N, 2] in face units.
      hold: SURFACE, SILHOUETTE, BEHIND or RAISED, for all points or one per point.
      width: 0 for a filled area, else the line's width in face units.
      strength: 0..1, how far the paint differs from what lies below it.
    """

    role: str
    points: np.ndarray
    hold: float | np.ndarray = SURFACE
    width: float = 0.0
    strength: float = 1.0


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


def _eye(identity: Identity, marks: Landmarks, side: int, gaze: np.ndarray) -> list[Part]:
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


def _brow(identity: Identity, marks: Landmarks, side: int) -> Part:
    ridge = smooth(marks.brow[:, side])
    thick = identity.shape['brow_thickness'] * np.linspace(1.0, 0.45, len(ridge))[:, None]
    down = thick * (0.0, 0.5)
    return Part('brow', np.concatenate([ridge - down, (ridge + down)[::-1]]))


def _nose(identity: Identity, marks: Landmarks) -> list[Part]:
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


def _mouth(marks: Landmarks, units: np.ndarray) -> list[Part]:
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


def _creases(identity: Identity, marks: Landmarks, units: np.ndarray) -> list[Part]:
    """Lines that units fold into the skin, deeper with age."""
    age, sides = identity.age, (0, 1)
    rise = units[[1, 2]].mean()
    frown, wrinkle, squeeze = units[4].mean(), units[9].mean(), units[6]
    parts: list[Part] = []
    for row in (0.24, 0.36, 0.48):
        y = float(marks.brow[1, :, 1].mean()) - row
        line = smooth(np.array([(-0.45, y + 0.02), (0.0, y), (0.45, y + 0.02)]))
        parts.append(
            Part('crease', line, width=0.024, strength=0.5 * rise + 0.25 * max(0.0, age - 0.3))
        )
    inner, between = marks.brow[0, :, 0] * 0.55, float(marks.brow[0, :, 1].mean())
    for x in inner:
        line = np.array([(x, between - 0.11), (x * 0.9, between + 0.07)])
        parts.append(Part('crease', line, width=0.028, strength=0.65 * frown + 0.12 * age))
    for row in (0.0, 0.06):
        y = identity.shape['eye_y'] + 0.02 + row
        line = np.array([(-0.11, y + 0.03), (0.0, y), (0.11, y + 0.03)])
        parts.append(Part('crease', line, RAISED, width=0.024, strength=0.75 * wrinkle))
    for side in sides:
        sign = SIDES[side]
        x, y = marks.nostril[side]
        corner_x, corner_y = marks.mouth_corner[side]
        fold = np.array(
            [
                (x + 0.03 * sign, y - 0.03),
                (0.5 * (x + corner_x) + 0.1 * sign, 0.5 * (y + corner_y) - 0.02),
                (corner_x + 0.07 * sign, corner_y + 0.02),
            ]
        )
        depth = units[[9, 10, 12, 15], side] @ np.array([0.45, 0.45, 0.6, 0.2])
        parts.append(
            Part('crease', smooth(fold), width=0.028, strength=min(0.8, depth + 0.3 * age))
        )
        out = marks.eye[side, 0] + sign * (marks.eye_half + 0.04)
        for end in (-0.06, 0.0, 0.06):
            foot = np.array(
                [
                    (out, marks.eye[side, 1] + 0.3 * end),
                    (out + 0.11 * sign, marks.eye[side, 1] + end),
                ]
            )
            parts.append(
                Part(
                    'crease',
                    foot,
                    width=0.022,
                    strength=0.5 * squeeze[side] + 0.3 * max(0.0, age - 0.4),
                )
            )
    below = float(marks.lips[3]) + 0.09
    pout = np.array([(-0.14, below + 0.04), (0.0, below), (0.14, below + 0.04)])
    parts.append(Part('crease', smooth(pout), width=0.03, strength=0.25 + 0.4 * units[17].mean()))
    return parts


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
    eyes = [part for side in (0, 1) for part in _eye(identity, marks, side, gaze)]
    return [
        *back,
        Part('neck', neck, BEHIND),
        Part('cloth', shoulders, BEHIND),
        *ears,
        Part('head', outline, SILHOUETTE),
        *_beard(identity, marks, outline),
        *eyes,
        *_creases(identity, marks, units),
        *_nose(identity, marks),
        *_mouth(marks, units),
        *(_brow(identity, marks, side) for side in (0, 1)),
        *front,
        *(_glasses(marks) if identity.glasses else ()),
    ]

"""From identity and action units to the positions of the face's landmarks.

Face units: the origin lies between the eyes' and nose's height, x to the image's right, y down,
half a head's width about 1. Arrays of two hold the image's left and right side.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from data_builders.synthetic_faces.identity import Identity

SIDES = np.array([-1.0, 1.0])

# Displacement per unit of AU intensity. Brow: inner, middle, outer end, y (negative is up).
_BROW_Y = {
    1: (-0.17, -0.08, 0.0),
    2: (0.0, -0.13, -0.14),
    4: (0.13, 0.09, 0.02),
    5: (-0.01, -0.02, -0.01),
    6: (0.0, 0.01, 0.03),
    9: (0.07, 0.05, 0.01),
}
_BROW_IN = {4: 0.06, 9: 0.03}  # inner ends move together
_UPPER_LID = {5: 0.065, 4: -0.012, 6: -0.022, 7: -0.03, 9: -0.025, 1: 0.008, 2: 0.01}
_LOWER_LID = {5: 0.012, 6: -0.042, 7: -0.042, 9: -0.035, 12: -0.008}
_CORNER_OUT = {12: 0.11, 20: 0.13, 15: 0.01, 23: -0.07, 24: -0.03, 26: -0.06}
_CORNER_Y = {12: -0.16, 15: 0.13, 20: 0.03, 26: 0.09, 16: 0.02, 17: 0.01}
_UPPER_LIP_Y = {9: -0.055, 10: -0.085, 12: -0.02, 17: -0.035, 25: -0.012, 23: 0.01, 24: 0.01}
_LOWER_LIP_Y = {12: 0.01, 16: 0.085, 17: -0.045, 24: -0.01}
_PARTING = {25: 0.075, 26: 0.33, 16: 0.05, 20: 0.03, 10: 0.02, 12: 0.015}
_THICKNESS = {23: -0.45, 24: -0.45, 12: -0.22, 20: -0.25, 26: -0.1}
_NOSTRIL_Y = {9: -0.055, 10: -0.03, 12: -0.012}
_NOSTRIL_OUT = {9: 0.02, 10: 0.015, 12: 0.025}
JAW_DROP = {26: 0.26, 25: 0.015, 17: -0.03}


def _matrix(table: Mapping[int, float | tuple[float, ...]]) -> np.ndarray:
    """Effects [values, ROWS] of a table, to be multiplied with units [ROWS, sides]."""
    matrix = np.zeros((len(np.atleast_1d(next(iter(table.values())))), 27))
    for unit, effect in table.items():
        matrix[:, unit] = effect
    return matrix


_TABLES: tuple[Mapping[int, float | tuple[float, ...]], ...] = (
    _BROW_Y,
    *(_BROW_IN, _UPPER_LID, _LOWER_LID, _CORNER_OUT, _CORNER_Y, _UPPER_LIP_Y, _LOWER_LIP_Y),
    *(_PARTING, _THICKNESS, _NOSTRIL_Y, _NOSTRIL_OUT, JAW_DROP),
)
_EFFECTS = np.concatenate([_matrix(table) for table in _TABLES])


@dataclasses.dataclass(frozen=True)
class Landmarks:
    """Where things are; [2] is left and right, [2, 2] adds (x, y) as the last axis."""

    brow: np.ndarray  # [3 (inner, middle, outer), 2 sides, 2 (x, y)]
    eye: np.ndarray  # [2, 2] centres
    eye_half: float
    upper_lid: np.ndarray  # [2] opening above the eye's centre line
    lower_lid: np.ndarray  # [2] opening below
    nostril: np.ndarray  # [2, 2]
    nose_y: float
    mouth_corner: np.ndarray  # [2, 2]
    lips: np.ndarray  # [4] y on the middle line: upper outer, upper inner, lower inner, lower outer
    jaw_drop: float
    chin_y: float

    @property
    def mouth_open(self) -> float:
        """Gap between the lips on the middle line."""
        return float(self.lips[2] - self.lips[1])


def _brows(shape: dict[str, float], move: np.ndarray, eye: np.ndarray) -> np.ndarray:
    gap, slope = shape['brow_gap'], shape['brow_slope']
    reach = np.array([-0.235, 0.02, 0.25])[:, None]
    x = eye[:, 0] + SIDES * reach
    x[0] -= SIDES * move[3]
    rest = np.array([0.02 - slope, -shape['brow_arch'], 0.055 + slope])[:, None]
    y = eye[:, 1] - gap + rest + move[:3] + SIDES * shape['asymmetry']
    return np.stack([x, y], axis=-1)


def place(identity: Identity, units: np.ndarray) -> Landmarks:
    """Moves a subject's resting face by the action units.

    Args:
      identity: the subject.
      units: float [ROWS, 2] intensities by AU number and side.

    Returns:
      The landmarks in face units.
    """
    shape = identity.shape
    move = _EFFECTS @ units  # [values, 2]
    # Combinations 1+4 and 1+2+4 draw the brows together but hardly lower them: AU 1 wins.
    move[:3] -= _EFFECTS[:3, 4:5] * units[4] * np.minimum(0.8, 1.2 * units[1])
    middle = move.mean(axis=1).tolist()
    eye = np.stack([SIDES * shape['eye_x'], np.full(2, shape['eye_y'])], axis=1)
    size, mouth_y, lip = shape['eye_size'], shape['mouth_y'], shape['lip']
    corner_x = SIDES * (shape['mouth_width'] + move[6])
    corner_y = mouth_y + shape['mouth_curve'] + move[7] + SIDES * shape['asymmetry']
    parting = max(0.0, middle[10] - 0.02)
    upper = mouth_y + middle[8]
    lower = upper + parting + max(0.0, middle[9]) * 0.5
    full = lip * max(0.3, 1.0 + middle[11])
    nose_y = shape['eye_y'] + shape['nose_length']
    nostril = np.stack([SIDES * (shape['nose_width'] + move[13]), nose_y + move[12]], axis=1)
    return Landmarks(
        brow=_brows(shape, move, eye),
        eye=eye,
        eye_half=0.19 * size,
        upper_lid=np.maximum(size * (0.085 + move[4]), 0.018),
        lower_lid=np.maximum(size * (0.062 + move[5]), 0.008),
        nostril=nostril,
        nose_y=nose_y + 0.5 * middle[12],
        mouth_corner=np.stack([corner_x, corner_y], axis=1),
        lips=np.array([upper - 0.062 * full, upper, lower, lower + 0.085 * full + 0.5 * middle[9]]),
        jaw_drop=middle[14],
        chin_y=1.22 * shape['height'] + middle[14],
    )

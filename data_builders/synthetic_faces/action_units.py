"""What the face does: action units (AU) of the Facial Action Coding System per expression.

Reference: P. Ekman, W. V. Friesen and J. C. Hager, Facial Action Coding System: The Manual, 2002
(numbers and names); the combinations are its investigator's guide's prototypes (EMFACS), anger,
happiness and surprise among them, with common variants as optional units.
"""

from typing import NamedTuple

import numpy as np

from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

ACTION_UNITS = {
    1: 'inner brow raiser',
    2: 'outer brow raiser',
    4: 'brow lowerer',
    5: 'upper lid raiser',
    6: 'cheek raiser',
    7: 'lid tightener',
    9: 'nose wrinkler',
    10: 'upper lip raiser',
    12: 'lip corner puller',
    15: 'lip corner depressor',
    16: 'lower lip depressor',
    17: 'chin raiser',
    20: 'lip stretcher',
    23: 'lip tightener',
    24: 'lip pressor',
    25: 'lips part',
    26: 'jaw drop',
}
ROWS = max(ACTION_UNITS) + 1
WEAKEST = 0.5


class Prototype(NamedTuple):
    """Units that make an expression, and units that come with it with some probability."""

    core: tuple[int, ...]
    optional: dict[int, float]


PROTOTYPES = {
    'surprise': Prototype((1, 2, 5, 26), {25: 0.6}),
    'fear': Prototype((1, 2, 4, 5, 20), {25: 0.7, 26: 0.4, 7: 0.3}),
    'disgust': Prototype((9, 15, 16), {10: 0.6, 4: 0.4, 17: 0.3, 6: 0.3, 25: 0.3}),
    'happiness': Prototype((6, 12), {25: 0.6, 26: 0.2}),
    'sadness': Prototype((1, 4, 15), {17: 0.5, 7: 0.2}),
    'anger': Prototype((4, 5, 7, 23), {24: 0.4, 17: 0.3, 10: 0.2}),
    'neutral': Prototype((), {}),
}


def prototype(expression: int) -> Prototype:
    """The units of an expression given by its number.

    Args:
      expression: index into `EXPRESSIONS`.

    Returns:
      Its core and optional units.

    Raises:
      InputError: the number names no expression.
    """
    if not 0 <= expression < len(EXPRESSIONS):
        raise InputError(
            f'expression {expression} does not exist; give 0 to {len(EXPRESSIONS) - 1}, '
            f'in the order {", ".join(EXPRESSIONS)}'
        )
    return PROTOTYPES[EXPRESSIONS[expression]]


def sample_action_units(expression: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Draws the strength of every unit on both sides of the face.

    The whole expression gets one intensity in WEAKEST..1, each of its units varies around it, and
    the two sides differ a little. Units that do not belong to it keep a faint activity.

    Args:
      expression: index into `EXPRESSIONS`.
      rng: generator of this image.

    Returns:
      (units float64 [ROWS, 2], rows by AU number, columns image left and right, 0..about 1.2;
      intensity 0..1, 0 for neutral).

    Raises:
      InputError: the number names no expression.
    """
    core, optional = prototype(expression)
    intensity = WEAKEST + (1.0 - WEAKEST) * rng.random()
    present = rng.random(ROWS)
    vary = 0.75 + 0.4 * rng.random(ROWS)
    faint = 0.08 * rng.random(ROWS) ** 2
    units = np.zeros(ROWS)
    units[list(ACTION_UNITS)] = faint[list(ACTION_UNITS)]
    for unit in core:
        units[unit] = intensity * vary[unit]
    for unit, probability in optional.items():
        if present[unit] < probability:
            units[unit] = intensity * vary[unit] * 0.8
    sides = np.clip(1.0 + 0.08 * rng.standard_normal((ROWS, 2)), 0.7, 1.3)
    return units[:, None] * sides, intensity if core else 0.0

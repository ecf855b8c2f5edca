"""One painted outline, and what it hangs on."""

from typing import NamedTuple

import numpy as np

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

"""From parts in face units to pixels: projection of the turned head, fills and lines."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from data_builders.synthetic_faces.parts import SURFACE, Part
from data_builders.synthetic_faces.scenes import Scene

FACE_SIZE = 0.43  # half a head's width, in image sides, at scale 1
_DEPTH = 0.9  # radius of the head towards the camera
Colour = tuple[int, int, int]


def project(points: np.ndarray, hold: np.ndarray, scene: Scene) -> np.ndarray:
    """Turns points with the head (weak perspective on an ellipsoid).

    Args:
      points: float [N, 2] in face units.
      hold: float [N]; above 0 the point lies on the ellipsoid's front, times this factor; 0 is
        the silhouette, which an ellipsoid keeps; below 0 it lies behind.
      scene: pose, scale and shift.

    Returns:
      float [N, 2] in image sides, origin at the upper left.
    """
    x, y = points[:, 0], points[:, 1]
    rest = np.maximum(1.0 - (x / 1.08) ** 2 - (y / 1.45) ** 2, 0.0)
    z = np.where(hold >= 0.0, hold * _DEPTH * np.sqrt(rest), -0.25)
    sin, cos = np.sin(scene.yaw), np.cos(scene.yaw)
    rim = np.sqrt(cos**2 + (_DEPTH * sin) ** 2)
    chin = 0.3 * sin * np.maximum(y - 0.1, 0.0) * (hold == 0.0)
    turned = x * np.where(hold > 0.0, cos, rim) + z * sin + chin
    nodded = y * np.where(hold > 0.0, np.cos(scene.pitch), 1.0) - z * np.sin(scene.pitch)
    sin, cos = np.sin(scene.roll), np.cos(scene.roll)
    rolled = np.stack([turned * cos - nodded * sin, turned * sin + nodded * cos], axis=1)
    return rolled * (FACE_SIZE * scene.scale) + scene.shift + (0.5, 0.51)


def project_all(parts: Sequence[Part], scene: Scene) -> list[np.ndarray]:
    """Projects every part's points in one go; a list of float [N, 2] in image sides."""
    counts = [len(part.points) for part in parts]
    ends = np.cumsum(counts).tolist()
    uniform = [part.hold if isinstance(part.hold, float) else SURFACE for part in parts]
    hold = np.repeat(uniform, counts)
    for part, end in zip(parts, ends, strict=True):
        if not isinstance(part.hold, float):
            hold[end - len(part.hold) : end] = part.hold
    flat = project(np.concatenate([part.points for part in parts]), hold, scene)
    return [flat[end - n : end] for end, n in zip(ends, counts, strict=True)]


def mix(below: Colour, above: Colour, strength: float) -> Colour:
    """`above` over `below` with an opacity of `strength`."""
    a, b, c = (round(low + strength * (high - low)) for low, high in zip(below, above, strict=True))
    return a, b, c


def paint(
    image: Image.Image,
    parts: Sequence[Part],
    outlines: Sequence[np.ndarray],
    palette: Mapping[str, Colour],
    scale: float,
) -> None:
    """Fills areas and draws lines into `image`, back to front.

    Args:
      image: RGB canvas, changed in place.
      parts: what to paint.
      outlines: projected points of each part, in image sides.
      palette: colour by role; 'head' also stands for the skin that faint strokes fade into.
      scale: the scene's scale, which lines' widths follow.
    """
    pencil = ImageDraw.Draw(image)
    side = image.width
    unit = side * FACE_SIZE * scale
    for part, outline in zip(parts, outlines, strict=True):
        if part.strength < 0.06:
            continue
        colour = palette[part.role]
        if part.strength < 1.0:
            colour = mix(palette['head'], colour, part.strength)
        flat = (outline * side).ravel().tolist()
        if part.width:
            pencil.line(flat, fill=colour, width=max(1, round(part.width * unit)), joint='curve')
        else:
            pencil.polygon(flat, fill=colour)

"""Line drawing: the same outlines, in pencil on paper."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from data_builders.synthetic_faces.draw import FACE_SIZE
from data_builders.synthetic_faces.parts import Part

# Roles that get a contour; their weight in face units. Others are left to the paper.
_CONTOUR = {
    **{'head': 0.045, 'hair': 0.035, 'neck': 0.035, 'cloth': 0.035, 'ear': 0.03},
    **{'eye_white': 0.026, 'iris': 0.03, 'lip': 0.022, 'teeth': 0.012, 'mouth': 0.02},
}
_FILLED = {'brow': 0.75, 'pupil': 1.0, 'nostril': 0.8, 'mouth': 0.75}


def draw_sketch(
    parts: Sequence[Part], outlines: Sequence[np.ndarray], side: int, rng: np.random.Generator
) -> Image.Image:
    """Draws all parts as pencil lines; nearer parts hide what lies behind.

    Args:
      parts: back to front.
      outlines: projected points of each, in image sides.
      side: width and height in pixels.
      rng: generator of this image; sets paper, pencil, the hand's tremor.

    Returns:
      Image of mode L.
    """
    paper, lead = int(rng.integers(225, 250)), float(rng.uniform(20, 80))
    tremor, heavy = rng.uniform(0.0, 0.012), rng.uniform(0.75, 1.3)
    hatched = rng.random() < 0.6
    image = Image.new('L', (side, side), paper)
    pencil = ImageDraw.Draw(image)
    unit = side * FACE_SIZE
    shaken = _shake([outline * side for outline in outlines], tremor * unit, rng)
    for part, outline in zip(parts, shaken, strict=True):
        flat = outline.ravel().tolist()
        _stroke(pencil, part, flat, paper, lead, heavy * unit)
        if hatched and part.role == 'hair' and part.strength > 0.4:
            _hatch(image, flat, round(lead + 40), side)
    return image


def _shake(
    outlines: Sequence[np.ndarray], tremor: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Shifts and bends every outline a little, as a hand does."""
    counts = [len(outline) for outline in outlines]
    ends = np.cumsum(counts).tolist()
    points = np.concatenate(outlines)
    phase = 0.7 * np.arange(len(points))
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    push, bend = np.repeat(rng.normal(0.0, 0.7 * tremor, (2, len(counts), 2)), counts, axis=1)
    points = points + push + bend * waves
    return [points[end - n : end] for end, n in zip(ends, counts, strict=True)]


def _stroke(
    pencil: ImageDraw.ImageDraw, part: Part, flat: list[float], paper: int, lead: float, unit: float
) -> None:
    if part.width:
        if part.strength >= 0.2:
            grey = round(paper + part.strength * (lead - paper))
            pencil.line(
                flat, fill=grey, width=max(1, round(0.8 * part.width * unit)), joint='curve'
            )
        return
    if part.role in _FILLED:
        pencil.polygon(flat, fill=round(paper + _FILLED[part.role] * (lead - paper)))
    elif part.role != 'hair' or part.strength > 0.4:
        pencil.polygon(flat, fill=paper)
    if part.role in _CONTOUR and (part.role != 'hair' or part.strength > 0.4):
        width = max(1, round(_CONTOUR[part.role] * unit))
        grey = round(paper + max(0.4, part.strength) * (lead - paper))
        pencil.line(flat + flat[:2], fill=grey, width=width, joint='curve')


def _hatch(image: Image.Image, flat: list[float], grey: int, side: int) -> None:
    """Slanted strokes inside an outline."""
    mask = Image.new('L', (side, side), 0)
    ImageDraw.Draw(mask).polygon(flat, fill=160)
    strokes = image.copy()
    pencil = ImageDraw.Draw(strokes)
    step = max(3, side // 28)
    for start in range(-side, side, step):
        pencil.line((start, side, start + side, 0), fill=grey, width=max(1, side // 90))
    image.paste(strokes, (0, 0), mask)

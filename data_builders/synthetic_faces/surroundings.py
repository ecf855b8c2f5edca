"""What lies behind and before the head."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_builders.synthetic_faces.curves import ellipse
from data_builders.synthetic_faces.draw import FACE_SIZE, Colour
from data_builders.synthetic_faces.scenes import Scene


def random_colour(rng: np.random.Generator) -> Colour:
    """Any colour, neither black nor white."""
    red, green, blue = rng.integers(25, 230, 3).tolist()
    return red, green, blue


def backdrop(side: int, scene: Scene, rng: np.random.Generator, colour: Colour) -> Image.Image:
    """A plain wall, with `scene.clutter` out-of-focus shapes on it.

    Args:
      side: width and height in pixels.
      scene: how many things.
      rng: generator of this image.
      colour: of the wall.

    Returns:
      RGB image.
    """
    if not scene.clutter:
        return Image.new('RGB', (side, side), colour)
    small = Image.new('RGB', (32, 32), random_colour(rng))
    pencil = ImageDraw.Draw(small)
    for _ in range(scene.clutter):
        kind, fill = int(rng.integers(3)), random_colour(rng)
        x, y, wide, high = (rng.random(4) * (36, 36, 20, 26) + (-4, -4, 2, 2)).tolist()
        box = (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
        if kind == 0:
            pencil.rectangle(box, fill=fill)
        elif kind == 1:
            pencil.ellipse(box, fill=fill)
        else:
            pencil.line((x, y, x + 2 * wide - 16, y + high), fill=fill, width=2)
    if rng.random() < 0.6:
        small = small.filter(ImageFilter.BoxBlur(float(rng.uniform(0.3, 2.0))))
    return small.resize((side, side), Image.Resampling.BILINEAR)


def _hand(rng: np.random.Generator) -> list[np.ndarray]:
    x, y = rng.choice((-0.75, 0.75)), rng.uniform(0.45, 0.95)
    fingers = [ellipse(x * 0.55, y + step, 0.42, 0.115) for step in (-0.3, -0.1, 0.1, 0.3)]
    return [ellipse(x * 1.25, y + 0.1, 0.42, 0.48), *fingers]


def _shapes(kind: str, rng: np.random.Generator) -> list[np.ndarray]:
    if kind == 'hand':
        return _hand(rng)
    if kind == 'strand':
        x = rng.choice((-0.6, 0.6)) + rng.uniform(-0.15, 0.15)
        bend = rng.uniform(-0.2, 0.2)
        return [np.array([(x, -1.4), (x + 0.28, -1.4), (x + bend + 0.2, 0.4), (x + bend, 0.9)])]
    if kind == 'scarf':
        top = rng.uniform(0.78, 1.0)
        return [
            np.array(
                [(-1.4, top - 0.3), (0.0, top + 0.1), (1.4, top - 0.3), (1.6, 2.5), (-1.6, 2.5)]
            )
        ]
    if kind == 'cup':
        x, y = rng.uniform(-0.6, 0.6), rng.uniform(0.75, 1.05)
        return [np.array([(x - 0.3, y), (x + 0.3, y), (x + 0.25, y + 0.8), (x - 0.25, y + 0.8)])]
    x, slope, wide = rng.uniform(-0.9, 0.9), rng.uniform(-0.5, 0.5), rng.uniform(0.08, 0.2)
    return [
        np.array(
            [(x - slope, -2.0), (x - slope + wide, -2.0), (x + slope + wide, 2.0), (x + slope, 2.0)]
        )
    ]


def occlude(
    image: Image.Image, scene: Scene, rng: np.random.Generator, skin: Colour, hair: Colour
) -> None:
    """Puts the scene's occluder before the face.

    Args:
      image: canvas, changed in place.
      scene: names the occluder and places the face.
      rng: generator of this image.
      skin: colour of a hand.
      hair: colour of a strand of hair.
    """
    fixed = {'hand': tuple(round(0.9 * c) for c in skin), 'strand': hair}
    colour = fixed.get(scene.occluder, random_colour(rng))
    pencil = ImageDraw.Draw(image)
    for points in _shapes(scene.occluder, rng):
        place = points * (FACE_SIZE * scene.scale) + scene.shift + 0.5
        edge = tuple(round(0.7 * c) for c in colour)
        pencil.polygon((place * image.width).ravel().tolist(), fill=colour, outline=edge)

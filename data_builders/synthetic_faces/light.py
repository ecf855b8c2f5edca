"""Light and camera: shading of the head's ellipsoid, soft shadows, colour, noise, blur."""

import functools

import numpy as np
from PIL import Image, ImageFilter

from data_builders.synthetic_faces.draw import FACE_SIZE
from data_builders.synthetic_faces.scenes import Scene

# Soft shade on a face: (x, y, radius x, radius y, change) in face units.
_RELIEF = (
    (-0.4, -0.22, 0.3, 0.16, -0.16),  # eye sockets
    (0.4, -0.22, 0.3, 0.16, -0.16),
    (0.0, 0.12, 0.09, 0.26, 0.12),  # ridge of the nose
    (0.0, 0.4, 0.18, 0.06, -0.16),  # below the nose
    (-0.5, 0.2, 0.22, 0.18, 0.09),  # cheeks
    (0.5, 0.2, 0.22, 0.18, 0.09),
    (0.0, 0.9, 0.24, 0.07, -0.12),  # below the lip
    (0.0, 1.05, 0.2, 0.1, 0.07),  # chin
    (0.0, -0.72, 0.5, 0.2, 0.06),  # forehead
)
_X, _Y, _RX, _RY, _CHANGE = (np.array(column, np.float32) for column in zip(*_RELIEF, strict=True))


@functools.lru_cache(maxsize=8)
def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in image sides, relative to the face's resting place."""
    axis = ((np.arange(side) + 0.5) / side).astype(np.float32)
    across, down = np.meshgrid(axis - 0.5, axis - 0.51)
    return across, down


def shading(side: int, scene: Scene) -> np.ndarray:
    """Brightness of a lit, slightly modelled head; smooth beyond its edge.

    Args:
      side: image width and height in pixels.
      scene: light and pose.

    Returns:
      float32 [side, side], about 0.3..1.3.
    """
    across, down = _grid((side + 1) // 2)  # light is smooth: half the resolution will do
    unit = FACE_SIZE * scene.scale
    x = (across - scene.shift[0]) / unit
    y = (down - scene.shift[1]) / unit
    u, v = x / 1.05, y / 1.45
    z = np.sqrt(np.maximum(1.0 - u * u - v * v, 0.06))
    lit = np.maximum((u * scene.light[0] + v * scene.light[1] + z * scene.light[2]), 0.0)
    sin, cos = np.sin(scene.roll), np.cos(scene.roll)
    x, y = x * cos + y * sin, y * cos - x * sin
    x, y = x - 0.85 * np.sin(scene.yaw), y + 0.85 * np.sin(scene.pitch)
    relief = np.zeros_like(lit)
    for left, top, wide, high, change in zip(_X, _Y, _RX, _RY, _CHANGE, strict=True):
        relief += change * np.exp(-(((x - left) / wide) ** 2) - ((y - top) / high) ** 2)
    shade = (scene.ambient + (1.0 - scene.ambient) * 1.25 * lit) * (1.0 + relief)
    smooth = Image.fromarray(shade.astype(np.float32))
    return np.asarray(smooth.resize((side, side), Image.Resampling.BILINEAR))


def expose(
    image: Image.Image, scene: Scene, shade: np.ndarray | None, rng: np.random.Generator
) -> Image.Image:
    """Applies light, colour cast, contrast, blur and noise.

    Args:
      image: RGB or grey, what reflects.
      scene: gains, gamma, blur, noise.
      shade: float32 [side, side], or None for even light without colour cast.
      rng: generator of this image.

    Returns:
      RGB image of the same size.
    """
    pixels: np.ndarray = np.asarray(image, np.float32)
    if shade is not None:
        pixels = pixels * (shade[..., None] * scene.gains.astype(np.float32))
    if scene.gamma != 1.0:
        pixels = 255.0 * (np.minimum(pixels, 255.0) / 255.0) ** np.float32(scene.gamma)
    if scene.blur > 0.15:
        blurred = Image.fromarray(np.clip(pixels, 0.0, 255.0).astype(np.uint8))
        radius = scene.blur * image.width / 64.0
        pixels = np.asarray(blurred.filter(ImageFilter.BoxBlur(radius)), np.float32)
    grain = rng.standard_normal(pixels.shape[:2], dtype=np.float32)
    grain *= np.float32(scene.noise)
    pixels = pixels + (grain if pixels.ndim == 2 else grain[..., None])
    return Image.fromarray(np.clip(pixels, 0.0, 255.0).astype(np.uint8)).convert('RGB')

"""One image from an expression, a domain and two seeds; a pure function of them."""

import io

import numpy as np
from PIL import Image

from data_builders.synthetic_faces import palettes
from data_builders.synthetic_faces.action_units import sample_action_units
from data_builders.synthetic_faces.draw import paint, project_all
from data_builders.synthetic_faces.face import build
from data_builders.synthetic_faces.identity import sample_identity
from data_builders.synthetic_faces.landmarks import place
from data_builders.synthetic_faces.light import expose, shading
from data_builders.synthetic_faces.scenes import check, sample_scene
from data_builders.synthetic_faces.sketch import draw_sketch
from data_builders.synthetic_faces.surroundings import backdrop, occlude
from dmsrl_jax.errors import InputError

SMALLEST = 16
_OVERSAMPLING = 2


def sample_entropy(subject_seed: int, sample_seed: int) -> tuple[int, int, int]:
    """Entropy of the generator that draws all that is not the subject's own."""
    return 2, subject_seed, sample_seed


def _draw(
    expression: int, domain: str, size: int, subject_seed: int, sample_seed: int
) -> tuple[Image.Image, float, int]:
    """The camera's image before compression, the intensity, the JPEG quality (0: lossless)."""
    check(domain)
    if size < SMALLEST:
        raise InputError(f'size {size} is too small to draw a face; give at least {SMALLEST}')
    identity = sample_identity(np.random.default_rng((1, subject_seed)))
    rng = np.random.default_rng(sample_entropy(subject_seed, sample_seed))
    units, intensity = sample_action_units(expression, rng)
    scene = sample_scene(domain, rng)
    parts = build(identity, place(identity, units), units, scene.gaze)
    outlines = project_all(parts, scene)
    side = size * _OVERSAMPLING
    if domain == 'sketch':
        image = draw_sketch(parts, outlines, side, rng)
        shade = None
    else:
        cloth = rng.integers(30, 220, 3).astype(float)
        mixed = palettes.infrared if domain == 'infrared' else palettes.natural
        palette = mixed(identity, cloth)
        wall = {'studio': (150, 150, 152), 'infrared': (58, 58, 58)}
        image = backdrop(side, scene, rng, wall.get(domain, (128, 128, 128)))
        paint(image, parts, outlines, palette, scene.scale)
        if scene.occluder:
            occlude(image, scene, rng, palette['head'], palette['hair'])
        shade = shading(size, scene)
    image = image.reduce(_OVERSAMPLING)
    return expose(image, scene, shade, rng), intensity, scene.quality


def render_encoded(
    expression: int, domain: str, *, size: int, subject_seed: int, sample_seed: int
) -> tuple[bytes, float]:
    """Draws one face and compresses it as its domain does.

    Args:
      expression: index into EXPRESSIONS.
      domain: one of DOMAINS.
      size: width and height in pixels, 16 or more.
      subject_seed: who, 0 or more.
      sample_seed: which image of this subject, 0 or more.

    Returns:
      (PNG bytes, or JPEG bytes of varying quality in `wild`; intensity 0..1, 0 for neutral).

    Raises:
      InputError: unknown expression or domain, or a size that is too small.
    """
    image, intensity, quality = _draw(expression, domain, size, subject_seed, sample_seed)
    file = io.BytesIO()
    if quality:
        image.save(file, 'JPEG', quality=quality)
    else:
        image.save(file, 'PNG', compress_level=0)  # quick to decode
    return file.getvalue(), intensity


def render(
    expression: int, domain: str, *, size: int, subject_seed: int, sample_seed: int
) -> np.ndarray:
    """Draws one face; the pixels of what `render_encoded` encodes.

    Args:
      expression: index into EXPRESSIONS.
      domain: one of DOMAINS.
      size: width and height in pixels, 16 or more.
      subject_seed: who, 0 or more.
      sample_seed: which image of this subject, 0 or more.

    Returns:
      uint8 [size, size, 3], RGB.

    Raises:
      InputError: unknown expression or domain, or a size that is too small.
    """
    encoded, _ = render_encoded(
        expression, domain, size=size, subject_seed=subject_seed, sample_seed=sample_seed
    )
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert('RGB'))

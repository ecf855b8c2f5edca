"""Who is drawn: the parameters that stay the same over all images of one subject."""

import dataclasses

import numpy as np

# Skin and hair colours (RGB, 0..255) between which subjects are interpolated, light to dark.
_SKIN = np.array(
    [
        (246, 214, 192),
        (234, 192, 162),
        (214, 164, 128),
        (182, 128, 92),
        (138, 92, 64),
        (92, 62, 46),
    ],
    dtype=np.float32,
)
_HAIR = np.array(
    [(24, 20, 20), (52, 36, 28), (92, 62, 40), (142, 100, 58), (198, 160, 96), (132, 60, 32)],
    dtype=np.float32,
)
_GREY_HAIR = np.array((188, 186, 184), dtype=np.float32)
_IRIS = np.array(
    [(48, 30, 20), (74, 50, 30), (92, 82, 50), (82, 112, 132), (80, 110, 80)], dtype=np.float32
)

# Ranges of the scalar shape parameters, in face units (half a head width is about 1).
RANGES = {
    'width': (0.86, 1.02),  # head, x factor
    'height': (0.92, 1.08),  # head, y factor
    'jaw': (0.60, 0.82),  # x of the jaw corner
    'chin': (0.24, 0.42),  # x of the chin's side
    'eye_x': (0.36, 0.43),
    'eye_y': (-0.20, -0.12),
    'eye_size': (0.88, 1.15),
    'eye_tilt': (-0.03, 0.03),  # outer corner up if negative
    'brow_gap': (0.22, 0.29),  # eye to brow
    'brow_arch': (0.02, 0.09),
    'brow_slope': (-0.03, 0.03),  # resting slope, outer end down if positive
    'brow_thickness': (0.05, 0.10),
    'nose_length': (0.36, 0.46),
    'nose_width': (0.14, 0.21),
    'mouth_y': (0.60, 0.68),
    'mouth_width': (0.29, 0.38),
    'mouth_curve': (-0.025, 0.03),  # resting corners, down if positive
    'lip': (0.7, 1.3),
    'hairline': (-1.02, -0.80),
    'asymmetry': (-0.015, 0.015),
}
HAIR_STYLES = ('shaved', 'short', 'parted', 'long', 'round', 'bun')
BEARDS = ('none', 'stubble', 'moustache', 'full')


@dataclasses.dataclass(frozen=True)
class Identity:
    """One subject.

    Attributes:
      shape: values of RANGES by name, in face units.
      skin: RGB float32 [3], 0..255; so are hair and iris.
      hair: colour of the hair, greyer with age.
      iris: colour of the iris.
      hair_style: one of HAIR_STYLES.
      beard: one of BEARDS.
      age: 0 (young) to 1 (old); deepens wrinkles and bags.
      glasses: whether the subject wears spectacles.
    """

    shape: dict[str, float]
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    hair_style: str
    beard: str
    age: float
    glasses: bool


def _between(colours: np.ndarray, position: float) -> np.ndarray:
    """The colour at `position` (0..1) along a row of colours."""
    place = position * (len(colours) - 1)
    low = min(int(place), len(colours) - 2)
    return colours[low] + (place - low) * (colours[low + 1] - colours[low])


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draws one subject from independent, mostly uniform parameters.

    Args:
      rng: the subject's own generator; the same state gives the same subject.

    Returns:
      The subject.
    """
    draws = rng.random(len(RANGES)).tolist()
    shape = {
        name: low + (high - low) * draw
        for draw, (name, (low, high)) in zip(draws, RANGES.items(), strict=True)
    }
    skin_place, hair_place, iris_place, age, grey, beard, glasses = rng.random(7).tolist()
    dark = 1.0 - 0.75 * max(0.0, skin_place - 0.5)  # dark skin goes with dark hair more often
    hair = _between(_HAIR, hair_place * (1.0 if skin_place < 0.5 else 0.35)) * dark
    greyness = max(0.0, age - 0.55) * 2.0 * grey
    beards = (0.62, 0.75, 0.85, 1.0)
    return Identity(
        shape=shape,
        skin=_between(_SKIN, skin_place) + rng.normal(0.0, 4.0, 3).astype(np.float32),
        hair=hair + greyness * (_GREY_HAIR - hair),
        iris=_between(_IRIS, iris_place * (1.0 if skin_place < 0.5 else 0.3)),
        hair_style=HAIR_STYLES[int(rng.integers(len(HAIR_STYLES)))],
        beard=BEARDS[next(i for i, edge in enumerate(beards) if beard <= edge)],
        age=age,
        glasses=glasses < 0.12,
    )

"""The four domains: how a head is turned, lit, covered and recorded in each."""

import dataclasses

import numpy as np

from dmsrl_jax.errors import InputError

DOMAINS = ('studio', 'wild', 'sketch', 'infrared')
OCCLUDERS = ('hand', 'strand', 'scarf', 'cup', 'bar')


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Half ranges (symmetric quantities) or (low, high) of one domain's nuisances."""

    yaw: float = 0.0  # degrees
    pitch: float = 0.0
    roll: float = 0.0
    scale: tuple[float, float] = (0.97, 1.03)
    shift: float = 0.02  # of the image side
    ambient: tuple[float, float] = (0.8, 0.9)  # share of light without direction
    side_light: float = 0.3  # how far light may come from the side, -1..1
    cast: float = 0.0  # relative change of a colour channel
    exposure: float = 0.0  # relative change of all channels
    gamma: float = 0.0  # exponent 1 +- gamma
    blur: tuple[float, float] = (0.0, 0.0)  # radius in 1/64 of the side
    noise: tuple[float, float] = (0.0, 1.0)  # standard deviation, grey levels
    clutter: tuple[int, int] = (0, 0)  # number of things behind the head
    occluded: float = 0.0  # probability of something before the face
    quality: tuple[int, int] = (0, 0)  # JPEG quality, 0 for lossless


RANGES = {
    'studio': Ranges(yaw=4, pitch=3, roll=2, exposure=0.04, noise=(0.5, 2.0)),
    'wild': Ranges(
        yaw=20,
        pitch=9,
        roll=8,
        scale=(0.92, 1.08),
        shift=0.035,
        ambient=(0.55, 0.85),
        side_light=1.0,
        cast=0.14,
        exposure=0.14,
        gamma=0.2,
        blur=(0.0, 0.6),
        noise=(0.0, 5.0),
        clutter=(3, 9),
        occluded=0.12,
        quality=(40, 92),
    ),
    'sketch': Ranges(yaw=10, pitch=5, roll=5, scale=(0.92, 1.06), shift=0.03, noise=(1.0, 4.0)),
    'infrared': Ranges(
        yaw=10,
        pitch=6,
        roll=5,
        scale=(0.93, 1.07),
        shift=0.03,
        ambient=(0.3, 0.5),
        side_light=0.25,
        exposure=0.12,
        blur=(0.1, 0.5),
        noise=(3.0, 8.0),
    ),
}


@dataclasses.dataclass(frozen=True)
class Scene:
    """One draw of a domain's nuisances; angles in radians, lengths in image sides."""

    yaw: float
    pitch: float
    roll: float
    scale: float
    shift: np.ndarray  # [2]
    ambient: float
    light: np.ndarray  # [3] unit vector to the light: x right, y down, z to the camera
    gains: np.ndarray  # [3] colour cast and exposure
    gamma: float
    blur: float  # in 1/64 of the side
    noise: float
    clutter: int
    occluder: str  # one of OCCLUDERS or ''
    quality: int
    gaze: np.ndarray  # [2]


def check(domain: str) -> None:
    """Raises InputError if there is no such domain."""
    if domain not in RANGES:
        raise InputError(f'domain {domain!r} does not exist; choose one of {", ".join(DOMAINS)}')


def _light(rng: np.random.Generator, side: float) -> np.ndarray:
    direction = np.array([side * rng.uniform(-1, 1), rng.uniform(-0.8, -0.1 + 0.4 * side), 0.75])
    return direction / np.linalg.norm(direction)


def sample_scene(domain: str, rng: np.random.Generator) -> Scene:
    """Draws one scene.

    Args:
      domain: one of DOMAINS.
      rng: generator of this image.

    Returns:
      The scene.

    Raises:
      InputError: unknown domain.
    """
    check(domain)
    limits = RANGES[domain]
    yaw, pitch, roll, *shift = (2.0 * rng.random(5) - 1.0).tolist()
    covered = rng.random() < limits.occluded
    occluder = OCCLUDERS[int(rng.integers(len(OCCLUDERS)))]
    cast = limits.cast * (2.0 * rng.random(3) - 1.0)
    return Scene(
        yaw=np.deg2rad(limits.yaw) * yaw,
        pitch=np.deg2rad(limits.pitch) * pitch,
        roll=np.deg2rad(limits.roll) * roll,
        scale=rng.uniform(*limits.scale),
        shift=limits.shift * np.array(shift),
        ambient=rng.uniform(*limits.ambient),
        light=_light(rng, limits.side_light),
        gains=(1.0 + cast) * (1.0 + limits.exposure * rng.uniform(-1.0, 1.0)),
        gamma=1.0 + limits.gamma * rng.uniform(-1.0, 1.0),
        blur=rng.uniform(*limits.blur),
        noise=rng.uniform(*limits.noise),
        clutter=int(rng.integers(limits.clutter[0], limits.clutter[1] + 1)),
        occluder=occluder if covered else '',
        quality=int(rng.integers(limits.quality[0], limits.quality[1] + 1)),
        gaze=rng.uniform(-0.6, 0.6, 2),
    )

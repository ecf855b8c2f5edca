"""What is measured: tasks of one side each, and the refusal to compare unequal ones."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from dmsrl_jax.errors import InputError

NUM_CLASSES = 7
DTYPES = ('float32', 'bfloat16')


@dataclasses.dataclass(frozen=True)
class Problem:
    """What every side gets.

    Attributes:
        model: a name that both registries know.
        image_size: side of the images in pixels.
        batch_size: images per domain and step.
        dtype: of the computation, one of `DTYPES`; parameters are float32.
        seed: of images and weights.
    """

    model: str
    image_size: int
    batch_size: int
    dtype: str = 'float32'
    seed: int = 0

    def batch(self) -> dict[str, np.ndarray]:
        """Random images uint8 [B, S, S, 3] of both domains with source labels int32 [B]."""
        rng = np.random.default_rng(self.seed)
        shape = (self.batch_size, self.image_size, self.image_size, 3)
        return {
            'image_s': rng.integers(0, 256, shape, np.uint8),
            'image_t': rng.integers(0, 256, shape, np.uint8),
            'label_s': rng.integers(0, NUM_CLASSES, self.batch_size, np.int32),
        }


@dataclasses.dataclass
class Task:
    """One thing that one side does, again and again.

    Attributes:
        run: does it n times, and returns when the last is done (synchronised).
        images: images that one time takes, source and target together.
        parameters: number of trained values; 0 where there is no network.
        dtype: of the computation; empty where there is none.
        memory: bytes that it takes at most, called after the runs; None where that is not known.
        reads_ahead: whether it goes on working in the background between two runs.
        close: frees what it holds.
    """

    run: Callable[[int], None]
    images: int
    parameters: int = 0
    dtype: str = ''
    memory: Callable[[], int | None] = lambda: None
    reads_ahead: bool = False
    close: Callable[[], None] = lambda: None


Sides = dict[str, Callable[[], Task]]


def check_equal(tasks: Iterable[tuple[str, Task]]) -> None:
    """Refuses to compare what is not the same.

    Args:
        tasks: names of sides and what they do.

    Raises:
        InputError: two of them differ in batch, parameter count or dtype; the message says where.
    """
    (first, reference), *others = tasks
    for name, task in others:
        for field in ('images', 'parameters', 'dtype'):
            one, other = getattr(reference, field), getattr(task, field)
            if one != other:
                raise InputError(
                    f'not comparable: {field} is {one} for {first} and {other} for {name}; '
                    'measure them apart with --sides'
                )

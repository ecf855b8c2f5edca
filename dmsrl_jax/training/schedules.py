"""Weights and learning rates that change during training."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dmsrl_jax.errors import InputError
from dmsrl_jax.methods.base import ramp as ramp

RATES = ('constant', 'step', 'cosine', 'inverse')


def learning_rate(
    name: str,
    base: float,
    *,
    total_steps: int,
    source_steps: int = 0,
    adaptation: float = 1.0,
    decay_steps: int = 0,
    decay: float = 0.1,
    warmup: int = 0,
) -> Callable[[jax.Array], jax.Array]:
    """Makes a learning-rate schedule, which begins anew when adaptation begins.

    Args:
        name: `constant`; `step` (times `decay` every `decay_steps`, the release); `cosine` (to 0 at
            the end); `inverse` (`base * (1 + 10 p)^-0.75`, the custom of adversarial adaptation).
        base: the rate at the start of the part on the source, > 0.
        total_steps: steps of the run.
        source_steps: those of them before adaptation; each of the two parts has the whole schedule.
        adaptation: factor of `base` in adaptation.
        decay_steps: steps between two decays, for `step`.
        decay: factor of each decay, for `step`.
        warmup: steps over which the rate first rises linearly, from its `warmup`-th part on; 0 for
            none.

    Returns:
        A function from the number of updates done to the rate.

    Raises:
        InputError: unknown name, or `step` without `decay_steps`.
    """
    if name not in RATES:
        raise InputError(f'unknown learning-rate schedule {name!r}; there are: {", ".join(RATES)}')
    if name == 'step' and decay_steps < 1:
        raise InputError("the learning-rate schedule 'step' needs decay_steps >= 1")

    def part(base: float, steps: int) -> Callable[[jax.Array], jax.Array]:
        total = max(steps, 1)
        schedules: dict[str, Callable] = {
            'constant': lambda n: jnp.asarray(base, jnp.float32),
            'step': lambda n: base * decay ** (n // max(decay_steps, 1)),
            'cosine': optax.cosine_decay_schedule(base, total),
            'inverse': lambda n: base * (1.0 + 10.0 * n / total) ** -0.75,
        }
        rate = schedules[name]
        return lambda n: rate(n) * (jnp.minimum(1.0, (n + 1) / warmup) if warmup else 1.0)

    second = part(base * adaptation, total_steps - source_steps)
    if not source_steps:
        return second
    return optax.join_schedules([part(base, source_steps), second], [source_steps])

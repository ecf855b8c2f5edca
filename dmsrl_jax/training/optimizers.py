"""One optimiser per parameter group, with PyTorch's update rules."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dmsrl_jax.errors import InputError
from dmsrl_jax.methods.base import MODEL_GROUPS
from dmsrl_jax.training import schedules

NAMES = ('sgd', 'adamw')
# What each field means stands with `sgd` and `schedules.learning_rate`; `decay_epochs` are passes
# over source, `clip_norm` is the largest norm of the gradient of one group, 0 for any.
DEFAULTS: dict[str, Any] = {
    'name': 'sgd',
    'learning_rate': 0.01,
    'momentum': 0.9,
    'nesterov': True,
    'weight_decay': 5e-4,
    'schedule': 'constant',
    'decay_epochs': 30,
    'decay': 0.1,
    'warmup_steps': 0,
    'adaptation': 1.0,
    'clip_norm': 0.0,
}


_RANGES = {
    'learning_rate': 'at least 0',
    'decay': 'positive',
    'adaptation': 'positive',
    'momentum': 'in [0, 1)',
    'weight_decay': 'at least 0',
    'decay_epochs': 'at least 0',
    'warmup_steps': 'at least 0',
    'clip_norm': 'at least 0',
}


def _check_range(group: str, field: str, value: float) -> None:
    wanted = _RANGES[field]
    allowed = {
        'positive': 0 < value < math.inf,
        'in [0, 1)': 0 <= value < 1,
        'at least 0': 0 <= value < math.inf,
    }
    if not allowed[wanted]:
        raise InputError(f'optimizer.{field} of group {group!r} must be {wanted}, got {value}')


def sgd(
    learning_rate: Callable[[jax.Array], jax.Array] | float,
    *,
    momentum: float = 0.9,
    nesterov: bool = True,
    weight_decay: float = 5e-4,
) -> optax.GradientTransformation:
    """PyTorch's SGD: weight decay joins the gradient before momentum, the rate comes last.

        g = grad + weight_decay * p;  buf = momentum * buf + g;
        p -= learning_rate * (g + momentum * buf)   with Nesterov, else  learning_rate * buf

    Args:
        learning_rate: a number, or a function of the number of updates done.
        momentum: in [0, 1).
        nesterov: as in the formula.
        weight_decay: applied to every parameter, biases and normalisation too.

    Returns:
        An optax transformation. `update` needs the parameters.
    """
    return optax.chain(
        _decayed_momentum(momentum, nesterov, weight_decay),
        optax.scale_by_learning_rate(learning_rate),
    )


def _decayed_momentum(
    momentum: float, nesterov: bool, weight_decay: float
) -> optax.GradientTransformation:
    """`optax.add_decayed_weights` and `optax.trace` in one, which a CPU does in half the time.

    The gradient with its decay enters two sums. Were it written once, XLA would keep it in memory:
    one more pass over everything.
    """

    def update(grads: Any, state: optax.TraceState, params: Any) -> tuple[Any, optax.TraceState]:
        buffers = jax.tree.map(
            lambda g, p, b: momentum * b + (g + weight_decay * p), grads, params, state.trace
        )
        if not nesterov:
            return buffers, optax.TraceState(trace=buffers)
        updates = jax.tree.map(
            lambda g, p, b: (g + momentum * b) + weight_decay * p, grads, params, buffers
        )
        return updates, optax.TraceState(trace=buffers)

    return optax.GradientTransformation(optax.trace(momentum).init, update)


def _one(
    settings: Mapping[str, Any],
    total_steps: int,
    source_steps: int,
    steps_per_epoch: int,
    updates: int,
) -> Any:
    of_step = schedules.learning_rate(
        settings['schedule'],
        settings['learning_rate'],
        total_steps=total_steps,
        source_steps=source_steps,
        adaptation=settings['adaptation'],
        decay_steps=settings['decay_epochs'] * steps_per_epoch,
        decay=settings['decay'],
        warmup=settings['warmup_steps'],
    )
    # optax counts updates: one per step before adaptation, `updates` per step in it.
    rate = lambda n: of_step(jnp.minimum(n, source_steps + (n - source_steps) // updates))
    decay = settings['weight_decay']
    if settings['name'] == 'sgd':
        momentum, nesterov = settings['momentum'], settings['nesterov']
        update = sgd(rate, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    elif settings['name'] == 'adamw':
        update = optax.adamw(rate, weight_decay=decay)
    else:
        raise InputError(f'unknown optimizer {settings["name"]!r}; there are: {", ".join(NAMES)}')
    clip = settings['clip_norm']
    return optax.chain(optax.clip_by_global_norm(clip), update) if clip else update


def create(
    settings: Mapping[str, Any],
    groups: Iterable[str],
    *,
    total_steps: int,
    source_steps: int = 0,
    steps_per_epoch: int,
    updates: Mapping[str, int] | None = None,
) -> dict[str, optax.GradientTransformation]:
    """Makes the optimiser of each parameter group.

    Args:
        settings: the fields of `DEFAULTS`, and `groups`: for each group that differs, a mapping
            with the fields that differ; `multiplier` there scales the learning rate instead of
            setting it.
        groups: names of the parameter groups that exist.
        total_steps: steps of the run.
        source_steps: those of them before adaptation, in which the model alone is trained.
        steps_per_epoch: steps in one pass over source.
        updates: of groups that a step of adaptation updates several times, how often
            (`Method.updates`).

    Returns:
        `{group: optax transformation}`.

    Raises:
        InputError: an unknown field or optimiser, or a number out of range.
    """
    special = settings.get('groups', {})
    result = {}
    for group in groups:
        merged = {**DEFAULTS, **{k: v for k, v in settings.items() if k != 'groups'}}
        changes = dict(special.get(group, {}))
        multiplier = changes.pop('multiplier', 1.0)
        merged.update(changes)
        unknown = sorted(set(merged) - set(DEFAULTS))
        if unknown:
            raise InputError(
                f'optimizer settings of group {group!r} have unknown fields {", ".join(unknown)}; '
                f'known: {", ".join(DEFAULTS)}'
            )
        if not 0 <= multiplier < math.inf:
            raise InputError(
                f'optimizer.groups.{group}.multiplier must be at least 0, got {multiplier}'
            )
        for field in _RANGES:
            _check_range(group, field, merged[field])
        merged['learning_rate'] *= multiplier
        # What a method adds is first updated in adaptation.
        before = source_steps if group in MODEL_GROUPS else 0
        length = total_steps - source_steps + before
        result[group] = _one(merged, length, before, steps_per_epoch, (updates or {}).get(group, 1))
    return result

"""What a method is: extra parameters and an ordered tuple of phases, all pure functions.

The trainer knows nothing of any method. It trains on source alone until adaptation begins. Then it
runs the model on both domains for each phase, hands the outputs to its loss, and updates the
parameter groups that it names.
"""

import collections
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dmsrl_jax.errors import InputError
from dmsrl_jax.losses import cross_entropy as cross_entropy

Params = dict[str, Any]
Outputs = dict[str, dict[str, jax.Array]]

MODEL_GROUPS = ('backbone', 'head')


class Context(NamedTuple):
    """What a loss may use besides parameters and outputs.

    Attributes:
        labels_s: [B] int32 source labels. There are no target labels here, by design.
        progress: scalar in [0, 1], the share of adaptation done before this step.
        step: scalar int32 n >= 1, counts this step of adaptation.
        key: random key of this step and phase, the same on all devices.
        state: what the method carried over from the last step (`Method.init_state`).
    """

    labels_s: jax.Array
    progress: jax.Array
    step: jax.Array
    key: jax.Array
    state: Any


class PseudoLabels(NamedTuple):
    """Labels that the network gives to target samples, and how much each counts.

    Attributes:
        labels: [B] int32.
        weights: [B] float32 in [0, 1]; 0 means left out.
        state: the labeller's state after this batch.
    """

    labels: jax.Array
    weights: jax.Array
    state: Any


LossFunction = Callable[[Params, Outputs, Context], tuple[jax.Array, tuple[dict, Any]]]


class Phase(NamedTuple):
    """One optimiser update.

    Attributes:
        loss: `(params, outputs, context) -> (loss, (metrics, method state))`. `outputs` holds
            `source`, and `target` and `teacher` where the method asks for them; each is a dict with
            `logits` [B, C] and `features` [B, D] of the whole batch, gathered over devices.
        groups: names of the parameter groups that this phase updates.
    """

    loss: LossFunction
    groups: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Method:
    """An adaptation method.

    Attributes:
        init: `(key, feature_dim, num_classes) -> {group: parameters}` besides the model's own.
        phases: run in order, one optimiser update each.
        uses_target: False for methods that train on source alone.
        uses_teacher: True where losses read `outputs['teacher']`: the network with averaged
            parameters on target images without augmentation.
        init_state: `(num_classes) -> state` carried from step to step.
        pseudo_labels: `(params, outputs, state) -> PseudoLabels`, used by the losses, and by the
            evaluation to report coverage and accuracy. None where the method has none.
        shown: names of the metrics that people see while it trains; None for all of them. Files
            get all in any case.
    """

    init: Callable[[jax.Array, int, int], Params]
    phases: tuple[Phase, ...]
    uses_target: bool = True
    uses_teacher: bool = False
    init_state: Callable[[int], Any] = lambda num_classes: ()
    pseudo_labels: Callable[[Params, Outputs, Any], PseudoLabels] | None = None
    shown: tuple[str, ...] | None = None

    def updates(self) -> dict[str, int]:
        """How many phases, each an optimiser update per step, train each parameter group."""
        return dict(collections.Counter(group for phase in self.phases for group in phase.groups))


def check_groups(method: Method, extra: Params) -> None:
    """Refuses a method whose parameters and phases do not fit together.

    Args:
        method: the method.
        extra: what its `init` gives.

    Raises:
        InputError: a phase trains a group that does not exist, or `init` gives one of the model's.
    """
    if taken := sorted(set(extra) & set(MODEL_GROUPS)):
        raise InputError(f'Method.init gives {", ".join(taken)}, which the model has already')
    known = {*MODEL_GROUPS, *extra}
    for phase in method.phases:
        if isinstance(phase.groups, str):
            raise InputError(f'Phase.groups must be a tuple of names, got {phase.groups!r}')
    if unknown := sorted(set(method.updates()) - known):
        raise InputError(
            f'a phase trains {", ".join(unknown)}; there are {", ".join(sorted(known))}'
        )


def _classification(
    params: Params, outputs: Outputs, context: Context
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
    del params
    loss = cross_entropy(outputs['source']['logits'], context.labels_s)
    return loss, ({'classification': loss}, context.state)


# L = CE(source): the whole of `source_only`, and of any method until adaptation begins.
SOURCE_PHASE = Phase(_classification, MODEL_GROUPS)


def on_source_alone(method: Method) -> Method:
    """Returns what stands for a method, with its parameters, until adaptation begins."""
    return dataclasses.replace(
        method, phases=(SOURCE_PHASE,), uses_target=False, uses_teacher=False
    )


def ramp(p: jax.Array | float, gamma: float = 10.0) -> jax.Array:
    """Rises smoothly from 0 to 1: `2 / (1 + exp(-gamma p)) - 1`.

    Args:
        p: share of adaptation done; below 0 the ramp stays 0, above 1 it goes on to rise.
        gamma: steepness; 10 gives 0.46 at p = 0.1 and 0.99 at p = 0.5.

    Returns:
        An array of p's shape, in [0, 1].

    Reference:
        Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.
    """
    # tanh(x/2) = 2/(1+exp(-x)) - 1, exact at 0 and free of overflow.
    return jnp.tanh(0.5 * gamma * jnp.maximum(jnp.asarray(p, jnp.float32), 0.0))

"""The training state: one pytree with everything that a step changes."""

from typing import Any

import flax
import jax
import jax.numpy as jnp
import optax

from dmsrl_jax.methods.base import MODEL_GROUPS, Method, check_groups


class TrainState(flax.struct.PyTreeNode):
    """What a step takes and gives back.

    Attributes:
        step: int32 scalar, updates done so far.
        key: random key of the run; the step's own key is folded in from `step`.
        params: `{group: parameters}`; `backbone` and `head` are the model's, the rest the method's.
        batch_stats: the model's running statistics.
        opt_state: `{group: optimiser state}`.
        method_state: what the method carries over.
        average: exponential moving average of `backbone` and `head`, or None.
    """

    step: jax.Array
    key: jax.Array
    params: dict[str, Any]
    batch_stats: Any
    opt_state: dict[str, Any]
    method_state: Any
    average: dict[str, Any] | None


def model_params(params: dict[str, Any]) -> dict[str, Any]:
    """Returns the part of the parameters that belongs to the model."""
    return {group: params[group] for group in MODEL_GROUPS}


def create(
    key: jax.Array,
    model: Any,
    method: Method,
    *,
    image_size: int,
    num_classes: int,
    averaged: bool,
    variables: dict[str, Any] | None = None,
) -> TrainState:
    """Makes the state before the first step, without optimiser state (see `with_optimizers`).

    Args:
        key: random key.
        model: a Linen module from `models.create`.
        method: a method from `methods.create`.
        image_size: side of the input in pixels.
        num_classes: number of classes C.
        averaged: whether to keep an average of the model's parameters.
        variables: the model's variables where they come from elsewhere (pretrained).

    Returns:
        The state at step 0.

    Raises:
        InputError: the method's parameters and phases do not fit together.
    """
    key_model, key_method, key_run = jax.random.split(key, 3)
    if variables is None:
        images = jnp.zeros((2, image_size, image_size, 3), jnp.float32)
        variables = jax.jit(model.init)(key_model, images)
    # Compiled as a whole: one small program instead of one for each operation.
    extra = jax.jit(method.init, static_argnums=(1, 2))(key_method, model.feature_dim, num_classes)
    check_groups(method, extra)
    params = {**variables['params'], **extra}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        key=key_run,
        params=params,
        batch_stats=variables.get('batch_stats', {}),
        opt_state={},
        method_state=method.init_state(num_classes),
        average=jax.tree.map(jnp.array, model_params(params)) if averaged else None,
    )


def all_finite(tree: Any) -> bool:
    """Whether every number of a pytree of arrays is one: neither NaN nor infinite."""
    return bool(_all_finite(tree))


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]))


def with_optimizers(
    state: TrainState, optimizers: dict[str, optax.GradientTransformation]
) -> TrainState:
    """Returns the state with fresh optimiser states."""
    init = lambda params: {group: tx.init(params[group]) for group, tx in optimizers.items()}
    return state.replace(opt_state=jax.jit(init)(state.params))

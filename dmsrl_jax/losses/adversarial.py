"""Gradient reversal and the loss of a domain critic.

Reference:
    Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 17, 2016.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp


@jax.custom_vjp
def _reverse(x: Any, scale: jax.Array) -> Any:
    return x


def _forward(x: Any, scale: jax.Array) -> tuple[Any, jax.Array]:
    return x, scale


def _backward(scale: jax.Array, gradient: Any) -> tuple[Any, jax.Array]:
    reverse = lambda g: (-scale * g.astype(scale.dtype)).astype(g.dtype)
    return jax.tree.map(reverse, gradient), jnp.zeros_like(scale)


_reverse.defvjp(_forward, _backward)


def gradient_reversal(x: Any, scale: float | jax.Array) -> Any:
    """Passes `x` on unchanged and turns its gradient round.

        forward: x        backward: -scale * g

    One minimisation then trains what lies above (a critic) and pushes what lies below (the
    features) the other way. `scale` gets no gradient. Reverse-mode differentiation only.

    Args:
        x: floating array, or a pytree of them.
        scale: scalar coefficient, a number or a traced array.

    Returns:
        `x`.
    """
    scale = jnp.asarray(scale, jnp.float32)
    chex.assert_rank(scale, 0)
    return _reverse(x, scale)


def domain_adversarial_loss(logits_s: jax.Array, logits_t: jax.Array) -> jax.Array:
    """Binary cross entropy of a domain critic, source 1 and target 0, mean over all samples.

        L = -1/(B_s + B_t) * (sum_i log sigmoid(l_i^s) + sum_i log(1 - sigmoid(l_i^t)))

    With as many source as target samples, ln 2 - L is a lower bound of the mutual information of
    feature and domain (Barber and Agakov's, see `barber_agakov_bound`), in nats.

    Args:
        logits_s: [B_s] or [B_s, 1] critic logits of source samples.
        logits_t: [B_t] or [B_t, 1] critic logits of target samples.

    Returns:
        Scalar loss in nats; ln 2 where the critic knows nothing.
    """
    chex.assert_equal_rank([logits_s, logits_t])
    chex.assert_rank([logits_s, logits_t], {1, 2})
    if logits_s.ndim == 2:
        chex.assert_shape([logits_s, logits_t], (None, 1))
    dtype = jnp.promote_types(logits_s.dtype, jnp.float32)
    # -log sigmoid(l) = softplus(-l): no probability is formed, so nothing saturates.
    losses_s = jax.nn.softplus(-logits_s.astype(dtype))
    losses_t = jax.nn.softplus(logits_t.astype(dtype))
    return jnp.concatenate([losses_s, losses_t]).mean()

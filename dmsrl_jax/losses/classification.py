"""Cross entropy of the labelled domain."""

import chex
import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean softmax cross entropy with integer labels, in nats.

        L = -1/B * sum_i log softmax(logits_i)[y_i]

    Args:
        logits: [B, C]; computed in float32 at least.
        labels: [B] integer classes in 0..C-1.

    Returns:
        Scalar loss.
    """
    chex.assert_rank([logits, labels], [2, 1])
    chex.assert_equal_shape_prefix([logits, labels], 1)
    chex.assert_type(labels, int)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

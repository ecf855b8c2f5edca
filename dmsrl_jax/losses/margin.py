"""Margin metric loss: samples at their class centre, centres apart, domains together.

Reference:
    Li et al., Deep Margin-Sensitive Representation Learning for Cross-Domain Facial Expression
    Recognition, IEEE Trans. Multimedia 25, 2023, doi:10.1109/TMM.2022.3141604.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


class ClassCenters(NamedTuple):
    """One trainable centre per class and domain.

    Attributes:
        source: [C, D].
        target: [C, D].
    """

    source: jax.Array
    target: jax.Array


def init_centers(key: jax.Array, num_classes: int, dim: int, *, scale: float = 1.0) -> ClassCenters:
    """Draws both domains' centres from N(0, scale^2), independently.

    Args:
        key: random key.
        num_classes: C.
        dim: D, the width of the features.
        scale: standard deviation.

    Returns:
        Centres in float32.
    """
    draw = lambda k: scale * jax.random.normal(k, (num_classes, dim), jnp.float32)
    return ClassCenters(*map(draw, jax.random.split(key)))


def margin_metric_loss(
    features_s: jax.Array,
    labels_s: jax.Array,
    features_t: jax.Array,
    labels_t: jax.Array,
    centers: ClassCenters,
    *,
    margin: float = 100.0,
    cross_weight: float = 0.01,
    weights_t: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Margin metric loss with centres of each domain.

        intra(d) = 1/(2B) * sum_i ||f_i^d - c^d[y_i^d]||^2
        inter(d) = 1/(C(C-1)) * sum_{i<j} ||c_i^d - c_j^d||^2
        cross    = 1/C * sum_k ||c_k^s - c_k^t||^2
        L = intra(s) + intra(t) + max(0, M - inter(s)) + max(0, M - inter(t)) + lambda * cross

    The pair sum of inter is divided by C(C-1), not by the number of pairs, as in the authors'
    code; this sets the scale of M. Gradients flow to features and to centres.

    Args:
        features_s: [B_s, D] source features.
        labels_s: [B_s] integer classes.
        features_t: [B_t, D] target features.
        labels_t: [B_t] integer pseudo labels.
        centers: trainable centres, each [C, D], C >= 2.
        margin: M, in squared feature units.
        cross_weight: lambda.
        weights_t: [B_t] non-negative weights of target samples, or None for equal ones. Then
            intra(t) = sum_i w_i ||.||^2 / (2 sum_i w_i), and 0 when all weights are 0.

    Returns:
        Scalar loss and the terms `intra_s`, `intra_t`, `inter_s`, `inter_t`, `cross` before
        weighing and hinge.
    """
    chex.assert_equal_shape(centers)
    chex.assert_axis_dimension_gteq(centers.source, 0, 2)
    center_s, center_t = map(_accumulable, centers)
    terms = {
        'intra_s': _intra(features_s, labels_s, center_s, None),
        'intra_t': _intra(features_t, labels_t, center_t, weights_t),
        'inter_s': _inter(center_s),
        'inter_t': _inter(center_t),
        'cross': jnp.square(center_s - center_t).sum() / center_s.shape[0],
    }
    hinges = jax.nn.relu(margin - terms['inter_s']) + jax.nn.relu(margin - terms['inter_t'])
    loss = terms['intra_s'] + terms['intra_t'] + hinges + cross_weight * terms['cross']
    return loss, terms


def common_margin_metric_loss(
    features_s: jax.Array,
    labels_s: jax.Array,
    features_t: jax.Array,
    labels_t: jax.Array,
    centers: jax.Array,
    *,
    margin: float = 100.0,
    weights_t: jax.Array | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Margin metric loss with one set of centres for both domains.

        L = intra(s) + intra(t) + max(0, M - inter)

    intra and inter as in `margin_metric_loss`; there is nothing left for a cross term.

    Args:
        features_s: [B_s, D] source features.
        labels_s: [B_s] integer classes.
        features_t: [B_t, D] target features.
        labels_t: [B_t] integer pseudo labels.
        centers: [C, D] trainable centres, C >= 2.
        margin: M, in squared feature units.
        weights_t: [B_t] as in `margin_metric_loss`.

    Returns:
        Scalar loss and the terms `intra_s`, `intra_t`, `inter`.
    """
    chex.assert_axis_dimension_gteq(centers, 0, 2)
    centers = _accumulable(centers)
    terms = {
        'intra_s': _intra(features_s, labels_s, centers, None),
        'intra_t': _intra(features_t, labels_t, centers, weights_t),
        'inter': _inter(centers),
    }
    loss = terms['intra_s'] + terms['intra_t'] + jax.nn.relu(margin - terms['inter'])
    return loss, terms


def _accumulable(x: jax.Array) -> jax.Array:
    """Returns x in float32 or wider: sums of squares over D in bfloat16 lose the small terms."""
    return jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))


def _intra(
    features: jax.Array, labels: jax.Array, centers: jax.Array, weights: jax.Array | None
) -> jax.Array:
    chex.assert_rank([features, labels, centers], [2, 1, 2])
    chex.assert_equal_shape_prefix([features, labels], 1)
    chex.assert_equal_shape_suffix([features, centers], 1)
    chex.assert_type(labels, int)
    squares = jnp.square(_accumulable(features) - centers[labels]).sum(axis=1)
    if weights is None:
        return squares.mean() / 2
    chex.assert_equal_shape([weights, labels])
    weights = _accumulable(weights)
    total = weights.sum()
    # The inner `where` keeps 0/0 out of the gradient too.
    return (weights * squares).sum() / (2 * jnp.where(total > 0, total, 1.0))


def _inter(centers: jax.Array) -> jax.Array:
    """Returns sum_{i<j} ||c_i - c_j||^2 / (C(C-1)), which is sum_i ||c_i - mean||^2 / (C-1)."""
    # Through the mean it takes no [C, C, D] array and no difference of large numbers.
    deviations = centers - centers.mean(axis=0, keepdims=True)
    return jnp.square(deviations).sum() / (centers.shape[0] - 1)

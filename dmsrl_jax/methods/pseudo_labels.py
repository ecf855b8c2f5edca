"""Pseudo labels for target samples: which class, and does the sample count.

Each rule is a pure function of predictions; none lets a gradient through. `create` picks one by
name and gives it the common form `(probabilities, features, centers, state) -> PseudoLabels`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dmsrl_jax.errors import InputError
from dmsrl_jax.methods.base import PseudoLabels

RULES = ('argmax', 'threshold', 'nearest_center', 'balanced')

Rule = Callable[[jax.Array, jax.Array, jax.Array | None, Any], PseudoLabels]


def create(name: str, *, threshold: float = 0.9, rate: float = 0.05) -> Rule:
    """Makes a rule.

    Args:
        name: `argmax` (the release: the likeliest class, every sample counts), `threshold` (counts
            where its probability reaches `threshold`), `nearest_center` (the class of the nearest
            target centre, every sample counts), `balanced` (a threshold per class that follows how
            sure the network is of that class, see `balanced`).
        threshold: a probability in [0, 1]; for `threshold` and `balanced`.
        rate: share of each batch in the running confidence of `balanced`, in (0, 1].

    Returns:
        `(probabilities [B, C], features [B, D], centers [C, D] or None, state) -> PseudoLabels`.

    Raises:
        InputError: unknown name, or a value out of range.
    """
    if name not in RULES:
        raise InputError(f'unknown pseudo label rule {name!r}; there are: {", ".join(RULES)}')
    if not 0 <= threshold <= 1 or not 0 < rate <= 1:
        raise InputError(
            f'threshold must be in [0, 1] and rate in (0, 1], got {threshold} and {rate}'
        )
    rules: dict[str, Rule] = {
        'argmax': lambda p, f, c, s: confident(p, threshold=0.0)._replace(state=s),
        'threshold': lambda p, f, c, s: confident(p, threshold=threshold)._replace(state=s),
        'nearest_center': lambda p, f, c, s: nearest_center(f, c)._replace(state=s),
        'balanced': lambda p, f, c, s: balanced(p, s, threshold=threshold, rate=rate),
    }
    return lambda *arguments: jax.lax.stop_gradient(rules[name](*arguments))


def init_state(num_classes: int) -> jax.Array:
    """Returns the state that `balanced` starts from: a running confidence of 1/C for each class."""
    return jnp.full((num_classes,), 1.0 / num_classes, jnp.float32)


def aligned(
    probabilities: jax.Array, predicted: jax.Array, expected: jax.Array, *, strength: float
) -> jax.Array:
    """Predictions corrected for classes that the network sees too often or too seldom.

        p'_k  proportional to  p_k * (expected_k / predicted_k) ^ strength

    A network on a new domain confuses some classes one-sidedly; confident pseudo labels then starve
    them, and learning from those labels makes the fault permanent.

    Args:
        probabilities: [B, C].
        predicted: [C] running mean of the network's predictions on target.
        expected: [C] class shares to expect, here those of the source.
        strength: 0 changes nothing, 1 trusts `expected` fully, between them for domains whose class
            shares may differ.

    Returns:
        [B, C], rows sum to 1.

    Reference:
        Berthelot et al., ReMixMatch: Semi-Supervised Learning with Distribution Matching and
        Augmentation Anchoring, ICLR 2020 (strength 1).
    """
    ratio = (jnp.maximum(expected, 1e-3) / jnp.maximum(predicted, 1e-3)) ** strength
    scaled = probabilities * ratio[None]
    return scaled / jnp.sum(scaled, axis=-1, keepdims=True)


def confident(probabilities: jax.Array, *, threshold: float) -> PseudoLabels:
    """The likeliest class, counted where its probability reaches a threshold.

    Args:
        probabilities: [B, C].
        threshold: in [0, 1]; 0 counts every sample.

    Returns:
        Labels with weights 0 or 1 and an empty state.
    """
    labels = jnp.argmax(probabilities, axis=-1).astype(jnp.int32)
    weights = (jnp.max(probabilities, axis=-1) >= threshold).astype(jnp.float32)
    return PseudoLabels(labels, weights, ())


def nearest_center(features: jax.Array, centers: jax.Array | None) -> PseudoLabels:
    """The class whose centre is nearest: `argmin_k ||f - c_k||^2`; every sample counts.

    Args:
        features: [B, D].
        centers: [C, D].

    Returns:
        Labels with weights 1 and an empty state.

    Raises:
        InputError: the method has no centres.
    """
    if centers is None:
        raise InputError(
            'pseudo labels by nearest centre need the margin module, which has centres'
        )
    distance = jnp.sum(jnp.square(centers), axis=-1)[None] - 2 * features @ centers.T
    labels = jnp.argmin(distance, axis=-1).astype(jnp.int32)
    return PseudoLabels(labels, jnp.ones(labels.shape, jnp.float32), ())


def balanced(
    probabilities: jax.Array, state: jax.Array, *, threshold: float, rate: float
) -> PseudoLabels:
    """A threshold per class that follows the network: `t_k = threshold * q_k`.

    q_k is the running mean of the top probability among samples predicted as k. With threshold 1
    about half of each class counts, the surer half, on easy and on hard domains alike; a fixed
    threshold starves the classes, and the domains, that the network is unsure of.

    Args:
        probabilities: [B, C].
        state: [C] running confidences q.
        threshold: share of q_k that a sample needs, in [0, 1].
        rate: share of this batch in q.

    Returns:
        Labels with weights 0 or 1, and the new q. A class that nobody was predicted as keeps its q.

    Reference:
        Zhang et al., FlexMatch, NeurIPS 2021, and Wang et al., FreeMatch, ICLR 2023 (thresholds
        that follow each class and the training; the statistic is ours).
    """
    labels = jnp.argmax(probabilities, axis=-1).astype(jnp.int32)
    confidence = jnp.max(probabilities, axis=-1)
    member = jax.nn.one_hot(labels, probabilities.shape[-1])
    count = jnp.sum(member, axis=0)
    mean = jnp.sum(member * confidence[:, None], axis=0) / jnp.maximum(count, 1)
    state = jnp.where(count > 0, (1 - rate) * state + rate * mean, state)
    counts = confidence >= threshold * state[labels]
    return PseudoLabels(labels, counts.astype(jnp.float32), state)

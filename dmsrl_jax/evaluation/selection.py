"""Criteria for choosing hyper-parameters on an unlabelled target: no label is read here.

All are functions of predictions on target images. None is a proof: a network that is sure of wrong
answers scores well on each of them, so read them together with the accuracy on source.
"""

import chex
import jax
import jax.numpy as jnp


def mean_entropy(probabilities: chex.Array) -> jax.Array:
    """Mean entropy of the predictions, `mean_i sum_k -p_ik ln p_ik`; low where the network is sure.

    Args:
        probabilities: [N, C], rows sum to 1.

    Returns:
        Scalar in nats, in [0, ln C].
    """
    chex.assert_rank(probabilities, 2)
    return jnp.mean(_entropy(probabilities))


def information(probabilities: chex.Array) -> jax.Array:
    """Information that predictions carry about the images: `H(mean_i p_i) - mean_i H(p_i)`.

    High where the network is sure of single images and uses all classes; a network that calls
    everything `happiness` scores 0 however sure it is.

    Args:
        probabilities: [N, C], rows sum to 1.

    Returns:
        Scalar in nats, in [0, ln C].

    Reference:
        Bridle et al., Unsupervised Classifiers, Mutual Information and Phantom Targets, NIPS 1991;
        as a criterion for adaptation: Musgrave et al., Benchmarking Validation Methods for
        Unsupervised Domain Adaptation, arXiv:2208.07360.
    """
    return _entropy(jnp.mean(probabilities, axis=0)) - mean_entropy(probabilities)


def neighborhood_density(probabilities: chex.Array, *, temperature: float = 0.05) -> jax.Array:
    """Soft neighbourhood density: how many others each prediction is close to.

        S_ij = <p_i, p_j> / (|p_i| |p_j|),  P_i. = softmax_j!=i (S_ij / temperature)
        density = mean_i H(P_i.)

    High where predictions lie in dense clusters.

    Args:
        probabilities: [N, C], rows sum to 1; memory grows with N * N.
        temperature: of the softmax over neighbours.

    Returns:
        Scalar in nats, in [0, ln(N - 1)].

    Reference:
        Saito et al., Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft
        Neighborhood Density, ICCV 2021.
    """
    chex.assert_rank(probabilities, 2)
    unit = probabilities / jnp.linalg.norm(probabilities, axis=-1, keepdims=True)
    count = unit.shape[0]
    similarity = jnp.where(jnp.eye(count, dtype=bool), -jnp.inf, unit @ unit.T / temperature)
    return jnp.mean(_entropy(jax.nn.softmax(similarity, axis=-1)))


def _entropy(probabilities: jax.Array) -> jax.Array:
    """Entropy over the last axis, with 0 ln 0 = 0."""
    return jnp.sum(jax.scipy.special.entr(probabilities), axis=-1)


def criteria(probabilities: chex.Array, *, largest: int = 5000) -> dict[str, float]:
    """All criteria of a run.

    Args:
        probabilities: [N, C] on target images.
        largest: images that the density is computed from at most (evenly spaced ones).

    Returns:
        `entropy`, `information` and `density`, in nats.
    """
    part = probabilities[:: max(1, -(-len(probabilities) // largest))]
    return {
        'entropy': float(mean_entropy(probabilities)),
        'information': float(information(probabilities)),
        'density': float(neighborhood_density(part)),
    }

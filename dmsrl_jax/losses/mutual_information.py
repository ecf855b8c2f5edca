"""Variational bounds of mutual information, all in nats, from the scores of a critic.

`joint` holds the critic's scores of pairs that belong together, `marginal` those of pairs drawn
from the product of the marginals. Lower bounds hold for every critic and are tight for
log p(y|x)/p(y) (plus 1 for NWJ). What can be expected of each: docs/mutual_information.md.

References:
    Barber and Agakov, The IM Algorithm, NeurIPS 2003 (Barber-Agakov).
    Nguyen, Wainwright and Jordan, IEEE Trans. Inf. Theory 56, 2010 (NWJ).
    Belghazi et al., Mutual Information Neural Estimation, ICML 2018 (DV, MINE).
    van den Oord et al., Contrastive Predictive Coding, arXiv:1807.03748 (InfoNCE).
    Hjelm et al., Deep InfoMax, ICLR 2019 (Jensen-Shannon).
    Poole et al., On Variational Bounds of Mutual Information, ICML 2019.
    Song and Ermon, Understanding the Limitations of ..., ICLR 2020 (SMILE).
    Cheng et al., CLUB, ICML 2020.
"""

import math
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from dmsrl_jax.errors import InputError

BOUNDS = ('dv', 'mine', 'nwj', 'js', 'smile', 'infonce', 'club', 'barber_agakov')

# exp of a float32 leaves its range at 88; the moving average of MINE stays within exp(+-80).
_LOG_AVERAGE_LIMIT = 80.0
_STALE = math.exp(5.0)  # times the batch's mean: MINE's average is then one of another critic
_NWJ_LINEAR = 10.0  # where `nwj_loss` goes on as a straight line


def mutual_information_bound(
    joint: jax.Array, marginal: jax.Array, *, bound: str = 'dv', tau: float = 5.0
) -> jax.Array:
    """Evaluates a bound of the mutual information from critic scores.

        dv, mine, js    E_J T - log E_M exp T
        nwj             E_J T - E_M exp(T - 1)
        smile           E_J T - log E_M exp(clip(T, -tau, tau))
        infonce         E_i [T_i - log mean(exp T_i, exp T_i1, ..., exp T_iK)]
        club            E_J T - E_M T                      (upper bound if T = log p(y|x))
        barber_agakov   E_J T - E_M T                      (with T_J = log q(y|x), T_M = log p(y))

    MINE and JS differ from DV in how the critic learns: `mine_loss` corrects the gradient, and
    `jensen_shannon_objective`, which is not in nats, is what the critic of `js` (and of `smile`)
    maximises. Its maximum is at the log ratio, so that DV of that critic is a bound in nats, the
    tightest one that the critic gives. SMILE and CLUB with a learnt T are no strict bounds.

    Args:
        joint: [N] scores T of joint pairs.
        marginal: [M] scores T of pairs from the product of marginals. For `infonce` M = N * K:
            the K negatives of joint pair 0, then those of pair 1, and so on.
        bound: one of `BOUNDS`.
        tau: clipping of SMILE, in nats.

    Returns:
        Scalar, nats.

    Raises:
        InputError: unknown bound (a ValueError).
    """
    check_bound(bound)
    chex.assert_rank([joint, marginal], 1)
    joint, marginal = _accumulable(joint), _accumulable(marginal)
    if bound == 'infonce':
        return _contrast(joint, marginal.reshape(joint.shape[0], -1))
    if bound in ('club', 'barber_agakov'):
        return joint.mean() - marginal.mean()
    if bound == 'nwj':
        return joint.mean() - jnp.exp(_log_mean_exp(marginal) - 1)
    if bound == 'smile':
        marginal = jnp.clip(marginal, -tau, tau)
    return joint.mean() - _log_mean_exp(marginal)


def check_bound(bound: str) -> None:
    """Raises InputError (a ValueError) with all names unless `bound` is one of `BOUNDS`."""
    if bound not in BOUNDS:
        raise InputError(f'unknown bound {bound!r}; choose one of {", ".join(BOUNDS)}')


def mine_loss(
    joint: jax.Array, marginal: jax.Array, average: jax.Array, *, rate: float = 0.01
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Minus the DV bound, with MINE's correction of the gradient's bias.

        value    E_J T - log E_M exp T
        gradient E_J dT - E_M [exp(T) dT] / a,    a <- (1 - rate) a + rate E_M exp T

    The plain gradient divides by the batch's own E_M exp T, which biases it; the moving average
    a takes its place in the gradient only. The bound does not feel a constant added to T, but this
    gradient does while a lags behind, and with many nats T can drift away; a caller may subtract
    `joint.mean()` from both arguments, which stops it and leaves the value as it is.

    Args:
        joint: [N] scores of joint pairs.
        marginal: [M] scores of pairs from the product of marginals.
        average: scalar a of the step before; 0 means there is none yet, and the batch's is used. So
            it is where a is more than e^5 times the batch's: the critic has changed since, and by
            steps of `rate` the average would take thousands of steps to follow, in which nothing
            holds the scores of marginal pairs down.
        rate: share of the batch in the moving average, in (0, 1].

    Returns:
        The loss (its value is minus the plain bound), and a pair: the plain bound in nats without
        gradient, and the new average. The average stays within exp(-80)..exp(80).

    Reference:
        Belghazi et al., ICML 2018, section 3.2.
    """
    chex.assert_rank([joint, marginal, average], [1, 1, 0])
    joint, marginal = _accumulable(joint), _accumulable(marginal)
    log_batch = _log_mean_exp(marginal)
    clipped = jnp.clip(jax.lax.stop_gradient(log_batch), -_LOG_AVERAGE_LIMIT, _LOG_AVERAGE_LIMIT)
    batch = jnp.exp(clipped)
    average = jax.lax.stop_gradient(jnp.asarray(average, batch.dtype))
    usable = (average > 0) & (average < _STALE * batch)
    average = jnp.where(usable, (1 - rate) * average + rate * batch, batch)
    value = jax.lax.stop_gradient(joint.mean() - log_batch)
    # d log_batch = E exp(T) dT / batch, so the factor batch / average swaps the denominator.
    surrogate = joint.mean() - jnp.exp(clipped - jnp.log(average)) * log_batch
    # Brackets: the surrogate may be thousands of times the value, whose digits it would swallow.
    loss = -(value + (surrogate - jax.lax.stop_gradient(surrogate)))
    return loss, (value, average)


def nwj_loss(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """Minus the NWJ bound, whose gradient stays finite however large the scores are.

        -E_J T + f(log E_M exp(T - 1)),   f(z) = exp(z) up to z = 10, its tangent there beyond

    A critic that overshoots in its first steps would end as NaN: exp leaves float32 at 88.

    Args:
        joint: [N] scores of joint pairs.
        marginal: [M] scores of pairs from the product of marginals.

    Returns:
        Scalar, nats; minus `mutual_information_bound(..., bound='nwj')` for z up to 10.
    """
    chex.assert_rank([joint, marginal], 1)
    joint, marginal = _accumulable(joint), _accumulable(marginal)
    log_mean = _log_mean_exp(marginal) - 1
    near = jnp.exp(jnp.minimum(log_mean, _NWJ_LINEAR))
    return near * (1 + jnp.maximum(log_mean - _NWJ_LINEAR, 0)) - joint.mean()


def jensen_shannon_objective(joint: jax.Array, marginal: jax.Array) -> jax.Array:
    """What a critic maximises for `js` and `smile`; Deep InfoMax's form, not in nats of MI.

        J = -E_J softplus(-T) - E_M softplus(T)      in (-2 ln 2, 0) at its maximum over T

    Args:
        joint: [N] scores of joint pairs.
        marginal: [M] scores of pairs from the product of marginals.

    Returns:
        Scalar; -2 ln 2 for T = 0. Its maximum is at T = log p(y|x)/p(y).
    """
    chex.assert_rank([joint, marginal], 1)
    joint, marginal = _accumulable(joint), _accumulable(marginal)
    return -jax.nn.softplus(-joint).mean() - jax.nn.softplus(marginal).mean()


def infonce_bound(scores: jax.Array) -> jax.Array:
    """InfoNCE lower bound from all pairs of a batch.

        I >= 1/N * sum_i [T_ii - log 1/N sum_j exp T_ij] ,   at most log N

    Args:
        scores: [N, N], T_ij scores (x_i, y_j); the diagonal holds the joint pairs.

    Returns:
        Scalar, nats.
    """
    _assert_square(scores)
    log_shares = jax.nn.log_softmax(_accumulable(scores), axis=1)
    return math.log(scores.shape[0]) + jnp.diagonal(log_shares).mean()


def club_bound(log_q: jax.Array, marginal: jax.Array | None = None) -> jax.Array:
    """CLUB, the contrastive log-ratio upper bound.

        I <= E_{p(x,y)} log q(y|x) - E_{p(x)p(y)} log q(y|x)      exact bound for q = p

    The [N, N] form averages over all pairs, diagonal included, as published: its expectation is
    (1 - 1/N) of the bound. The [N], [M] form has no such factor if its pairs are independent.

    Args:
        log_q: [N, N] with log q(y_j|x_i) at i, j; or, with `marginal`, [N] of joint pairs.
        marginal: [M] log q of pairs from the product of marginals, or None.

    Returns:
        Scalar, nats.
    """
    if marginal is not None:
        return mutual_information_bound(log_q, marginal, bound='club')
    _assert_square(log_q)
    log_q = _accumulable(log_q)
    return jnp.diagonal(log_q).mean() - log_q.mean()


def barber_agakov_bound(log_q: jax.Array, entropy: float | jax.Array) -> jax.Array:
    """Barber and Agakov's lower bound.

        I = H(y) - H(y|x) >= H(y) + E log q(y|x)

    With two equally likely domains as y, this is ln 2 - BCE of a domain critic.

    Args:
        log_q: [N] log q(y_i|x_i) of joint pairs.
        entropy: H(y) in nats; differential entropy for continuous y.

    Returns:
        Scalar, nats.
    """
    chex.assert_rank(log_q, 1)
    return jnp.asarray(entropy) + _accumulable(log_q).mean()


def domain_pairs(
    features_s: jax.Array, features_t: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Pairs of feature and domain: joint, and exactly the product of the marginals.

    With two equally likely domains, every feature with both domains is the product of marginals
    itself, without the noise of shuffling. The first 2B marginal pairs are the joint pairs.

    Args:
        features_s: [B, D] source features.
        features_t: [B, D] target features; as many, or the domains would not be equally likely.

    Returns:
        joint_f [2B, D], joint_d [2B, 2], marginal_f [4B, D], marginal_d [4B, 2]; domains are
        one-hot, source (1, 0), target (0, 1).
    """
    chex.assert_rank([features_s, features_t], 2)
    chex.assert_equal_shape([features_s, features_t])
    features = jnp.concatenate([features_s, features_t])
    domain = jnp.repeat(jnp.eye(2, dtype=features.dtype), features_s.shape[0], axis=0)
    both = lambda a, b: jnp.concatenate([a, b])
    return features, domain, both(features, features), both(domain, 1 - domain)


def domain_scores(
    statistics: Callable[[jax.Array, jax.Array], jax.Array],
    features_s: jax.Array,
    features_t: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Scores of a statistics network on `domain_pairs`, in one call of the network.

    Args:
        statistics: T(features [n, D], domain one-hot [n, 2]) -> [n].
        features_s: [B, D] source features.
        features_t: [B, D] target features.

    Returns:
        Joint scores [2B] and marginal scores [4B], ready for any bound on scores.
    """
    _, _, features, domain = domain_pairs(features_s, features_t)
    marginal = statistics(features, domain)
    chex.assert_shape(marginal, (features.shape[0],))
    # Joint pairs come first, and there is no need to score them twice.
    return marginal[: features.shape[0] // 2], marginal


def shuffled_pairs(
    key: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Joint and shuffled pairs of two variables (`marginal='shuffle'`).

    The permutation is a random cycle: no sample meets its own partner, which would mix joint pairs
    into the marginal.

    Args:
        key: random key.
        x: [N, ...].
        y: [N, ...], y_i belongs to x_i; N >= 2.

    Returns:
        x, y, x, permuted y.
    """
    chex.assert_equal_shape_prefix([x, y], 1)
    chex.assert_axis_dimension_gteq(x, 0, 2)
    order = jax.random.permutation(key, x.shape[0])
    return x, y, x, y[jnp.zeros_like(order).at[order].set(jnp.roll(order, -1))]


def _contrast(positive: jax.Array, negatives: jax.Array) -> jax.Array:
    scores = jnp.concatenate([positive[:, None], negatives], axis=1)
    return math.log(scores.shape[1]) + jax.nn.log_softmax(scores, axis=1)[:, 0].mean()


def _log_mean_exp(scores: jax.Array) -> jax.Array:
    return jax.scipy.special.logsumexp(scores) - math.log(scores.size)


def _accumulable(scores: jax.Array) -> jax.Array:
    """Returns scores in float32 or wider: means of exponentials need more than bfloat16."""
    return jnp.asarray(scores, jnp.promote_types(scores.dtype, jnp.float32))


def _assert_square(scores: jax.Array) -> None:
    chex.assert_rank(scores, 2)
    chex.assert_shape(scores, (scores.shape[0], scores.shape[0]))

"""Estimates mutual information from samples by training a critic.

Training runs in one compiled loop on part of the samples; the estimate comes from the others, so
that a critic which memorises its samples cannot report what it memorised. Which bound to trust
when: docs/mutual_information.md.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dmsrl_jax.errors import InputError
from dmsrl_jax.losses import mutual_information as bounds
from dmsrl_jax.losses import score_networks

CRITICS = ('separable', 'joint')
MARGINALS = ('all', 'shuffle')


class MIEstimate(NamedTuple):
    """What `estimate_mutual_information` found; all values in nats.

    Attributes:
        estimate: scalar, the bound over all held-out pairs.
        history: [steps] the bound on each training batch, before its update (see `nwj_loss`).
        batches: [K] the bound on each held-out batch alone; its spread is what one batch can tell.
    """

    estimate: jax.Array
    history: jax.Array
    batches: jax.Array


@dataclasses.dataclass(frozen=True)
class _Options:
    bound: str
    kind: str
    marginal: str
    learning_rate: float
    ema_rate: float
    tau: float
    categorical: bool


def estimate_mutual_information(
    key: jax.Array,
    x: jax.Array,
    y: jax.Array,
    *,
    bound: str = 'dv',
    critic: str = 'separable',
    marginal: str = 'all',
    steps: int = 1000,
    batch_size: int = 256,
    hidden: Sequence[int] = (256,),
    embedding: int = 32,
    learning_rate: float = 3e-3,
    ema_rate: float = 0.01,
    tau: float = 5.0,
    held_out: float = 0.25,
    entropy: float | None = None,
) -> MIEstimate:
    """Trains a critic on samples of two variables and evaluates a bound of I(x; y).

    `dv`, `nwj`, `infonce` maximise themselves; `mine` maximises `dv` with its corrected gradient;
    `js` and `smile` train on the Jensen-Shannon objective. `club` and `barber_agakov` fit a
    conditional density q(y|x) by maximum likelihood: a Gaussian with learnt mean and variances, or
    class probabilities where y is categorical, that is, integers [N], one-hot rows, or a column of
    zeros and ones. Both variables are standardised first, which leaves I(x; y) as it is.

    Args:
        key: random key.
        x: [N, dx] or [N], finite.
        y: [N, dy] or [N], finite; y_i belongs to x_i.
        bound: one of `BOUNDS`.
        critic: `separable`, T = g(x) . h(y), which runs its networks once per sample; or `joint`,
            T = T(x, y), which pays for every pair of a batch.
        marginal: `all` takes every pair i != j of a batch as sample of the product of marginals,
            `shuffle` one random partner for each x_i, as in MINE (for InfoNCE one negative).
        steps: number of updates (Adam, cosine decay to 0).
        batch_size: B; smaller where there are fewer samples.
        hidden: widths of the hidden layers. One layer is the default: with Gaussians in 20
            dimensions it came closer than two (docs/mutual_information.md).
        embedding: width of g and h.
        learning_rate: at the start.
        ema_rate: rate of MINE's moving average.
        tau: clipping of SMILE.
        held_out: share of the samples kept for the estimate, in (0, 1).
        entropy: H(y) in nats for `barber_agakov`. None: from the class shares where y is
            categorical, else of a Gaussian with y's covariance (a bound only if y is Gaussian).

    Returns:
        An `MIEstimate`.

    Raises:
        InputError: unknown name, arrays that do not fit, too few samples, a number out of range.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    kept = _check(x, y, bound, critic, marginal, steps, batch_size, held_out, hidden)
    if not (0 < learning_rate < math.inf and 0 < tau < math.inf and 0 < ema_rate <= 1):
        raise InputError(
            'learning_rate and tau must be positive numbers, and ema_rate in (0, 1]; got '
            f'{learning_rate}, {tau} and {ema_rate}'
        )
    if embedding < 1:
        raise InputError(f'embedding must be at least 1, got {embedding}')
    y, categorical = _columns(y)
    x = x.reshape(x.shape[0], -1).astype(jnp.float32)
    batch_size = min(batch_size, kept, x.shape[0] - kept)
    kind = 'density' if bound in ('club', 'barber_agakov') else critic
    options = _Options(bound, kind, marginal, learning_rate, ema_rate, tau, categorical)
    key_rows, key_params, key_scores = jax.random.split(key, 3)
    # Apart from the rest, so that they are compiled once for all bounds.
    rows = _draw_rows(key_rows, x.shape[0], kept, steps, batch_size)
    params = score_networks.init(
        key_params,
        kind=kind,
        dim_x=x.shape[1],
        dim_y=y.shape[1],
        hidden=tuple(hidden),
        embedding=embedding,
        categorical=categorical,
    )
    entropy = math.nan if entropy is None else entropy
    return _estimate(key_scores, params, x, y, entropy, rows, options)


def _check(
    x: jax.Array,
    y: jax.Array,
    bound: str,
    critic: str,
    marginal: str,
    steps: int,
    batch_size: int,
    held_out: float,
    hidden: Sequence[int],
) -> int:
    """Returns the number of held-out samples; raises InputError for what cannot work."""
    bounds.check_bound(bound)
    if critic not in CRITICS or marginal not in MARGINALS:
        raise InputError(
            f'critic must be one of {", ".join(CRITICS)} and marginal one of '
            f'{", ".join(MARGINALS)}, got {critic!r} and {marginal!r}'
        )
    if {x.ndim, y.ndim} - {1, 2} or x.shape[0] != y.shape[0]:
        raise InputError(
            f'x and y must be [N, dx] and [N, dy] with the same N, got {x.shape} and {y.shape}'
        )
    if steps < 1 or batch_size < 2 or not 0 < held_out < 1 or min(hidden, default=0) < 1:
        raise InputError(
            'steps must be >= 1, batch_size >= 2, held_out in (0, 1), hidden positive widths; got '
            f'{steps}, {batch_size}, {held_out} and {tuple(hidden)}'
        )
    kept = round(held_out * x.shape[0])
    if min(kept, x.shape[0] - kept) < 2:
        raise InputError(
            f'{x.shape[0]} samples with held_out={held_out} leave fewer than 2 to train on or to '
            'evaluate; give more samples'
        )
    if not (jnp.isfinite(x).all() and jnp.isfinite(y).all()):
        raise InputError('x and y must be finite, got NaN or infinity; clean the samples first')
    return kept


def _columns(y: jax.Array) -> tuple[jax.Array, bool]:
    """Returns y as [N, dy] float32, one-hot if it is categorical, and whether it is."""
    single = y.reshape(y.shape[0], -1)
    binary = bool(((single == 0) | (single == 1)).all())
    if single.shape[1] == 1 and (binary or jnp.issubdtype(y.dtype, jnp.integer)):
        _, codes = jnp.unique(single[:, 0], return_inverse=True)
        return jax.nn.one_hot(codes, int(codes.max()) + 1, dtype=jnp.float32), True
    one_hot = binary and bool((single.sum(axis=1) == 1).all())
    return single.astype(jnp.float32), one_hot


class _Rows(NamedTuple):
    """Rows of the samples: [n] to train on, [steps, B] for each step, [K, B] held out."""

    train: jax.Array
    batches: jax.Array
    held_out: jax.Array


@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _draw_rows(key: jax.Array, n: int, kept: int, steps: int, batch_size: int) -> _Rows:
    key_split, key_epochs = jax.random.split(key)
    order = jax.random.permutation(key_split, n)
    test, train = order[: kept // batch_size * batch_size], order[kept:]
    per_epoch = (n - kept) // batch_size
    # Epochs without replacement: a row twice in a batch would be a joint pair off its place.
    epoch = lambda k: jax.random.permutation(k, train)[: per_epoch * batch_size]
    keys = jax.random.split(key_epochs, -(-steps // per_epoch))
    batches = jax.lax.map(epoch, keys).reshape(-1, batch_size)[:steps]
    return _Rows(train, batches, test.reshape(-1, batch_size))


@functools.partial(jax.jit, static_argnames='options')
def _estimate(
    key: jax.Array,
    params: Any,
    x: jax.Array,
    y: jax.Array,
    entropy: jax.Array,
    rows: _Rows,
    options: _Options,
) -> MIEstimate:
    x, _ = _standardise(x, x[rows.train])
    if not options.categorical:
        y, scale = _standardise(y, y[rows.train])
        entropy = entropy - jnp.log(scale).sum()
    if options.bound == 'barber_agakov':
        known = _entropy(y[rows.train], options.categorical)
        entropy = jnp.where(jnp.isnan(entropy), known, entropy)
    scores = lambda p, k, i: _scores(p, k, x[i], y[i], entropy, options)

    key_train, key_test = jax.random.split(key)
    params, history = _train(key_train, params, scores, rows.batches, options)
    keys = jax.random.split(key_test, rows.held_out.shape[0])
    joint, marginal = jax.lax.map(lambda pair: scores(params, *pair), (keys, rows.held_out))
    value = functools.partial(bounds.mutual_information_bound, bound=options.bound, tau=options.tau)
    return MIEstimate(
        value(joint.reshape(-1), marginal.reshape(-1)), history, jax.vmap(value)(joint, marginal)
    )


def _train(
    key: jax.Array, params: Any, scores: Any, batches: jax.Array, options: _Options
) -> tuple[Any, jax.Array]:
    steps = batches.shape[0]
    # One rare pair can own the mean of exp T: without clipping it owns Adam's state too.
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(options.learning_rate, steps)),
    )

    def loss(params: Any, key: jax.Array, rows: jax.Array, average: jax.Array) -> Any:
        joint, marginal = scores(params, key, rows)
        return _objective(joint, marginal, average, options)

    def step(carry: Any, inputs: Any) -> Any:
        params, moments, average = carry
        gradients, (value, average) = jax.grad(loss, has_aux=True)(params, *inputs, average)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(params, updates), moments, average), value

    keys = jax.random.split(key, steps)
    start = (params, optimizer.init(params), jnp.zeros(()))
    (params, _, _), history = jax.lax.scan(step, start, (keys, batches))
    return params, history


def _objective(
    joint: jax.Array, marginal: jax.Array, average: jax.Array, options: _Options
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns what to minimise, and the bound's value and MINE's average."""
    if options.bound == 'mine':
        # Without its level the critic cannot run away from the moving average (see `mine_loss`).
        level = joint.mean()
        joint, marginal = joint - level, marginal - level
        return bounds.mine_loss(joint, marginal, average, rate=options.ema_rate)
    value = bounds.mutual_information_bound(joint, marginal, bound=options.bound, tau=options.tau)
    if options.bound in ('js', 'smile'):
        return -bounds.jensen_shannon_objective(joint, marginal), (value, average)
    if options.bound in ('club', 'barber_agakov'):
        return -joint.mean(), (value, average)
    if options.bound == 'nwj':
        loss = bounds.nwj_loss(joint, marginal)
        return loss, (-loss, average)
    return -value, (value, average)


def _scores(
    params: Any, key: jax.Array, x: jax.Array, y: jax.Array, entropy: jax.Array, options: _Options
) -> tuple[jax.Array, jax.Array]:
    """Returns the scores of joint [B] and marginal [M] pairs of a batch."""
    critic: Any = {
        'separable': score_networks.separable,
        'joint': score_networks.joint,
        'density': functools.partial(score_networks.log_density, categorical=options.categorical),
    }[options.kind]
    if options.bound == 'barber_agakov':
        return critic(params, x, y, pairs=False), -entropy.reshape(1)
    if options.marginal == 'shuffle':
        *_, shuffled = bounds.shuffled_pairs(key, x, y)
        return critic(params, x, y, pairs=False), critic(params, x, shuffled, pairs=False)
    scores = critic(params, x, y, pairs=True)
    return jnp.diagonal(scores), score_networks.off_diagonal(scores)


def _standardise(values: jax.Array, sample: jax.Array) -> tuple[jax.Array, jax.Array]:
    deviation = sample.std(axis=0, keepdims=True)
    scale = jnp.where(deviation > 0, deviation, 1.0)
    return (values - sample.mean(axis=0, keepdims=True)) / scale, scale


def _entropy(y: jax.Array, categorical: bool) -> jax.Array:
    """Entropy of the class shares, or of the Gaussian with y's covariance, in nats."""
    if categorical:
        return jax.scipy.special.entr(y.mean(axis=0)).sum()
    centred = y - y.mean(axis=0, keepdims=True)
    # A little noise's worth on the diagonal keeps dependent columns from minus infinity.
    covariance = centred.T @ centred / y.shape[0] + 1e-6 * jnp.eye(y.shape[1])
    return 0.5 * (jnp.linalg.slogdet(covariance)[1] + y.shape[1] * math.log(2 * math.pi * math.e))

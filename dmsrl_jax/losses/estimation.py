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

CRITICS = ('separable', 'joint')
MARGINALS = ('all', 'shuffle')

Layers = list[tuple[jax.Array, jax.Array]]


class MIEstimate(NamedTuple):
    """What `estimate_mutual_information` found; all values in nats.

    Attributes:
        estimate: scalar, the bound over all held-out pairs.
        history: [steps] the bound on each training batch, before its update.
        batches: [K] the bound on each held-out batch alone; its spread is what one batch can tell.
    """

    estimate: jax.Array
    history: jax.Array
    batches: jax.Array


@dataclasses.dataclass(frozen=True)
class _Options:
    bound: str
    critic: str
    marginal: str
    steps: int
    batch_size: int
    hidden: tuple[int, ...]
    embedding: int
    learning_rate: float
    ema_rate: float
    tau: float
    held_out: int
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
    hidden: Sequence[int] = (256, 256),
    embedding: int = 32,
    learning_rate: float = 1e-3,
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
        critic: `separable`, T = g(x) . h(y), B networks calls for the B^2 pairs of a batch; or
            `joint`, T = T(x, y), which pays for every pair.
        marginal: `all` takes every pair i != j of a batch as sample of the product of marginals,
            `shuffle` one random partner for each x_i, as in MINE (for InfoNCE one negative).
        steps: number of updates (Adam, cosine decay to 0).
        batch_size: B; smaller where there are fewer samples.
        hidden: widths of the hidden layers.
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
    kept = _check(x, y, bound, critic, marginal, steps, batch_size, held_out, len(hidden))
    y, categorical = _columns(y)
    options = _Options(
        bound, critic, marginal, steps, min(batch_size, kept, x.shape[0] - kept), tuple(hidden),
        embedding, learning_rate, ema_rate, tau, kept, categorical,
    )  # fmt: skip
    entropy = math.nan if entropy is None else entropy
    return _estimate(key, x.reshape(x.shape[0], -1).astype(jnp.float32), y, entropy, options)


def _check(
    x: jax.Array,
    y: jax.Array,
    bound: str,
    critic: str,
    marginal: str,
    steps: int,
    batch_size: int,
    held_out: float,
    depth: int,
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
    if steps < 1 or batch_size < 2 or not 0 < held_out < 1 or depth < 1:
        raise InputError(
            'steps must be >= 1, batch_size >= 2, held_out in (0, 1), hidden not empty; got '
            f'{steps}, {batch_size}, {held_out} and {depth} hidden layers'
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


@functools.partial(jax.jit, static_argnames='options')
def _estimate(
    key: jax.Array, x: jax.Array, y: jax.Array, entropy: jax.Array, options: _Options
) -> MIEstimate:
    keys = jax.random.split(key, 5)
    order = jax.random.permutation(keys[0], x.shape[0])
    test, train = order[: options.held_out], order[options.held_out :]
    x, _ = _standardise(x, x[train])
    if not options.categorical:
        y, scale = _standardise(y, y[train])
        entropy = entropy - jnp.log(scale).sum()
    entropy = jnp.where(jnp.isnan(entropy), _entropy(y[train], options.categorical), entropy)
    params = _init(keys[1], x.shape[1], y.shape[1], options)
    scores = lambda p, k, rows: _scores(p, k, x[rows], y[rows], entropy, options)

    params, history = _train(keys[2], params, scores, train, options)
    count = options.held_out // options.batch_size
    rows = test[: count * options.batch_size].reshape(count, options.batch_size)
    joint, marginal = jax.lax.map(
        lambda pair: scores(params, *pair), (jax.random.split(keys[3], count), rows)
    )
    value = functools.partial(bounds.mutual_information_bound, bound=options.bound, tau=options.tau)
    return MIEstimate(
        value(joint.reshape(-1), marginal.reshape(-1)), history, jax.vmap(value)(joint, marginal)
    )


def _train(
    key: jax.Array, params: Any, scores: Any, train: jax.Array, options: _Options
) -> tuple[Any, jax.Array]:
    schedule = optax.cosine_decay_schedule(options.learning_rate, options.steps)
    # One rare pair can own the mean of exp T: without clipping it owns Adam's state too.
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    key_order, key_scores = jax.random.split(key)
    rows = _epochs(key_order, train, options.steps, options.batch_size)

    def loss(params: Any, key: jax.Array, rows: jax.Array, average: jax.Array) -> Any:
        joint, marginal = scores(params, key, rows)
        return _objective(joint, marginal, average, options)

    def step(carry: Any, inputs: Any) -> Any:
        params, moments, average = carry
        gradients, (value, average) = jax.grad(loss, has_aux=True)(params, *inputs, average)
        updates, moments = optimizer.update(gradients, moments)
        return (optax.apply_updates(params, updates), moments, average), value

    keys = jax.random.split(key_scores, options.steps)
    start = (params, optimizer.init(params), jnp.zeros(()))
    (params, _, _), history = jax.lax.scan(step, start, (keys, rows))
    return params, history


def _epochs(key: jax.Array, train: jax.Array, steps: int, batch_size: int) -> jax.Array:
    """Returns [steps, B] rows; a row twice in a batch would be a joint pair off its place."""
    per_epoch = train.shape[0] // batch_size
    keys = jax.random.split(key, -(-steps // per_epoch))
    epoch = lambda k: jax.random.permutation(k, train)[: per_epoch * batch_size]
    return jax.lax.map(epoch, keys).reshape(-1, batch_size)[:steps]


def _objective(
    joint: jax.Array, marginal: jax.Array, average: jax.Array, options: _Options
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Returns what to minimise, and the bound's value and MINE's average."""
    if options.bound == 'mine':
        # Without its level the critic cannot run away from the moving average (see `mine_loss`).
        level = marginal.mean()
        joint, marginal = joint - level, marginal - level
        return bounds.mine_loss(joint, marginal, average, rate=options.ema_rate)
    value = bounds.mutual_information_bound(joint, marginal, bound=options.bound, tau=options.tau)
    if options.bound in ('js', 'smile'):
        return -bounds.jensen_shannon_objective(joint, marginal), (value, average)
    if options.bound in ('club', 'barber_agakov'):
        return -joint.mean(), (value, average)
    return -value, (value, average)


def _scores(
    params: Any, key: jax.Array, x: jax.Array, y: jax.Array, entropy: jax.Array, options: _Options
) -> tuple[jax.Array, jax.Array]:
    """Returns the scores of joint [B] and marginal [M] pairs of a batch."""
    if options.bound == 'barber_agakov':
        return _log_q(params, x, y, options), -entropy.reshape(1)
    if options.bound == 'club':
        critic = _log_q
    else:
        critic = _separable if options.critic == 'separable' else _joint
    if options.marginal == 'shuffle':
        *_, shuffled = bounds.shuffled_pairs(key, x, y)
        return critic(params, x, y, options), critic(params, x, shuffled, options)
    scores = critic(params, x, y, options, pairs=True)
    n = scores.shape[0]
    # Off the diagonal, row by row: behind the first entry, every (n+1)-th is a diagonal one.
    off = scores.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1]
    return jnp.diagonal(scores), off.reshape(-1)


def _separable(
    params: Any, x: jax.Array, y: jax.Array, options: _Options, pairs: bool = False
) -> jax.Array:
    g, h = _mlp(params[0], x), _mlp(params[1], y)
    return g @ h.T if pairs else (g * h).sum(axis=1)


def _joint(
    params: Any, x: jax.Array, y: jax.Array, options: _Options, pairs: bool = False
) -> jax.Array:
    # The first layer is linear in [x; y], so that its two halves are paid per sample, not per pair.
    (of_x, of_y), rest = params
    x, y = x @ of_x, y @ of_y
    units = (x[:, None] + y[None]).reshape(-1, x.shape[1]) if pairs else x + y
    scores = _mlp(rest, jax.nn.relu(units))[:, 0]
    return scores.reshape(x.shape[0], y.shape[0]) if pairs else scores


def _log_q(
    params: Any, x: jax.Array, y: jax.Array, options: _Options, pairs: bool = False
) -> jax.Array:
    """Returns log q(y_i|x_i) [B], or log q(y_j|x_i) [B, B] for all pairs."""
    outputs = _mlp(params, x)
    if options.categorical:
        log_q = jax.nn.log_softmax(outputs, axis=1)
        return log_q @ y.T if pairs else (log_q * y).sum(axis=1)
    mean, spread = jnp.split(outputs, 2, axis=1)
    # y has unit variance; the limits keep a degenerate y from an infinite density.
    log_variance = 10 * jnp.tanh(spread / 10)
    if pairs:
        mean, log_variance, y = mean[:, None], log_variance[:, None], y[None]
    squares = jnp.square(y - mean) * jnp.exp(-log_variance)
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(axis=-1)


def _mlp(layers: Layers, x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def _init(key: jax.Array, dim_x: int, dim_y: int, options: _Options) -> Any:
    keys = jax.random.split(key, 3)
    hidden = options.hidden
    if options.bound in ('club', 'barber_agakov'):
        return _layers(keys[0], dim_x, *hidden, dim_y if options.categorical else 2 * dim_y)
    if options.critic == 'joint':
        first = jax.random.normal(keys[0], (dim_x + dim_y, hidden[0]))
        first = first * math.sqrt(2 / (dim_x + dim_y))
        return jnp.split(first, [dim_x]), _layers(keys[1], *hidden, 1)
    g, h = (
        _layers(keys[0], dim_x, *hidden, options.embedding),
        _layers(keys[1], dim_y, *hidden, options.embedding),
    )
    # Small scores at the start: exp of a large one would rule the first steps.
    small = options.embedding**-0.5
    return [[*g[:-1], (g[-1][0] * small, g[-1][1])], h]


def _layers(key: jax.Array, *sizes: int) -> Layers:
    """Dense layers, He-normal weights and zero biases [1, n]."""
    keys = jax.random.split(key, len(sizes))
    return [
        (math.sqrt(2 / n) * jax.random.normal(k, (n, m)), jnp.zeros((1, m)))
        for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]


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

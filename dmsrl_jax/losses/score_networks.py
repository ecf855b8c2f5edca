"""Networks that score pairs (x, y), for `estimate_mutual_information`.

Plain arrays and functions: losses import no model. Each function takes x [B, dx] and y [B, dy] and
returns the scores of the pairs (x_i, y_i), [B], or with `pairs` of all (x_i, y_j), [B, B].
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

KINDS = ('separable', 'joint', 'density')

Layers = list[tuple[jax.Array, jax.Array]]


@functools.partial(
    jax.jit, static_argnames=('kind', 'dim_x', 'dim_y', 'hidden', 'embedding', 'categorical')
)
def init(
    key: jax.Array,
    *,
    kind: str,
    dim_x: int,
    dim_y: int,
    hidden: tuple[int, ...],
    embedding: int,
    categorical: bool,
) -> Any:
    """Draws the parameters of a network.

    Args:
        key: random key.
        kind: one of `KINDS`.
        dim_x: columns of x.
        dim_y: columns of y.
        hidden: widths of the hidden layers.
        embedding: width of g and h of the separable network.
        categorical: whether y is one-hot, for the density.

    Returns:
        A pytree for the function of the same kind.
    """
    keys = jax.random.split(key)
    if kind == 'density':
        return _layers(keys[0], dim_x, *hidden, dim_y if categorical else 2 * dim_y)
    if kind == 'joint':
        first = jax.random.normal(keys[0], (dim_x + dim_y, hidden[0]))
        first = first * math.sqrt(2 / (dim_x + dim_y))
        return [*jnp.split(first, [dim_x]), jnp.zeros((1, hidden[0]))], _layers(keys[1], *hidden, 1)
    g = _layers(keys[0], dim_x, *hidden, embedding)
    h = _layers(keys[1], dim_y, *hidden, embedding)
    # Small scores at the start: exp of a large one would rule the first steps.
    small = 0.1 * embedding**-0.5
    return [[*g[:-1], (g[-1][0] * small, g[-1][1])], h]


def separable(params: Any, x: jax.Array, y: jax.Array, *, pairs: bool) -> jax.Array:
    """T = g(x) . h(y): one call of each network for all pairs of a batch."""
    g, h = _mlp(params[0], x), _mlp(params[1], y)
    return g @ h.T if pairs else (g * h).sum(axis=1)


def joint(params: Any, x: jax.Array, y: jax.Array, *, pairs: bool) -> jax.Array:
    """T = T([x; y]): every pair goes through the network."""
    # The first layer is linear in [x; y], so that its two halves are paid per sample, not per pair.
    (of_x, of_y, bias), rest = params
    x, y = x @ of_x + bias, y @ of_y
    units = (x[:, None] + y[None]).reshape(-1, x.shape[1]) if pairs else x + y
    scores = _mlp(rest, jax.nn.relu(units))[:, 0]
    return scores.reshape(x.shape[0], y.shape[0]) if pairs else scores


def log_density(
    params: Any, x: jax.Array, y: jax.Array, *, pairs: bool, categorical: bool
) -> jax.Array:
    """Evaluates log q(y|x): a Gaussian with learnt mean and variances, or class probabilities."""
    outputs = _mlp(params, x)
    if categorical:
        log_q = jax.nn.log_softmax(outputs, axis=1)
        return log_q @ y.T if pairs else (log_q * y).sum(axis=1)
    mean, spread = jnp.split(outputs, 2, axis=1)
    # y has unit variance; the limits keep a degenerate y from an infinite density.
    log_variance = 10 * jnp.tanh(spread / 10)
    if pairs:
        mean, log_variance, y = mean[:, None], log_variance[:, None], y[None]
    squares = jnp.square(y - mean) * jnp.exp(-log_variance)
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).sum(axis=-1)


def off_diagonal(scores: jax.Array) -> jax.Array:
    """Returns the entries i != j of [n, n] scores, row by row, [n * (n - 1)]."""
    n = scores.shape[0]
    # Behind the first entry, every (n+1)-th is a diagonal one.
    return scores.reshape(-1)[1:].reshape(n - 1, n + 1)[:, :-1].reshape(-1)


def _mlp(layers: Layers, x: jax.Array) -> jax.Array:
    for weight, bias in layers[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def _layers(key: jax.Array, *sizes: int) -> Layers:
    """Dense layers, He-normal weights and zero biases [1, n]."""
    keys = jax.random.split(key, len(sizes))
    return [
        (math.sqrt(2 / n) * jax.random.normal(k, (n, m)), jnp.zeros((1, m)))
        for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]

"""Batch normalisation of two domains as pure functions, and its gradient in two passes over a map.

On an accelerator these passes are most of what a step does besides convolutions: each reads and
writes whole maps, and moments, ReLU and gradient are written so that XLA needs as few as possible.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dmsrl_jax.errors import InputError


class Moments(NamedTuple):
    """Mean and variance of each channel, [domains, C] or, of all together, [1, C]."""

    mean: jax.Array
    var: jax.Array


class How(NamedTuple):
    """What `normalize` needs to know besides arrays; all static.

    Attributes:
        domains: number of domains stacked along the batch axis.
        joint: whether two domains share one mean and variance.
        relu: whether a ReLU follows.
        axis_name: the device axis to average over, or None. Devices hold equally many examples.
        epsilon: added to the variance.
    """

    domains: int = 1
    joint: bool = False
    relu: bool = False
    axis_name: str | None = None
    epsilon: float = 1e-5


def batch_moments(x: jax.Array, domains: int, axis_name: str | None) -> tuple[Moments, int]:
    """Mean and biased variance of each channel in each domain, over all devices, in float32.

        d = x - s,  mean = s + E[d],  var = E[d^2] - E[d]^2

    with s the pixel in the middle of the domain's first image (those at the border see padding):
    one pass over x, and unlike E[x^2] - E[x]^2 it keeps its digits where the mean is large, because
    s is about as large. Devices, each with its own s, are put together by
    var = E_r[var_r + (mean_r - mean)^2].

    Args:
        x: [B, ..., C], domains stacked along the batch axis.
        domains: how many.
        axis_name: the device axis to average over, or None. Devices hold equally many examples.

    Returns:
        Mean and variance [domains, C], and the number of values behind each of them.

    Raises:
        InputError: only one value per channel, whose variance means nothing.

    Reference:
        Chan, Golub, LeVeque. Algorithms for Computing the Sample Variance. Am. Statistician, 1983.
    """
    groups = x.astype(jnp.float32).reshape(domains, -1, x.shape[-1])
    count = groups.shape[1] * (jax.lax.axis_size(axis_name) if axis_name else 1)
    if count < 2:
        raise InputError(
            'batch statistics need more than one value per channel and domain in training, got '
            f'shape {list(x.shape)} for {domains} domain(s); use a larger batch or larger images'
        )
    images = x.reshape(domains, -1, *x.shape[1:])
    middle = (slice(None), 0, *(side // 2 for side in x.shape[1:-1]))
    shift = images[middle].astype(jnp.float32)
    away = groups - shift[:, None]
    first, second = away.mean(axis=1), jnp.square(away).mean(axis=1)
    mean = shift + first
    # Rounding makes it negative where s is thousands of standard deviations away.
    var = jnp.maximum(second - jnp.square(first), 0.0)
    if axis_name is not None:
        own, mean = mean, jax.lax.pmean(mean, axis_name)
        var = jax.lax.pmean(var + jnp.square(own - mean), axis_name)
    return Moments(mean, var), count


def joint_moments(moments: Moments) -> Moments:
    """Statistics of two equally large domains taken together.

        mean = (mean_s + mean_t) / 2,  var = E_d[var_d + (mean_d - mean)^2]

    Args:
        moments: of source and target, [2, C] each; the variance is the biased one.

    Returns:
        Mean and biased variance [1, C].
    """
    middle = moments.mean.mean(axis=0, keepdims=True)
    spread = moments.var + jnp.square(moments.mean - middle)
    return Moments(middle, spread.mean(axis=0, keepdims=True))


def affine(
    x: jax.Array, moments: Moments, scale: jax.Array, bias: jax.Array, how: How
) -> jax.Array:
    """(x - mean) / sqrt(var + epsilon) * scale + bias in float32, after a ReLU if one follows.

    Args:
        x: [B, ..., C], in equal groups along the batch axis, one per row of the moments.
        moments: [groups, C].
        scale: [C].
        bias: [C].
        how: `relu` and `epsilon` count.

    Returns:
        The shape of x.
    """
    factor = jax.lax.rsqrt(moments.var + how.epsilon) * scale[None]
    y = _centred(x, moments.mean) * factor[:, None] + bias[None, None]
    return (jax.nn.relu(y) if how.relu else y).reshape(x.shape)


def _centred(x: jax.Array, mean: jax.Array) -> jax.Array:
    """X less the mean of its group, float32 [groups, values, C]."""
    return x.astype(jnp.float32).reshape(mean.shape[0], -1, x.shape[-1]) - mean[:, None]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def normalize(
    x: jax.Array, scale: jax.Array, bias: jax.Array, how: How
) -> tuple[jax.Array, Moments]:
    """Normalises a training batch by its own statistics.

        y = (x - mean) / sqrt(var + epsilon) * scale + bias,  or max(y, 0)

    Args:
        x: [B, ..., C], domains stacked along the batch axis.
        scale: [C], float32.
        bias: [C], float32.
        how: static.

    Returns:
        y with the shape and dtype of x, and the statistics for running averages (mean and unbiased
        variance, [domains, C] or joint [1, C]), which take no gradient.

    Raises:
        InputError: as `batch_moments`.
    """
    return _forward(x, scale, bias, how)[0]


Saved = tuple[jax.Array, Moments, jax.Array, jax.Array]


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, how: How
) -> tuple[tuple[jax.Array, Moments], Saved]:
    moments, count = batch_moments(x, how.domains, how.axis_name)
    if how.joint and how.domains == 2:
        moments, count = joint_moments(moments), 2 * count
    seen = moments._replace(var=moments.var * (count / (count - 1)))
    y = affine(x, moments, scale, bias, how).astype(x.dtype)
    return (y, seen), (x, moments, scale, bias)


def _backward(
    how: How, saved: Saved, gradients: tuple[jax.Array, Moments]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """With g the gradient to y, n = (x - mean) / sqrt(var + epsilon), E over a group.

        to bias:  sum g,  to scale:  sum g n,
        to x:  (g - E[g] - n E[g n]) * scale / sqrt(var + epsilon)

    One pass over x and g takes both sums, a second one writes the gradient. The barriers keep them
    apart: XLA would otherwise write g behind the ReLU, or where it is open, to memory in between.
    """
    x, moments, scale, bias = saved
    inverse = jax.lax.rsqrt(moments.var + how.epsilon)
    factor = inverse * scale[None]

    def read(x: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        centred = _centred(x, moments.mean)
        g = g.astype(jnp.float32).reshape(centred.shape)
        if how.relu:  # a product with 0 or 1: XLA keeps what it compares in memory
            y = centred * factor[:, None] + bias[None, None]
            g = g * jnp.sign(jnp.maximum(y, 0.0))
        return centred, g

    x, g = jax.lax.optimization_barrier((x, gradients[0]))
    centred, behind = read(x, g)
    sums = behind.sum(axis=1), (behind * centred).sum(axis=1)
    x, g, sums = jax.lax.optimization_barrier((x, g, sums))
    means = [total / behind.shape[1] for total in (sums[0], sums[1] * jnp.square(inverse))]
    if how.axis_name is not None:
        means = jax.lax.pmean(means, how.axis_name)
    centred, behind = read(x, g)
    towards_x = (behind - means[0][:, None] - centred * means[1][:, None]) * factor[:, None]
    towards_scale, towards_bias = (sums[1] * inverse).sum(axis=0), sums[0].sum(axis=0)
    return towards_x.astype(x.dtype).reshape(x.shape), towards_scale, towards_bias


normalize.defvjp(_forward, _backward)

"""Layers that know two domains and a device axis: BatchNorm, Dropout, convolution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.errors import InputError
from dmsrl_jax.models.convolution import convolve
from dmsrl_jax.models.normalization import How, Moments, affine, normalize

STATISTICS = ('shared', 'per_domain', 'joint')

# variance 2 / (kernel height * kernel width * output channels), not truncated
he_normal_fan_out = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
xavier_normal = nn.initializers.xavier_normal()


class Mode(NamedTuple):
    """How one call of a network runs; see `Classifier` for the meaning of the fields."""

    train: bool = False
    domains: int = 1
    domain: int | jax.Array | None = None

    @property
    def groups(self) -> int:
        """Number of domains stacked along the batch axis; evaluation never tells them apart."""
        return self.domains if self.train else 1


def check_images(images: jax.Array, mode: Mode, minimum: int) -> None:
    """Raises InputError unless images are a floating [B, H, W, 3] batch that the network can take.

    Args:
        images: the batch to check.
        mode: how the network is called; in training, the batch must split into its domains.
        minimum: least height and width in pixels.
    """
    if images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(f'images must have shape [B, H, W, 3], got {list(images.shape)}')
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise InputError(
            f'images must be floating point in 0..1, got {images.dtype}; divide uint8 by 255 first'
        )
    height, width = images.shape[1:3]
    if min(height, width) < minimum:
        raise InputError(
            f'images of {height}x{width} pixels are too small: '
            f'this network needs at least {minimum}x{minimum}'
        )
    if mode.domains not in (1, 2):
        raise InputError(f'domains must be 1 or 2, got {mode.domains}')
    if images.shape[0] % mode.groups:
        raise InputError(
            f'a batch of {images.shape[0]} images does not split into {mode.groups} equal domains; '
            'stack as many source as target images'
        )


def example_positions(batch: int, domains: int = 1, axis_name: str | None = None) -> jax.Array:
    """Global position of each example of this device's batch, the same on any number of devices.

    With b examples per domain on each of n devices, example i of domain d on device r has position
    d * n * b + r * b + i: the place it would have on one device which held the whole batch.

    Args:
        batch: number of examples on this device, all domains together.
        domains: number of domains stacked along the batch axis.
        axis_name: name of the device axis, or None for one device.

    Returns:
        int32 [batch].
    """
    per_domain = batch // domains
    devices, device = 1, 0
    if axis_name is not None:
        devices, device = jax.lax.axis_size(axis_name), jax.lax.axis_index(axis_name)
    starts = jnp.arange(domains, dtype=jnp.int32) * (devices * per_domain) + device * per_domain
    offsets = jnp.arange(per_domain, dtype=jnp.int32)
    return (starts[:, None] + offsets[None, :]).reshape(-1)


class Dropout(nn.Module):
    """Dropout whose mask depends on the key and on each example's global position only.

    So one device and several devices drop the same units of the same examples. The key is the rng
    collection `dropout`, equal on all devices.
    """

    rate: float = 0.5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Drops units of x [B, ...] in training and scales the others by 1 / (1 - rate)."""
        if not mode.train or self.rate == 0.0 or self.is_initializing():
            return x
        positions = example_positions(x.shape[0], mode.groups, self.axis_name)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng('dropout'), positions)
        keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - self.rate, x.shape[1:]))(keys)
        return jnp.where(keep, x / (1.0 - self.rate), jnp.zeros_like(x))


class BatchNorm(nn.Module):
    """Batch normalisation that knows two domains, PyTorch's semantics and float32 arithmetic.

    In training each domain of the batch is normalised by its own mean and biased variance, over
    all devices of `axis_name`. Running averages keep `momentum` of the old value and take
    PyTorch's unbiased variance. With statistics 'shared' there is one set of them, which sees the
    source first, then the target, exactly as in two passes; with 'per_domain' there is a row for
    each domain. One domain at a time (domains=1) then updates row `domain`, or both if it is None.
    With 'joint' the whole batch has one mean and variance, as if it were of one domain. With `relu`
    a ReLU follows, in the same pass.
    """

    dtype: Any = jnp.float32
    axis_name: str | None = None
    statistics: str = 'shared'
    relu: bool = False
    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Normalises x [B, ..., C]; returns the same shape in the compute dtype."""
        channels = x.shape[-1]
        shape = (2, channels) if self.statistics == 'per_domain' else (channels,)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, shape, jnp.float32)
        running_var = self.variable('batch_stats', 'var', jnp.ones, shape, jnp.float32)
        scale = self.param('scale', nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param('bias', nn.initializers.zeros, (channels,), jnp.float32)
        how = How(mode.domains, self.statistics == 'joint', self.relu, self.axis_name, self.epsilon)
        if not mode.train or self.is_initializing():
            running = Moments(
                self._row(running_mean.value, mode), self._row(running_var.value, mode)
            )
            return affine(x, running, scale, bias, how).astype(self.dtype)
        y, seen = normalize(x, scale, bias, how)
        running_mean.value = self._updated(running_mean.value, seen.mean, mode)
        running_var.value = self._updated(running_var.value, seen.var, mode)
        return y.astype(self.dtype)

    def _updated(self, running: jax.Array, batch: jax.Array, mode: Mode) -> jax.Array:
        """The running average after a batch with statistics [domains, C]."""
        if self.statistics == 'per_domain':
            new = self.momentum * running + (1.0 - self.momentum) * jnp.broadcast_to(
                batch, running.shape
            )
            if mode.domains == 2 or mode.domain is None:
                return new
            return jnp.where((jnp.arange(2) == mode.domain)[:, None], new, running)
        for row in batch:
            running = self.momentum * running + (1.0 - self.momentum) * row
        return running

    def _row(self, running: jax.Array, mode: Mode) -> jax.Array:
        """The running statistics [1, C] for evaluation; the target's unless mode names a domain."""
        if self.statistics == 'per_domain':
            running = running[1 if mode.domain is None else mode.domain]
        return running[None, :]


class Conv(nn.Module):
    """Square convolution, padded by size // 2 on every side (as in PyTorch, also when strided).

    'SAME' pads strided convolutions unevenly, which shifts the map by a pixel. The kernel starts
    He-normal by fan-out, the bias at 0.
    """

    features: int
    size: int = 3
    strides: int = 1
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train_bias: bool = True) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / strides, W / strides, features] in the compute dtype.

        Args:
            x: the map.
            train_bias: False where a BatchNorm subtracts the bias again: its gradient, a sum over
                the whole map, is zero in exact arithmetic and is not computed.
        """
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param('kernel', he_normal_fan_out, shape, jnp.float32)
        y = convolve(x.astype(self.dtype), kernel.astype(self.dtype), self.strides)
        if not self.use_bias:
            return y
        bias = self.param('bias', nn.initializers.zeros, (self.features,), jnp.float32)
        if not train_bias:
            bias = jax.lax.stop_gradient(bias)
        return y + bias.astype(self.dtype)[None, None, None]


class ConvBlock(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    features: int
    size: int = 3
    strides: int = 1
    use_bias: bool = True
    relu: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None
    statistics: str = 'shared'

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / strides, W / strides, features]."""
        x = Conv(self.features, self.size, self.strides, self.use_bias, self.dtype, name='conv')(
            x, train_bias=not mode.train
        )
        norm = BatchNorm(self.dtype, self.axis_name, self.statistics, self.relu, name='norm')
        return norm(x, mode)

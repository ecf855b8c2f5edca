"""Pooling of feature maps: maxima of 2x2 and 3x3 windows, adaptive averages of PyTorch's bins."""

import jax
import jax.numpy as jnp
import numpy as np


def max_pool(x: jax.Array) -> jax.Array:
    """Max pooling over 2x2 windows: [B, H, W, C] to [B, H // 2, W // 2, C].

    Three maxima of strided views: the gradient of XLA's windowed maximum is tens of times slower on
    a CPU. An odd last row or column is left out. Equal maxima share the gradient.
    """
    x = _pairs(x)
    rows = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(rows[:, :, :, 0], rows[:, :, :, 1])


def overlapping_max_pool(x: jax.Array) -> jax.Array:
    """Max pooling over 3x3 windows of stride 2, padded by 1: [B, H, W, C] to half, rounded up.

    As in PyTorch, but for equal maxima, which share the gradient as in `max_pool`.
    """
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    for axis in (1, 2):
        stop = x.shape[axis] - 2  # of the windows' first pixels
        views = [jax.lax.slice_in_dim(x, i, stop + i, 2, axis) for i in range(3)]
        x = jnp.maximum(jnp.maximum(views[0], views[1]), views[2])
    return x


def space_to_depth(x: jax.Array) -> jax.Array:
    """Stacks the pixels of 2x2 windows: [B, H, W, C] to [B, H // 2, W // 2, 4 C]."""
    x = _pairs(x).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(*x.shape[:3], -1)


def _pairs(x: jax.Array) -> jax.Array:
    """Splits both map axes in pairs: [B, H // 2, 2, W // 2, 2, C], without an odd last one."""
    batch, height, width, channels = x.shape
    even = x[:, : height // 2 * 2, : width // 2 * 2]
    return even.reshape(batch, height // 2, 2, width // 2, 2, channels)


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Average pooling to a fixed size with PyTorch's bins; the identity if the size is met.

    Bin i of an axis of length S covers floor(i * S / size) up to, not including,
    ceil((i + 1) * S / size): bins overlap where S is no multiple of size, and repeat pixels where
    S is smaller.

    Args:
        x: [B, H, W, C].
        size: height and width of the result.

    Returns:
        [B, size, size, C], the same dtype.
    """
    height, width = x.shape[1:3]
    if (height, width) == (size, size):
        return x
    rows, columns = _bin_weights(height, size), _bin_weights(width, size)
    pooled = jnp.einsum(
        'ih,jw,bhwc->bijc', rows, columns, x.astype(jnp.float32), precision='highest'
    )
    return pooled.astype(x.dtype)


def _bin_weights(length: int, size: int) -> np.ndarray:
    """Averaging weights [size, length] of adaptive pooling along one axis."""
    weights = np.zeros((size, length), np.float32)
    for i in range(size):
        start, stop = i * length // size, -(-(i + 1) * length // size)
        weights[i, start:stop] = 1.0 / (stop - start)
    return weights

"""Pooling of feature maps: maxima of 2x2 and 3x3 windows, adaptive averages of PyTorch's bins."""

import jax
import jax.numpy as jnp
import numpy as np

from dmsrl_jax.models.convolution import shifts


@jax.custom_vjp
def max_pool(x: jax.Array) -> jax.Array:
    """Max pooling over 2x2 windows: [B, H, W, C] to [B, H // 2, W // 2, C].

    An odd last row or column is left out. The gradient goes to the first of equal maxima, as in
    PyTorch; its place is kept in a byte, so that it can be taken without the map.
    """
    return _max_pool(x)[0]


# The place of each maximum, int8, and an array without values whose shape is the map's [H, W, 0].
Places = tuple[jax.Array, jax.Array]


def _max_pool(x: jax.Array) -> tuple[jax.Array, Places]:
    pairs = _pairs(x)
    views = [pairs[:, :, i, :, j] for i in range(2) for j in range(2)]
    return _first_maximum(views, x)


def _unpool(places: Places, g: jax.Array) -> tuple[jax.Array]:
    place, shape = places
    number = jnp.arange(4, dtype=jnp.int8).reshape(1, 1, 2, 1, 2, 1)
    hit = place[:, :, None, :, None] == number
    x = jnp.where(hit, g[:, :, None, :, None], jnp.zeros((), g.dtype))
    batch, height, width, channels = g.shape
    x = x.reshape(batch, 2 * height, 2 * width, channels)
    odd = [(0, whole - even) for whole, even in zip(shape.shape[:2], x.shape[1:3], strict=True)]
    return (jnp.pad(x, ((0, 0), *odd, (0, 0))),)


max_pool.defvjp(_max_pool, _unpool)


@jax.custom_vjp
def overlapping_max_pool(x: jax.Array) -> jax.Array:
    """Max pooling over 3x3 windows of stride 2, padded by 1: [B, H, W, C] to half, rounded up.

    The gradient is that of `max_pool`; a pixel is in up to four windows.
    """
    return _overlapping_max_pool(x)[0]


def _overlapping_max_pool(x: jax.Array) -> tuple[jax.Array, Places]:
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    rows, columns = (-(-side // 2) for side in x.shape[1:3])
    views = shifts(padded, rows, columns, stride=2)
    return _first_maximum(views, x)


def _overlapping_unpool(places: Places, g: jax.Array) -> tuple[jax.Array]:
    place, shape = places
    zero, total = jnp.zeros((), g.dtype), jnp.zeros((), g.dtype)
    for number in range(9):
        # Window r has its pixel i in row 2 r + i - 1 of the map.
        starts = (number // 3 - 1, number % 3 - 1)
        around = [
            (start, whole - start - (2 * windows - 1), 1)
            for start, whole, windows in zip(starts, shape.shape[:2], g.shape[1:3], strict=True)
        ]
        part = jnp.where(place == number, g, zero)
        total = total + jax.lax.pad(part, zero, [(0, 0, 0), *around, (0, 0, 0)])
    return (total,)


overlapping_max_pool.defvjp(_overlapping_max_pool, _overlapping_unpool)


def _first_maximum(views: list[jax.Array], x: jax.Array) -> tuple[jax.Array, Places]:
    """The maximum over views of a map x and the number of the first view that has it."""
    best, place = views[0], jnp.zeros(views[0].shape, jnp.int8)
    for number, view in enumerate(views[1:], start=1):
        place = jnp.where(view > best, jnp.int8(number), place)
        best = jnp.maximum(best, view)
    return best, (place, jnp.zeros((*x.shape[1:3], 0), jnp.int8))


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

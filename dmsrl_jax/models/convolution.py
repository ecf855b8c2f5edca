"""The 3x3 convolution of the networks, with a weight gradient that is quick on a CPU too."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_NUMBERS = ('NHWC', 'HWIO', 'NHWC')
_PADDING = ((1, 1), (1, 1))
# On smaller maps, or on the three channels of an image, XLA's own gradient is as quick.
_LEAST_PIXELS, _LEAST_CHANNELS = 32 * 32, 16
# Of a block in the weight gradient: its patches then stay in a core's cache.
_BLOCK_PIXELS = 512


def convolve3x3(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any
) -> jax.Array:
    """3x3 convolution of stride 1, padded by 1, in the place of `lax.conv_general_dilated`.

    On a CPU, XLA takes the weight gradient for a convolution whose kernel has the size of the map,
    and is about five times slower on large maps than the matrix product of `_by_blocks`. Everything
    else, and every other platform, is `lax.conv_general_dilated`.

    Args:
        x: [B, H, W, C].
        kernel: [3, 3, C, features].
        strides: (1, 1).
        padding: ((1, 1), (1, 1)).
        **options: what else `lax.conv_general_dilated` is called with by `flax.linen.Conv`.

    Returns:
        [B, H, W, features].
    """
    height, width, channels = x.shape[1:]
    if height * width < _LEAST_PIXELS or channels < _LEAST_CHANNELS:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    return _convolve(x, kernel)


def _plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), _PADDING, dimension_numbers=_NUMBERS)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(x, kernel), (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    (towards_x,) = jax.vjp(lambda x: _plain(x, kernel), x)[1](g)
    plain = lambda x, g: jax.vjp(lambda kernel: _plain(x, kernel), kernel)[1](g)[0]
    return towards_x, lax.platform_dependent(x, g, cpu=_by_blocks, default=plain)


_convolve = jax.custom_vjp(_plain)
_convolve.defvjp(_forward, _backward)


def _by_blocks(x: jax.Array, g: jax.Array) -> jax.Array:
    """Weight gradient [3, 3, C, O] of x [B, H, W, C] and g [B, H, W, O].

        sum over blocks of rows:  transpose(g of the block) @ patches of the block

    g is transposed once, before the loop: products with a transposed left side are slow.
    """
    batch, height, width, channels = x.shape
    limit = max(_BLOCK_PIXELS, width)
    rows = max(n for n in range(1, height + 1) if not height % n and n * width <= limit)
    blocks = height // rows
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    transposed = g.reshape(batch * blocks, rows * width, -1).transpose(0, 2, 1)

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        start = (number // blocks, number % blocks * rows, 0, 0)
        (block,) = lax.dynamic_slice(padded, start, (1, rows + 2, width + 2, channels))
        shifts = [block[i : i + rows, j : j + width] for i in range(3) for j in range(3)]
        patches = jnp.concatenate(shifts, axis=-1).reshape(rows * width, 9 * channels)
        product = jnp.matmul(transposed[number], patches, preferred_element_type=jnp.float32)
        return total + product, None

    total = jnp.zeros((g.shape[-1], 9 * channels), jnp.float32)
    total, _ = lax.scan(add, total, jnp.arange(batch * blocks))
    return total.reshape(-1, 3, 3, channels).transpose(1, 2, 3, 0).astype(x.dtype)

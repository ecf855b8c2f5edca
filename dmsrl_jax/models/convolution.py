"""The 3x3 convolution of the networks, with ways of its own on a CPU where XLA is slow there."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_NUMBERS = ('NHWC', 'HWIO', 'NHWC')
_PADDING = ((1, 1), (1, 1))
# Maps that are left to XLA on a CPU, too: those between, and the three channels of an image.
_SMALL_PIXELS, _LARGE_PIXELS, _LEAST_CHANNELS = 4 * 4, 32 * 32, 12
# With few channels a map is large from here on: the first layers of the tiny network.
_FEW_CHANNELS, _LARGE_WITH_FEW = 32, 12 * 12
# Of a block in the weight gradient: its patches then stay in a core's cache.
_BLOCK_PIXELS = 24 * 24


def convolve3x3(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Any, **options: Any
) -> jax.Array:
    """3x3 convolution of stride 1, padded by 1, in the place of `lax.conv_general_dilated`.

    On a CPU, XLA takes the weight gradient for a convolution whose kernel has the size of the map:
    on large maps, that is up to five times slower than the matrix products of `_by_blocks`. On
    maps smaller than the kernel it has no quick program at all; there, one matrix product of
    patches stands for the convolution. Everything else, and all on other platforms, is
    `lax.conv_general_dilated`.

    Args:
        x: [B, H, W, C].
        kernel: [3, 3, C, features].
        strides: (1, 1).
        padding: ((1, 1), (1, 1)).
        **options: what else `lax.conv_general_dilated` is called with by `flax.linen.Conv`.

    Returns:
        [B, H, W, features].
    """
    pixels, channels = x.shape[1] * x.shape[2], x.shape[3]
    large = _LARGE_WITH_FEW if channels <= _FEW_CHANNELS else _LARGE_PIXELS
    if channels < _LEAST_CHANNELS or _SMALL_PIXELS < pixels < large:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)
    return _convolve(x, kernel)


def _plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), _PADDING, dimension_numbers=_NUMBERS)


def _is_small(x: jax.Array) -> bool:
    return x.shape[1] * x.shape[2] <= _SMALL_PIXELS


def _value(x: jax.Array, kernel: jax.Array) -> jax.Array:
    if _is_small(x):
        return lax.platform_dependent(x, kernel, cpu=_by_patches, default=_plain)
    return _plain(x, kernel)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _value(x, kernel), (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    def of(convolve: Any) -> Any:
        return lambda x, kernel, g: jax.vjp(convolve, x, kernel)[1](g)

    def by_blocks(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        (towards_x,) = jax.vjp(lambda x: _plain(x, kernel), x)[1](g)
        return towards_x, _by_blocks(x, g)

    on_cpu = of(_by_patches) if _is_small(saved[0]) else by_blocks
    return lax.platform_dependent(*saved, g, cpu=on_cpu, default=of(_plain))


_convolve = jax.custom_vjp(_value)
_convolve.defvjp(_forward, _backward)


def _pad(x: jax.Array) -> jax.Array:
    return jnp.pad(x, ((0, 0), *_PADDING, (0, 0)))


def _shifts(padded: jax.Array, height: int, width: int) -> list[jax.Array]:
    """The nine neighbours of each pixel: of [A, H + 2, W + 2, ...] nine times [A, H, W, ...]."""
    return [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]


def _by_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution as one matrix product."""
    rows = jnp.concatenate(_shifts(_pad(x), *x.shape[1:3]), axis=-1).reshape(-1, 9 * x.shape[3])
    return (rows @ kernel.reshape(rows.shape[1], -1)).reshape(*x.shape[:3], -1)


def _by_blocks(x: jax.Array, g: jax.Array) -> jax.Array:
    """Weight gradient [3, 3, C, O] of x [B, H, W, C] and g [B, H, W, O].

        sum over blocks of rows:  patches of the block, one column per pixel  @  g of the block

    Channels come before pixels, so that patches are copied in runs of a row's length and neither
    side of the product is transposed: both are slow otherwise.
    """
    batch, height, width, channels = x.shape
    limit = max(_BLOCK_PIXELS, width)
    rows = max(n for n in range(1, height + 1) if not height % n and n * width <= limit)
    blocks = height // rows
    padded = _pad(x).transpose(0, 3, 1, 2)
    gradients = g.reshape(batch * blocks, rows * width, -1)

    def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        start = (number // blocks, 0, number % blocks * rows, 0)
        (block,) = lax.dynamic_slice(padded, start, (1, channels, rows + 2, width + 2))
        patches = jnp.concatenate(_shifts(block, rows, width))
        patches = patches.reshape(9 * channels, rows * width)
        product = jnp.matmul(patches, gradients[number], preferred_element_type=jnp.float32)
        return total + product, None

    total = jnp.zeros((9 * channels, g.shape[-1]), jnp.float32)
    total, _ = lax.scan(add, total, jnp.arange(batch * blocks))
    return total.reshape(3, 3, channels, -1).astype(x.dtype)

"""The convolution of the networks, with ways of its own on a CPU where XLA is slow there."""

import os
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_NUMBERS = ('NHWC', 'HWIO', 'NHWC')
# Maps that are left to XLA on a CPU, too: those between, and the three channels of an image.
_SMALL_PIXELS, _LARGE_PIXELS, _LEAST_CHANNELS = 4 * 4, 32 * 32, 12
# With few channels a map is large from here on: the first layers of the tiny network.
_FEW_CHANNELS, _LARGE_WITH_FEW = 32, 12 * 12
# Of a block in the weight gradient: its patches then stay in a core's cache.
_BLOCK_PIXELS = 24 * 24
# XLA computes on one core where a row's pixels times channels times features are no more than this.
_LONGEST_ON_ONE_CORE = 64**3
# Of a row that is worth sharing between cores.
_LEAST_COLUMNS = 256


def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """A convolution padded by half of its kernel.

    On a CPU, XLA takes the weight gradient for a convolution whose kernel has the size of the map:
    on large maps, that is up to five times slower than the matrix products of `_by_blocks` (kernels
    3x3 of stride 1). On maps smaller than the kernel it has no quick program at all; there, and for
    1x1 kernels, one matrix product of patches stands for the convolution. Cores share the pixels of
    a row only: `_side_by_side` makes one image of the batch where rows are short. Everything else,
    and all on other platforms, is `lax.conv_general_dilated`.

    Args:
        x: [B, H, W, C].
        kernel: [k, k, C, features], k odd.
        stride: step s in both directions.

    Returns:
        [B, ceil(H / s), ceil(W / s), features].
    """
    kind = _kind(x.shape, kernel.shape[0], stride)
    if kind == 'plain' and not _is_shared(x, kernel, stride):
        return _plain(x, kernel, stride)
    return _convolve(x, kernel, stride, kind)


def _kind(shape: tuple[int, ...], size: int, stride: int) -> str:
    """What a CPU does: `patches`, `blocks` (for the weight gradient), or `plain`."""
    height, width, channels = shape[1:]
    pixels = -(-height // stride) * -(-width // stride)
    if channels < _LEAST_CHANNELS or size > 3:
        return 'plain'
    if size == 1 or pixels <= _SMALL_PIXELS:
        return 'patches'
    large = _LARGE_WITH_FEW if channels <= _FEW_CHANNELS else _LARGE_PIXELS
    return 'blocks' if stride == 1 and pixels >= large else 'plain'


def _plain(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    padding = ((kernel.shape[0] // 2,) * 2,) * 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=_NUMBERS
    )


def _is_shared(x: jax.Array, kernel: jax.Array, stride: int) -> bool:
    """Whether `_side_by_side` lets the cores of a CPU share what XLA would do on one of them."""
    batch, _, width, channels = x.shape
    size, features = kernel.shape[0], kernel.shape[3]
    return (
        (size, stride, x.dtype) == (3, 1, jnp.float32)
        and channels >= _LEAST_CHANNELS
        and width * channels * features <= _LONGEST_ON_ONE_CORE
        and batch * width >= _LEAST_COLUMNS
        and _cores() > 1
    )


def _cores() -> int:
    """Cores of one device of a CPU; 1 where JAX computes elsewhere."""
    on_cpu = jax.default_backend() == 'cpu'
    return (os.cpu_count() or 1) // jax.local_device_count() if on_cpu else 1


def _on_cpu(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    if _is_shared(x, kernel, stride):
        return _side_by_side(x, kernel)
    return _plain(x, kernel, stride)


def _value(x: jax.Array, kernel: jax.Array, stride: int, kind: str) -> jax.Array:
    on_cpu = _by_patches if kind == 'patches' else _on_cpu
    on_cpu, plain = (partial(f, stride=stride) for f in (on_cpu, _plain))
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=plain)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int, kind: str
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _value(x, kernel, stride, kind), (x, kernel)


def _backward(
    stride: int, kind: str, saved: tuple[jax.Array, jax.Array], g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def of(convolve: Any) -> Any:
        convolve = partial(convolve, stride=stride)
        return lambda x, kernel, g: jax.vjp(convolve, x, kernel)[1](g)

    def apart(x: jax.Array, kernel: jax.Array, g: jax.Array) -> tuple[jax.Array, jax.Array]:
        # Of stride 1: the gradient to the map is a convolution, too.
        towards_x = _on_cpu(g, kernel[::-1, ::-1].swapaxes(2, 3), stride)
        if kind == 'blocks':
            return towards_x, _by_blocks(x, g)
        return towards_x, jax.vjp(lambda kernel: _plain(x, kernel, stride), kernel)[1](g)[0]

    on_cpu = of(_by_patches) if kind == 'patches' else apart
    return lax.platform_dependent(*saved, g, cpu=on_cpu, default=of(_plain))


_convolve = jax.custom_vjp(_value, nondiff_argnums=(2, 3))
_convolve.defvjp(_forward, _backward)


def _pad(x: jax.Array, by: int = 1) -> jax.Array:
    return jnp.pad(x, ((0, 0), (by, by), (by, by), (0, 0)))


def shifts(
    padded: jax.Array, height: int, width: int, size: int = 3, stride: int = 1
) -> list[jax.Array]:
    """The neighbours of each pixel: size * size times [A, height, width, ...]."""
    down, right = (stride * (n - 1) + 1 for n in (height, width))
    return [
        padded[:, i : i + down : stride, j : j + right : stride]
        for i in range(size)
        for j in range(size)
    ]


def _side_by_side(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The 3x3 convolution of stride 1, all images beside each other as one wide image.

    Each keeps its border of zeros; the two columns of every image that would see into the next one
    are left out of the result.
    """
    batch, height, width, channels = x.shape
    rows = jnp.pad(x.transpose(1, 0, 2, 3), ((1, 1), (0, 0), (1, 1), (0, 0)))
    image = rows.reshape(1, height + 2, batch * (width + 2), channels)
    result = lax.conv_general_dilated(
        image, kernel, (1, 1), ((0, 0), (0, 2)), dimension_numbers=_NUMBERS
    )
    columns = result.reshape(height, batch, width + 2, -1)
    return columns[:, :, :width].transpose(1, 0, 2, 3)


def _by_patches(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The convolution as one matrix product."""
    size = kernel.shape[0]
    height, width = (-(-n // stride) for n in x.shape[1:3])
    neighbours = shifts(_pad(x, size // 2), height, width, size, stride)
    rows = jnp.concatenate(neighbours, axis=-1).reshape(-1, size * size * x.shape[3])
    product = rows @ kernel.reshape(rows.shape[1], -1)
    return product.reshape(x.shape[0], height, width, -1)


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
        patches = jnp.concatenate(shifts(block, rows, width))
        patches = patches.reshape(9 * channels, rows * width)
        product = jnp.matmul(patches, gradients[number], preferred_element_type=jnp.float32)
        return total + product, None

    total = jnp.zeros((9 * channels, g.shape[-1]), jnp.float32)
    total, _ = lax.scan(add, total, jnp.arange(batch * blocks))
    return total.reshape(3, 3, channels, -1).astype(x.dtype)

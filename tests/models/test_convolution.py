"""The convolution of the networks against XLA's: values, gradients, and what is lowered where."""

import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from dmsrl_jax.models import convolution, layers

NUMBERS = ('NHWC', 'HWIO', 'NHWC')


ours = convolution.convolve


def plain(x, kernel, stride=1):
    padding = ((kernel.shape[0] // 2,) * 2,) * 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=NUMBERS
    )


def arrays(batch, height, width, channels, features, dtype=jnp.float32, size=3, stride=1):
    rng = np.random.default_rng(0)
    shapes = (batch, height, width, channels), (size, size, channels, features)
    x, kernel = (jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)
    out = (batch, -(-height // stride), -(-width // stride), features)
    return x, kernel, jnp.asarray(rng.normal(size=out), dtype)


def gradients(convolve, x, kernel, g):
    return jax.jit(lambda x, kernel, g: jax.vjp(convolve, x, kernel)[1](g))(x, kernel, g)


# shape, then side of the kernel and stride
CASES = [
    # blocks of several rows; one row, as 37 is prime; a row longer than a block
    ((2, 32, 32, 16, 8), 3, 1),
    ((3, 37, 40, 17, 5), 3, 1),
    ((1, 2, 601, 16, 3), 3, 1),
    ((2, 12, 12, 12, 4), 3, 1),
    ((2, 24, 24, 12, 3), 3, 1),
    # patches of maps from one pixel on, and of strided ones, even and odd
    ((2, 4, 4, 16, 4), 3, 1),
    ((3, 2, 2, 20, 5), 3, 1),
    ((3, 1, 1, 16, 4), 3, 1),
    ((2, 4, 4, 16, 4), 3, 2),
    ((2, 7, 8, 16, 4), 3, 2),
    # 1x1 kernels
    ((2, 20, 9, 16, 4), 1, 1),
    ((2, 8, 8, 16, 4), 1, 2),
    ((2, 9, 7, 16, 4), 1, 2),
    # images side by side, with XLA's weight gradient and with blocks, the first two both ways
    ((40, 7, 8, 16, 12), 3, 1),
    ((22, 12, 12, 12, 13), 3, 1),
    ((52, 5, 5, 20, 6), 3, 1),
    ((8, 32, 32, 16, 8), 3, 1),
    # what XLA does on a CPU, too
    ((2, 31, 32, 33, 4), 3, 1),
    ((2, 11, 13, 32, 4), 3, 1),
    ((2, 4, 5, 16, 4), 3, 1),
    ((1, 40, 40, 3, 4), 3, 1),
    ((1, 40, 40, 16, 4), 3, 2),
    ((1, 4, 4, 16, 4), 7, 2),
]


@pytest.mark.parametrize(('shape', 'size', 'stride'), CASES)
def test_values_and_gradients_are_those_of_lax(shape, size, stride, monkeypatch):
    monkeypatch.setattr(convolution, '_cores', lambda: 2)
    x, kernel, g = arrays(*shape, size=size, stride=stride)
    convolve, reference = partial(ours, stride=stride), partial(plain, stride=stride)
    expected = reference(x, kernel)
    np.testing.assert_allclose(
        jax.jit(convolve)(x, kernel), expected, rtol=1e-6, atol=2e-6 * np.abs(expected).max()
    )
    for found, expected in zip(
        gradients(convolve, x, kernel, g), gradients(reference, x, kernel, g), strict=True
    ):
        assert found.dtype == expected.dtype
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found / scale, expected / scale, atol=2e-6)


def test_bfloat16_is_summed_in_float32():
    x, kernel, g = arrays(4, 64, 64, 16, 4, jnp.bfloat16)
    found = gradients(ours, x, kernel, g)[1]
    assert found.dtype == jnp.bfloat16
    x, kernel, g = (a.astype(jnp.float32) for a in (x, kernel, g))
    expected = gradients(plain, x, kernel, g)[1]
    # bfloat16 has 8 bits; a sum of 16,384 products in bfloat16 would lose most of them
    np.testing.assert_allclose(
        found.astype(jnp.float32), expected, rtol=2**-8, atol=2**-8 * np.abs(expected).max()
    )


def lowered(platform, side, channels=16, size=3, stride=1, batch=1, dtype=jnp.float32):
    x, kernel, g = arrays(batch, side, side, channels, 4, dtype, size=size, stride=stride)
    convolve = partial(ours, stride=stride)
    both = jax.jit(lambda x, kernel, g: (convolve(x, kernel), jax.vjp(convolve, x, kernel)[1](g)))
    return export.export(both, platforms=[platform])(x, kernel, g).mlir_module()


def test_a_cpu_takes_blocks_for_large_maps_and_patches_for_small_ones():
    assert 'stablehlo.while' in lowered('cpu', 32, 33)
    assert 'stablehlo.while' not in lowered('cpu', 31, 33)
    assert 'stablehlo.while' in lowered('cpu', 12, 32)
    assert 'stablehlo.while' not in lowered('cpu', 11, 32)
    assert 'stablehlo.dot_general' not in lowered('cpu', 11, 32)
    assert 'stablehlo.convolution' not in lowered('cpu', 4)
    assert 'stablehlo.convolution' not in lowered('cpu', 8, stride=2)
    assert 'stablehlo.convolution' in lowered('cpu', 9, stride=2)
    assert 'stablehlo.convolution' not in lowered('cpu', 40, size=1)


def test_cores_of_a_cpu_share_short_rows(monkeypatch):
    def is_shared(batch=32, **options):
        return f'tensor<1x10x{10 * batch}x16xf32>' in lowered('cpu', 8, batch=batch, **options)

    monkeypatch.setattr(os, 'cpu_count', lambda: 2 * jax.local_device_count())
    assert is_shared()
    assert not is_shared(batch=31)
    assert not is_shared(stride=2)
    assert not is_shared(dtype=jnp.bfloat16)
    monkeypatch.setattr(convolution, '_LONGEST_ON_ONE_CORE', 8 * 16 * 4 - 1)
    assert not is_shared()
    monkeypatch.undo()
    monkeypatch.setattr(os, 'cpu_count', jax.local_device_count)
    assert not is_shared()


@pytest.mark.parametrize(
    ('side', 'size', 'stride'), [(32, 3, 1), (16, 3, 1), (4, 3, 1), (8, 3, 2), (8, 1, 1), (8, 1, 2)]
)
def test_other_platforms_have_convolutions_only(side, size, stride, monkeypatch):
    monkeypatch.setattr(convolution, '_cores', lambda: 2)
    program = lowered('cuda', side, size=size, stride=stride, batch=64)
    # value, value once more for the gradients, gradients with respect to map and kernel
    assert program.count('stablehlo.convolution') in (3, 4)
    assert f'tensor<1x{side + 2}x' not in program  # images side by side
    assert 'stablehlo.while' not in program
    assert 'stablehlo.dot_general' not in program


def test_it_is_what_all_layers_use(monkeypatch):
    seen = []
    monkeypatch.setattr(layers, 'convolve', lambda *args: seen.append(args[2]) or ours(*args))
    layers.ConvBlock(4, 1, strides=2).init(jax.random.key(0), jnp.ones((1, 4, 4, 3)), layers.Mode())
    assert seen == [2]

"""The convolution of the networks against XLA's: values, gradients, and what is lowered where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from dmsrl_jax.models import convolution, layers

STRIDES, PADDING, NUMBERS = (1, 1), ((1, 1), (1, 1)), ('NHWC', 'HWIO', 'NHWC')


def ours(x, kernel):
    return convolution.convolve3x3(x, kernel, STRIDES, PADDING, dimension_numbers=NUMBERS)


def plain(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, STRIDES, PADDING, dimension_numbers=NUMBERS)


def arrays(batch, height, width, channels, features, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    shapes = (batch, height, width, channels), (3, 3, channels, features)
    x, kernel = (jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes)
    return x, kernel, jnp.asarray(rng.normal(size=(batch, height, width, features)), dtype)


def gradients(convolve, x, kernel, g):
    return jax.jit(lambda x, kernel, g: jax.vjp(convolve, x, kernel)[1](g))(x, kernel, g)


# blocks of several rows; one row, as 37 is prime; a row longer than a block; patches of maps from
# one pixel on; then what XLA does on a CPU, too
SHAPES = [
    (2, 32, 32, 16, 8),
    (3, 37, 40, 17, 5),
    (1, 2, 601, 16, 3),
    (2, 4, 4, 16, 4),
    (3, 2, 2, 20, 5),
    (3, 1, 1, 16, 4),
    (2, 31, 32, 33, 4),
    (2, 11, 13, 32, 4),
    (2, 12, 12, 12, 4),
    (2, 24, 24, 12, 3),
    (2, 4, 5, 16, 4),
    (1, 40, 40, 3, 4),
]


@pytest.mark.parametrize('shape', SHAPES)
def test_values_and_gradients_are_those_of_lax(shape):
    x, kernel, g = arrays(*shape)
    expected = plain(x, kernel)
    np.testing.assert_allclose(
        jax.jit(ours)(x, kernel), expected, rtol=1e-6, atol=2e-6 * np.abs(expected).max()
    )
    for found, expected in zip(
        gradients(ours, x, kernel, g), gradients(plain, x, kernel, g), strict=True
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


def lowered(platform, side, channels=16):
    x, kernel, g = arrays(1, side, side, channels, 4)
    both = jax.jit(lambda x, kernel, g: (ours(x, kernel), jax.vjp(ours, x, kernel)[1](g)))
    return export.export(both, platforms=[platform])(x, kernel, g).mlir_module()


def test_a_cpu_takes_blocks_for_large_maps_and_patches_for_small_ones():
    assert 'stablehlo.while' in lowered('cpu', 32, 33)
    assert 'stablehlo.while' not in lowered('cpu', 31, 33)
    assert 'stablehlo.while' in lowered('cpu', 12, 32)
    assert 'stablehlo.while' not in lowered('cpu', 11, 32)
    assert 'stablehlo.dot_general' not in lowered('cpu', 11, 32)
    assert 'stablehlo.convolution' not in lowered('cpu', 4)


@pytest.mark.parametrize('side', [32, 16, 4])
def test_other_platforms_have_convolutions_only(side):
    program = lowered('cuda', side)
    # value, value once more for the gradients, gradients with respect to map and kernel
    assert program.count('stablehlo.convolution') in (3, 4)
    assert 'stablehlo.while' not in program
    assert 'stablehlo.dot_general' not in program


def test_it_is_what_3x3_layers_of_stride_1_use():
    assert layers.conv(4, name='c').conv_general_dilated is convolution.convolve3x3
    assert layers.conv(4, 1, name='c').conv_general_dilated is None
    assert layers.conv(4, strides=2, name='c').conv_general_dilated is None

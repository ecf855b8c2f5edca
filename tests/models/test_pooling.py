"""Pooling against values written down by hand and against loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dmsrl_jax.models import pooling


def column(values):
    return jnp.asarray(values, jnp.float32)[None, :, None, None]


class TestMaxPool:
    def test_golden(self):
        x = jnp.arange(16.0).reshape(1, 4, 4, 1).at[0, 0, 0, 0].set(99.0)
        np.testing.assert_array_equal(pooling.max_pool(x)[0, :, :, 0], [[99, 7], [13, 15]])

    def test_odd_last_row_and_column_are_left_out(self):
        x = jnp.arange(25.0).reshape(1, 5, 5, 1)
        np.testing.assert_array_equal(pooling.max_pool(x)[0, :, :, 0], [[6, 8], [16, 18]])

    def test_gradient_goes_to_the_maximum(self):
        x = jnp.asarray([[1.0, 4.0], [2.0, 3.0]])[None, :, :, None]
        gradient = jax.grad(lambda x: 5.0 * pooling.max_pool(x).sum())(x)
        np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 5], [0, 0]])

    @pytest.mark.parametrize(('height', 'width'), [(4, 6), (5, 7), (2, 3)])
    def test_gradients_are_those_of_flax(self, height, width):
        x = jax.random.normal(jax.random.key(0), (2, height, width, 3))
        found, towards_x = jax.vjp(pooling.max_pool, x)
        expected, towards_x_expected = jax.vjp(lambda x: nn.max_pool(x, (2, 2), strides=(2, 2)), x)
        np.testing.assert_array_equal(found, expected)
        g = jax.random.normal(jax.random.key(1), found.shape)
        np.testing.assert_array_equal(towards_x(g)[0], towards_x_expected(g)[0])

    @pytest.mark.parametrize(
        ('first', 'equal'), [((0, 0), (0, 1)), ((0, 1), (1, 0)), ((1, 0), (1, 1))]
    )
    def test_the_first_of_equal_maxima_gets_the_gradient(self, first, equal):
        x = jnp.zeros((1, 2, 2, 1)).at[0, *first, 0].set(3.0).at[0, *equal, 0].set(3.0)
        gradient = jax.grad(lambda x: 5.0 * pooling.max_pool(x).sum())(x)
        np.testing.assert_array_equal(gradient, jnp.zeros_like(x).at[0, *first, 0].set(5.0))

    def test_nan_is_the_maximum(self):
        x = jnp.asarray([[1.0, jnp.nan], [2.0, 3.0]])[None, :, :, None]
        assert jnp.isnan(pooling.max_pool(x)).all()


class TestOverlappingMaxPool:
    @pytest.mark.parametrize(('height', 'width'), [(6, 8), (7, 5), (1, 2)])
    def test_values_and_gradients_are_those_of_flax(self, height, width):
        x = jax.random.normal(jax.random.key(0), (2, height, width, 3))
        reference = partial(
            nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1))
        )
        found, towards_x = jax.vjp(pooling.overlapping_max_pool, x)
        expected, towards_x_expected = jax.vjp(reference, x)
        np.testing.assert_array_equal(found, expected)
        g = jax.random.normal(jax.random.key(1), found.shape)
        np.testing.assert_allclose(towards_x(g)[0], towards_x_expected(g)[0], rtol=1e-6)

    def test_no_padding_wins_over_negative_values(self):
        x = jnp.asarray([[-3.0, -1.0], [-4.0, -2.0]])[None, :, :, None]
        value, gradient = jax.value_and_grad(lambda x: pooling.overlapping_max_pool(x).sum())(x)
        assert value == -1.0
        np.testing.assert_array_equal(gradient[0, :, :, 0], [[0, 1], [0, 0]])

    def test_the_first_of_equal_maxima_gets_the_gradient(self):
        gradient = jax.grad(lambda x: pooling.overlapping_max_pool(x).sum())(jnp.ones((1, 4, 4, 1)))
        # windows begin in rows and columns -1 and 1; the border never wins
        np.testing.assert_array_equal(
            gradient[0, :, :, 0], [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
        )


class TestSpaceToDepth:
    def test_golden_order(self):
        x = jnp.arange(32.0).reshape(1, 4, 4, 2)
        y = pooling.space_to_depth(x)
        assert y.shape == (1, 2, 2, 8)
        np.testing.assert_array_equal(y[0, 0, 0], [0, 1, 2, 3, 8, 9, 10, 11])
        np.testing.assert_array_equal(y[0, 1, 1], [20, 21, 22, 23, 28, 29, 30, 31])

    def test_a_3x3_convolution_behind_it_is_a_6x6_one_of_stride_2(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(1, 8, 8, 3)).astype(np.float32)
        kernel = rng.normal(size=(3, 3, 12, 4)).astype(np.float32)
        numbers = ('NHWC', 'HWIO', 'NHWC')
        wide = kernel.reshape(3, 3, 2, 2, 3, 4).transpose(0, 2, 1, 3, 4, 5).reshape(6, 6, 3, 4)
        stacked = jax.lax.conv_general_dilated(
            pooling.space_to_depth(x), kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers
        )
        strided = jax.lax.conv_general_dilated(
            x, wide, (2, 2), ((2, 2), (2, 2)), dimension_numbers=numbers
        )
        np.testing.assert_allclose(stacked, strided, rtol=1e-4, atol=1e-4)


class TestAdaptiveAveragePool:
    @pytest.mark.parametrize(
        ('values', 'size', 'expected'),
        [
            ([1, 2, 3, 4], 2, [1.5, 3.5]),
            # bins 0..2, 1..4, 3..5 of five values overlap
            ([1, 2, 3, 4, 5], 3, [1.5, 3, 4.5]),
            # two values for three bins: the middle one covers both
            ([2, 8], 3, [2, 5, 8]),
            ([4], 3, [4, 4, 4]),
        ],
    )
    def test_bins_by_hand(self, values, size, expected):
        y = pooling.adaptive_average_pool(column(values), size)
        assert y.shape == (1, size, size, 1)
        for j in range(size):
            np.testing.assert_allclose(y[0, :, j, 0], expected, rtol=1e-6)

    def test_matches_a_loop_over_bins_on_an_oblong_map(self):
        x = np.random.default_rng(0).normal(size=(2, 10, 9, 3)).astype(np.float32)
        y = pooling.adaptive_average_pool(x, 7)
        bounds = lambda i, n: slice(i * n // 7, int(np.ceil((i + 1) * n / 7)))
        expected = np.zeros((2, 7, 7, 3))
        for i in range(7):
            for j in range(7):
                expected[:, i, j] = x[:, bounds(i, 10), bounds(j, 9)].mean((1, 2))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)

    def test_identity_at_the_wanted_size_and_dtype_kept(self):
        x = jnp.arange(98.0, dtype=jnp.bfloat16).reshape(1, 7, 7, 2)
        assert pooling.adaptive_average_pool(x, 7) is x
        assert pooling.adaptive_average_pool(x, 3).dtype == jnp.bfloat16

    def test_averages_a_constant_to_itself(self):
        y = pooling.adaptive_average_pool(jnp.full((1, 13, 11, 1), 0.25), 7)
        np.testing.assert_allclose(y, np.full((1, 7, 7, 1), 0.25), rtol=1e-6)

"""Multiply-adds counted by hand for small functions, and for networks from their widths."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarking import flops


def test_a_matrix_product_and_a_convolution_by_hand():
    def function(x, w, image, kernel):
        numbers = ('NHWC', 'HWIO', 'NHWC')
        strided = jax.lax.conv_general_dilated(
            image, kernel, (2, 2), 'SAME', dimension_numbers=numbers
        )
        return jax.jit(lambda a, b: jnp.tanh(a @ b) + 1)(x, w).sum() + strided.sum()

    arguments = jnp.ones((5, 7)), jnp.ones((7, 11)), jnp.ones((2, 6, 6, 3)), jnp.ones((3, 3, 3, 4))
    assert flops.count(function, *arguments) == 5 * 7 * 11 + (2 * 3 * 3 * 4) * (3 * 3 * 3)


def test_a_product_of_batches():
    assert (
        flops.count(
            lambda x, y: jnp.einsum('bij,bjk->bik', x, y), jnp.ones((2, 3, 4)), jnp.ones((2, 4, 5))
        )
        == 2 * 3 * 4 * 5
    )


def convolutions(size):
    """The thirteen of VGG-16, from its table."""
    total, channels = 0, 3
    for widths in ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3):
        for width in widths:
            total += size * size * 9 * channels * width
            channels = width
        size //= 2
    return total


@pytest.mark.parametrize('size', [224, 64])
def test_vgg16(size):
    dense = 25088 * 4096 + 4096 * 4096 + 4096 * 7
    expected = convolutions(size) + dense
    # Adaptive pooling from 2x2 to 7x7 is a product, too: not one in a thousand of the rest.
    assert flops.forward('vgg16', size) == pytest.approx(expected, rel=1e-3)
    if size == 224:
        assert flops.forward('vgg16', size) == expected
        assert expected == pytest.approx(15.47e9, rel=1e-3)


def test_local_branches_come_on_top():
    convolved = 5 * 5 * 9 * (512 * 256 + 256 * 128 + 128 * 64)
    branches = 4 * (convolved + 1600 * 512)
    wider = 4 * 512 * 4096
    difference = flops.forward('vgg16_multilevel', 224) - flops.forward('vgg16', 224)
    assert difference == branches + wider


def test_resnet50():
    # 4.1e9 is the figure of the literature for 224 pixels, with the stride on the 3x3
    assert flops.forward('resnet50_multilevel', 224) == pytest.approx(4.1e9, rel=0.02)


def test_training_takes_three_products_for_each_of_the_forward_pass():
    forward = flops.forward('tiny_multilevel', 48)
    assert flops.training('tiny_multilevel', 48, 10) == 10 * 3 * 2 * forward


def test_peak_is_that_of_the_quickest_row_of_products():
    ticks = iter([0.0, 3.0, 10.0, 10.5, 20.0, 21.0])
    found = flops.peak('float32', 8, rounds=3, clock=lambda: next(ticks))
    assert found == 8 * 2 * 8**3 / 0.5  # eight products in half a second

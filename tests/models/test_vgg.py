"""VGG-16: numbers with narrow dense layers, since 4096 x 25,088 weights are slow to draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import models
from dmsrl_jax.models.multilevel import Classifier
from dmsrl_jax.models.vgg import VGG16

NARROW = Classifier(VGG16(feature_dim=16, dropout=0.0))


@pytest.fixture(scope='module')
def variables():
    return jax.jit(NARROW.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def test_shapes_at_224():
    model = models.create('vgg16_multilevel')
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs = jax.eval_shape(model.apply, variables, images)
    backbone = variables['params']['backbone']
    assert outputs['map'].shape == (2, 7, 7, 512)
    assert outputs['local'].shape == (2, 4 * 512)
    assert outputs['global'].shape == (2, 25_088)
    assert backbone['fc1']['kernel'].shape == (27_136, 4096)
    assert backbone['top_left']['dense']['kernel'].shape == (1600, 512)
    assert sorted(key for key in backbone if key.startswith('block')) == sorted(
        f'block{i}' for i in range(13)
    )


def test_windows_and_pooling_at_other_sizes():
    model = models.create('vgg16_multilevel')
    images = jax.ShapeDtypeStruct((1, 320, 256, 3), jnp.float32)  # map 10x8, windows 8x6
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    outputs = jax.eval_shape(model.apply, variables, images)
    assert outputs['map'].shape == (1, 10, 8, 512)
    assert outputs['global'].shape == (1, 25_088)
    dense = variables['params']['backbone']['bottom_right']['dense']
    assert dense['kernel'].shape == (8 * 6 * 64, 512)


def test_initialisation(variables):
    backbone = variables['params']['backbone']
    kernel = np.asarray(backbone['block5']['conv']['kernel'])  # 256 -> 256
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / (9 * 256)), rtol=0.01)
    for dense in (backbone['fc1'], backbone['top_right']['dense']):
        np.testing.assert_allclose(np.std(dense['kernel']), 0.01, rtol=0.02)
        np.testing.assert_array_equal(dense['bias'], np.zeros_like(dense['bias']))
    assert 0.005 < np.std(variables['params']['head']['kernel']) < 0.015


def test_global_features_repeat_the_small_map(variables):
    """A 2x2 map pooled to 7x7: bins 0..3 x 0..3 see the corner pixel, the middle bins average."""
    outputs = jax.jit(NARROW.apply)(
        variables, jax.random.uniform(jax.random.key(1), (1, 64, 64, 3))
    )
    grid = np.asarray(outputs['global']).reshape(1, 7, 7, 512)
    np.testing.assert_allclose(grid[:, 0, 0], outputs['map'][:, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(grid[:, 2, 6], outputs['map'][:, 0, 1], rtol=1e-5)
    np.testing.assert_allclose(grid[:, 3, 3], outputs['map'].mean((1, 2)), rtol=1e-4, atol=1e-6)


def test_fused_pass_equals_two_passes(variables):
    x = jax.random.uniform(jax.random.key(1), (4, 64, 64, 3))
    x = x.at[2:].power(3.0)

    def train(variables, x, domains):
        return NARROW.apply(variables, x, train=True, domains=domains, mutable=['batch_stats'])

    train = jax.jit(train, static_argnums=2)
    fused, stats = train(variables, x, 2)
    out_s, middle = train(variables, x[:2], 1)
    out_t, last = train({**variables, **middle}, x[2:], 1)
    for name in ('map', 'local', 'features', 'logits'):
        both = np.concatenate([out_s[name], out_t[name]])
        np.testing.assert_allclose(fused[name], both, rtol=1e-3, atol=1e-4 * np.abs(both).max())
    for got, want in zip(jax.tree.leaves(stats), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)

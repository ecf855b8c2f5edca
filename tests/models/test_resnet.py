"""ResNet-50: strides, shapes, initialisation and the stacked levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import models
from dmsrl_jax.models.layers import Mode
from dmsrl_jax.models.resnet import Bottleneck

MODEL = models.create('resnet50_multilevel')


@pytest.fixture(scope='module')
def variables():
    return jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def test_shapes_at_224():
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    shapes = jax.eval_shape(MODEL.init, jax.random.key(0), images)
    outputs = jax.eval_shape(MODEL.apply, shapes, images)
    assert outputs['map'].shape == (2, 7, 7, 2048)
    assert outputs['pooled'].shape == (2, 2048)
    assert [level.shape for level in outputs['levels']] == [(2, 1024)] * 3
    trunk = {
        name: group
        for name, group in shapes['params']['backbone'].items()
        if not name.startswith('level')
    }
    assert sum(leaf.size for leaf in jax.tree.leaves(trunk)) == 23_508_032
    assert sum(name.startswith('layer') for name in trunk) == 16


def test_one_level_without_local():
    model = models.create('resnet50_multilevel', local=False)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    assert model.feature_dim == 1024
    assert 'level1' in shapes['params']['backbone']
    assert 'level2' not in shapes['params']['backbone']


def test_initialisation(variables):
    backbone = variables['params']['backbone']
    stem = np.asarray(backbone['stem']['conv']['kernel'])
    assert stem.shape == (7, 7, 3, 64)
    assert 'bias' not in backbone['stem']['conv']
    np.testing.assert_allclose(stem.std(), np.sqrt(2 / (49 * 64)), rtol=0.05)
    level = np.asarray(backbone['level1']['kernel'])
    np.testing.assert_allclose(level.std(), np.sqrt(2 / (2048 + 1024)), rtol=0.01)


def test_levels_are_stacked_and_linear(variables):
    x = jax.random.uniform(jax.random.key(1), (2, 64, 64, 3))
    outputs = jax.jit(MODEL.apply)(variables, x)
    backbone = variables['params']['backbone']
    level = np.asarray(outputs['pooled'])
    np.testing.assert_allclose(level, outputs['map'].mean((1, 2)), rtol=1e-5)
    for i in range(3):
        level = level @ np.asarray(backbone[f'level{i + 1}']['kernel'])
        tolerance = 1e-4 * np.abs(level).max()
        np.testing.assert_allclose(outputs['levels'][i], level, rtol=1e-3, atol=tolerance)
    joined = np.concatenate(outputs['levels'], axis=1)
    np.testing.assert_array_equal(outputs['features'], joined)


def test_bottleneck_puts_the_stride_on_the_3x3_convolution():
    block = Bottleneck(4, strides=2)
    x = jax.random.normal(jax.random.key(0), (1, 6, 6, 8))
    variables = block.init(jax.random.key(1), x, Mode())
    sides = {
        name: variables['params'][name]['conv']['kernel'].shape
        for name in ('block0', 'block1', 'block2', 'shortcut')
    }
    assert sides == {
        'block0': (1, 1, 8, 4),
        'block1': (3, 3, 4, 4),
        'block2': (1, 1, 4, 16),
        'shortcut': (1, 1, 8, 16),
    }
    y = block.apply(variables, x, Mode())
    assert y.shape == (1, 3, 3, 16)
    # Pixel (1, 1) is in no 1x1 window of stride 2; only the 3x3 convolution can carry it.
    moved = block.apply(variables, x.at[0, 1, 1].add(10.0), Mode())
    assert np.abs(moved - y)[0, :2, :2].max(axis=-1).min() > 0
    np.testing.assert_array_equal(moved[0, 2], y[0, 2])


def test_bottleneck_without_change_of_shape_adds_its_input():
    block = Bottleneck(2)
    x = jax.random.normal(jax.random.key(0), (1, 3, 3, 8))
    variables = block.init(jax.random.key(1), x, Mode())
    assert 'shortcut' not in variables['params']
    silent = jax.tree.map(jnp.zeros_like, variables['params'])
    y = block.apply({**variables, 'params': silent}, x, Mode())
    np.testing.assert_array_equal(y, np.maximum(x, 0))

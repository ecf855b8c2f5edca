"""One battery over every registered network, and the options of `create`."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import models
from dmsrl_jax.errors import InputError

NATIVE_SIZE = {'tiny_multilevel': 48}
# Counted by hand for 7 classes. vgg16: torchvision's 138,365,992 less the 1000-way head plus ours;
# vgg16_multilevel: + 4 branches of 2,369,344 and 2048 more rows of 4096 in the first dense layer;
# resnet50: trunk 23,508,032 + levels 4,197,376 + head 21,511.
PARAMETERS = {
    'resnet50_multilevel': 27_726_919,
    'tiny_multilevel': 1_113_415,
    'vgg16': 134_297_671,
    'vgg16_multilevel': 152_163_655,
}
BATCH_NORM_CHANNELS = {
    'resnet50_multilevel': 26_560,
    'tiny_multilevel': 32 + 32 + 64 + 96 + 4 * 16,
    'vgg16': 4_224,
    'vgg16_multilevel': 4_224 + 4 * (256 + 128 + 64),
}


def images(size, batch=4, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((batch, size, size, 3), dtype)


@functools.cache
def shapes(name, size=None, **options):
    """Shapes of variables and of outputs in training; computes nothing."""
    model = models.create(name, **options)
    size = size or NATIVE_SIZE.get(name, 224)
    variables = jax.eval_shape(model.init, jax.random.key(0), images(size))

    def train(variables, x, key):
        return model.apply(
            variables, x, train=True, domains=2, mutable=['batch_stats'], rngs={'dropout': key}
        )

    outputs, updated = jax.eval_shape(train, variables, images(size), jax.random.key(0))
    return model, variables, outputs, updated


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_names_are_sorted_and_complete():
    assert models.names() == ('resnet50_multilevel', 'tiny_multilevel', 'vgg16', 'vgg16_multilevel')


@pytest.mark.parametrize('name', models.names())
class TestEveryNetwork:
    def test_parameter_groups_and_counts(self, name):
        _, variables, _, updated = shapes(name)
        assert set(variables) == {'params', 'batch_stats'}
        assert set(variables['params']) == {'backbone', 'head'}
        assert set(variables['batch_stats']) == {'backbone'}
        assert count(variables['params']) == PARAMETERS[name]
        assert count(variables['batch_stats']) == 2 * BATCH_NORM_CHANNELS[name]
        assert jax.tree.structure(updated['batch_stats']) == jax.tree.structure(
            variables['batch_stats']
        )

    @pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
    def test_dtypes(self, name, dtype):
        model, variables, outputs, updated = shapes(name, dtype=dtype)
        assert {leaf.dtype.name for leaf in jax.tree.leaves((variables, updated))} == {'float32'}
        assert outputs['logits'].dtype == outputs['features'].dtype == jnp.float32
        assert outputs['map'].dtype == jnp.dtype(dtype)
        assert outputs['logits'].shape == (4, 7)
        assert outputs['features'].shape == (4, model.feature_dim)

    def test_other_sizes_and_class_counts(self, name):
        model, variables, outputs, _ = shapes(name, size=64, num_classes=3)
        assert outputs['logits'].shape == (4, 3)
        assert variables['params']['head']['kernel'].shape == (model.feature_dim, 3)

    def test_per_domain_statistics_have_two_rows(self, name):
        _, variables, _, _ = shapes(name, statistics='per_domain')
        assert {leaf.shape[0] for leaf in jax.tree.leaves(variables['batch_stats'])} == {2}
        assert count(variables['batch_stats']) == 4 * BATCH_NORM_CHANNELS[name]

    def test_without_local_branches(self, name):
        model, variables, outputs, _ = shapes(name, local=False)
        assert 'local' not in outputs
        assert outputs['features'].shape == (4, model.feature_dim)
        if name != 'vgg16':
            assert count(variables['params']) < PARAMETERS[name]

    def test_too_small_images(self, name):
        model = models.create(name)
        minimum = model.backbone.minimum_size
        jax.eval_shape(model.init, jax.random.key(0), images(minimum))
        message = f'{minimum - 1}x{minimum - 1} pixels are too small.*{minimum}x{minimum}'
        with pytest.raises(InputError, match=message):
            jax.eval_shape(model.init, jax.random.key(0), images(minimum - 1))

    def test_uint8_images(self, name):
        model = models.create(name)
        with pytest.raises(InputError, match='floating point'):
            jax.eval_shape(model.init, jax.random.key(0), images(64, dtype=jnp.uint8))


class TestOptions:
    def test_unknown_name_lists_all(self):
        with pytest.raises(InputError, match=re.escape(', '.join(models.names()))):
            models.create('vgg19')

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'widht': 3}, 'does not take widht; options: dtype, dropout, axis_name'),
            ({'feature_dim': 3}, 'does not take feature_dim'),
            ({'dtype': 'float16'}, "dtype must be one of float32, bfloat16, got 'float16'"),
            ({'dtype': jnp.float16}, 'dtype must be one of'),
            ({'dtype': 'half'}, "got 'half'"),
            ({'dropout': 1.0}, r'dropout must be in \[0, 1\), got 1.0'),
            ({'dropout': -0.1}, 'dropout must be'),
            (
                {'statistics': 'both'},
                "statistics must be one of shared, per_domain, joint, got 'both'",
            ),
            ({'num_classes': 1}, 'num_classes must be at least 2'),
        ],
    )
    def test_refuses(self, options, message):
        with pytest.raises(InputError, match=message):
            models.create('tiny_multilevel', **options)

    @pytest.mark.parametrize('dtype', ['bfloat16', jnp.bfloat16, np.dtype(jnp.bfloat16)])
    def test_dtype_by_name_or_type(self, dtype):
        assert models.create('vgg16', dtype=dtype).backbone.dtype == jnp.bfloat16

    def test_vgg16_is_the_multilevel_one_without_branches(self):
        plain, ablated = shapes('vgg16'), shapes('vgg16_multilevel', local=False)
        assert plain[1] == ablated[1]
        assert shapes('vgg16', local=True)[1] == plain[1]

    def test_equal_options_make_equal_modules(self):
        """Modules are static arguments of the step: equal ones must not compile it again."""
        first, again = (models.create('tiny_multilevel', dropout=0.2) for _ in range(2))
        assert first == again
        assert hash(first) == hash(again)
        assert first != models.create('tiny_multilevel')

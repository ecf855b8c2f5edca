"""Methods by name, their options, and what all of them have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import methods
from dmsrl_jax.errors import InputError
from dmsrl_jax.methods import base

CONTEXT = base.Context(
    labels_s=jnp.array([0, 2]), progress=jnp.asarray(0.5), step=jnp.asarray(1), key=None, state=()
)


def test_names_are_the_files_of_the_package():
    assert {'dmsrl', 'source_only'} <= set(methods.names())
    assert not {'base', 'pseudo_labels'} & set(methods.names())
    assert list(methods.names()) == sorted(methods.names())


@pytest.mark.parametrize('name', methods.names())
def test_every_method_is_one(name):
    method = methods.create(name, **methods.options(name))
    params = method.init(jax.random.key(0), 5, 7)
    assert method.phases
    assert set(method.updates()) == {'backbone', 'head', *params}
    assert methods.create(name).uses_target == method.uses_target


def test_updates_counts_the_phases_of_each_group():
    loss = base.SOURCE_PHASE.loss
    phases = (base.Phase(loss, ('backbone', 'head')), base.Phase(loss, ('backbone',)))
    method = base.Method(init=lambda key, dim, classes: {}, phases=phases)
    assert method.updates() == {'backbone': 2, 'head': 1}


def test_options_of_dmsrl():
    options = methods.options('dmsrl')
    assert {'alpha', 'beta', 'margin', 'cross_weight', 'pseudo_label'} <= set(options)
    assert methods.options('source_only') == {}


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('dsmrl', {}, "unknown method 'dsmrl'; there are: .*dmsrl, .*source_only"),
        ('base', {}, "unknown method 'base'"),
        ('dmsrl', {'alhpa': 1.0}, "'dmsrl' has no option alhpa; it has: .*alpha"),
        ('source_only', {'alpha': 1.0}, "'source_only' has no option alpha; it has: none"),
        ('dmsrl', {'alpha': -0.1}, r'dmsrl.alpha must be >= 0, got -0.1'),
        ('dmsrl', {'margin': -1}, r'dmsrl.margin must be >= 0'),
        ('dmsrl', {'beta': float('nan')}, r'dmsrl.beta must be >= 0, got nan'),
        ('dmsrl', {'threshold': 90}, r'threshold must be in \[0, 1\] and rate.*got 90'),
        ('dmsrl', {'ema_rate': 0.0}, r'dmsrl.ema_rate must be in \(0, 1\], got 0.0'),
        ('dmsrl', {'hidden': 0}, 'dmsrl.hidden must be at least 1, got 0'),
        ('dmsrl', {'centers': 'both'}, "centers must be one of separate, common, got 'both'"),
        ('dmsrl', {'mutual_information': 'dv'}, 'must be one of mine, adversarial, none'),
        ('dmsrl', {'pseudo_label': 'soft'}, 'must be one of argmax, threshold, nearest_center'),
        (
            'dmsrl',
            {'pseudo_label': 'nearest_center', 'use_margin': False},
            'nearest_center needs dmsrl.use_margin=True',
        ),
    ],
)
def test_mistakes(name, options, message):
    with pytest.raises(InputError, match=message):
        methods.create(name, **options)


def test_unknown_method_has_no_options():
    with pytest.raises(InputError, match="unknown method 'x'"):
        methods.options('x')


def test_source_only_is_the_cross_entropy_of_source():
    method = methods.create('source_only')
    assert not method.uses_target
    assert not method.uses_teacher
    assert method.pseudo_labels is None
    logits = jnp.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    (phase,) = method.phases
    loss, (metrics, state) = phase.loss({}, {'source': {'logits': logits}}, CONTEXT)
    # (ln 3 + ln(e^-2 + e^-1 + 1)) / 2
    assert float(loss) == pytest.approx((1.0986123 + 0.4076060) / 2, rel=1e-6)
    assert metrics == {'classification': loss}
    assert state == ()
    assert phase.groups == ('backbone', 'head')
    assert method.init(jax.random.key(0), 5, 3) == {}


def test_cross_entropy_of_large_and_of_half_precision_logits():
    logits = jnp.array([[1e4, 0.0], [0.0, -1e4]])
    assert float(base.cross_entropy(logits, jnp.array([0, 0]))) == 0.0
    assert float(base.cross_entropy(logits, jnp.array([1, 1]))) == pytest.approx(1e4)
    half = base.cross_entropy(jnp.zeros((4, 8), jnp.bfloat16), jnp.zeros(4, jnp.int32))
    assert half.dtype == jnp.float32
    assert float(half) == pytest.approx(np.log(8), rel=1e-6)

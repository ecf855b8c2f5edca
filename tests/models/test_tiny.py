"""The tiny network with numbers: two domains, devices, dtypes, gradients, learning."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, PartitionSpec

from dmsrl_jax import models

SIZE = 32  # maps of 4x4, windows of 3x3: a quarter of the work at 48


def pictures(seed, count):
    return jax.random.uniform(jax.random.key(seed), (count, SIZE, SIZE, 3))


@pytest.fixture(scope='module')
def variables():
    model = models.create('tiny_multilevel')
    return jax.jit(model.init)(jax.random.key(0), pictures(0, 2))


def test_dense_layers_start_xavier_normal(variables):
    params = variables['params']
    kernels = [params['backbone']['fc']['kernel'], params['head']['kernel']]
    for kernel, tolerance in zip(kernels, (0.02, 0.1), strict=True):
        assert float(kernel.std()) == pytest.approx(np.sqrt(2 / sum(kernel.shape)), rel=tolerance)


@partial(jax.jit, static_argnames=('model', 'domains', 'domain'))
def forward_backward(variables, x, weights, *, model, domains=1, domain=None):
    """Outputs, new statistics and the gradient of sum(weights * logits)."""

    def loss(params):
        outputs, updated = model.apply(
            {**variables, 'params': params},
            x,
            train=True,
            domains=domains,
            domain=domain,
            mutable=['batch_stats'],
            rngs={'dropout': jax.random.key(7)},
        )
        return (weights * outputs['logits']).sum(), (outputs, updated['batch_stats'])

    grads, (outputs, stats) = jax.grad(loss, has_aux=True)(variables['params'])
    return outputs, stats, grads


@partial(jax.jit, static_argnames='model')
def evaluate(variables, x, domain=None, *, model):
    return model.apply(variables, x, domain=domain)


def assert_close(tree, expected, *, rtol=1e-4, scaled=1e-5):
    """Leaves agree to rtol, to `scaled` of the leaf's largest value or 1e-6 of the tree's.

    The last is for gradients that vanish, as those of a bias in front of BatchNorm.
    """
    top = max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected))
    for got, want in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        atol = max(scaled * np.abs(want).max(), 1e-6 * top)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def weights(count):
    return jax.random.normal(jax.random.key(5), (count, 7))


def test_fused_pass_equals_two_passes_with_statistics_and_gradients(variables):
    model = models.create('tiny_multilevel', dropout=0.0)
    x_s, x_t, w = pictures(1, 4), pictures(2, 4) ** 2, weights(8)
    fused, stats, grads = forward_backward(
        variables, jnp.concatenate([x_s, x_t]), w, model=model, domains=2
    )
    out_s, middle, grads_s = forward_backward(variables, x_s, w[:4], model=model)
    after_s = {**variables, 'batch_stats': middle}
    out_t, last, grads_t = forward_backward(after_s, x_t, w[4:], model=model)
    joined = jax.tree.map(lambda s, t: jnp.concatenate([s, t]), out_s, out_t)
    assert_close(fused, joined)
    assert_close(stats, last)
    assert_close(grads, jax.tree.map(jnp.add, grads_s, grads_t), rtol=1e-3, scaled=1e-4)


def test_four_devices_equal_one_with_dropout(variables):
    """Outputs, statistics and gradients: synchronised BatchNorm, masks by global position."""
    x, w = jnp.concatenate([pictures(1, 8), pictures(2, 8) ** 2]), weights(16)
    alone = models.create('tiny_multilevel')
    outputs, stats, grads = forward_backward(variables, x, w, model=alone, domains=2)

    model = models.create('tiny_multilevel', axis_name='data')
    folded = lambda a: a.reshape(2, -1, *a.shape[1:])
    flat = lambda a: a.reshape(-1, *a.shape[2:])

    def local(variables, x, w):
        outputs, stats, grads = forward_backward(
            variables, flat(x), flat(w), model=model, domains=2
        )
        return folded(outputs['logits']), stats, jax.lax.psum(grads, 'data')

    mesh = Mesh(np.array(jax.devices()[:4]), ('data',))
    split, whole = PartitionSpec(None, 'data'), PartitionSpec()
    mapped = jax.jit(
        jax.shard_map(
            local,
            mesh=mesh,
            in_specs=(whole, split, split),
            out_specs=(split, whole, whole),
            check_vma=False,
        )
    )
    logits, stats_devices, grads_devices = mapped(variables, folded(x), folded(w))
    assert_close(flat(logits), outputs['logits'])
    assert_close(stats_devices, stats)
    assert_close(grads_devices, grads, rtol=1e-3, scaled=1e-4)


def test_intermediates_are_joined_into_the_features(variables):
    model = models.create('tiny_multilevel')
    outputs = evaluate(variables, pictures(3, 2), model=model)
    params = variables['params']
    assert outputs['map'].shape == (2, 4, 4, 96)
    assert outputs['local'].shape == (2, 4 * 32)
    np.testing.assert_array_equal(outputs['global'], outputs['map'].reshape(2, -1))
    joined = jnp.concatenate([outputs['local'], outputs['global']], axis=1)
    backbone = params['backbone']
    hidden = joined @ backbone['fc']['kernel']
    spread = np.sqrt(hidden.var(axis=1, keepdims=True) + 1e-5)
    features = np.maximum((hidden - hidden.mean(axis=1, keepdims=True)) / spread, 0)
    np.testing.assert_allclose(outputs['features'], features, rtol=1e-4, atol=1e-5)
    logits = outputs['features'] @ params['head']['kernel'] + params['head']['bias'][None]
    np.testing.assert_allclose(outputs['logits'], logits, rtol=1e-4, atol=1e-5)


def test_bfloat16_follows_float32(variables):
    x = pictures(4, 4)
    exact = evaluate(variables, x, model=models.create('tiny_multilevel'))
    rough = evaluate(variables, x, model=models.create('tiny_multilevel', dtype='bfloat16'))
    scale = np.abs(exact['features']).max()
    difference = np.abs(exact['features'] - rough['features']).max() / scale
    assert 0 < difference < 0.05  # 8 bits of mantissa through five layers


def test_per_domain_evaluation_follows_the_domain(variables):
    shared = models.create('tiny_multilevel')
    model = models.create('tiny_multilevel', statistics='per_domain')
    x, stats = pictures(1, 4), variables['batch_stats']
    other = jax.tree.map(lambda row: 2.0 * row + 0.3, stats)
    rows = jax.tree.map(lambda source, target: jnp.stack([source, target]), stats, other)
    adapted = {**variables, 'batch_stats': rows}
    source, target, default = (
        evaluate(adapted, x, domain, model=model)['logits'] for domain in (0, 1, None)
    )
    np.testing.assert_allclose(default, target, rtol=1e-5, atol=1e-6)
    for logits, row in ((source, stats), (target, other)):
        want = evaluate({**variables, 'batch_stats': row}, x, model=shared)['logits']
        np.testing.assert_allclose(logits, want, rtol=1e-4, atol=1e-5)
    assert np.abs(source - target).max() > 1e-3


def test_learns_eight_pictures_by_heart(variables):
    model = models.create('tiny_multilevel', dropout=0.1)
    x, labels = pictures(6, 8), jnp.arange(8) % 7
    tx = optax.sgd(0.02, momentum=0.9)

    @jax.jit
    def step(carry, key):
        params, stats, opt_state = carry

        def loss_fn(params):
            outputs, updated = model.apply(
                {'params': params, 'batch_stats': stats},
                x,
                train=True,
                mutable=['batch_stats'],
                rngs={'dropout': key},
            )
            losses = optax.softmax_cross_entropy_with_integer_labels(outputs['logits'], labels)
            return losses.mean(), updated['batch_stats']

        (loss, stats), grads = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), stats, opt_state), loss

    carry = (variables['params'], variables['batch_stats'], tx.init(variables['params']))
    history = []
    for key in jax.random.split(jax.random.key(0), 40):
        carry, loss = step(carry, key)
        history.append(float(loss))
    assert history[0] > 1.0
    assert history[-1] < 0.1

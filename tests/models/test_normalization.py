"""Normalisation against what JAX derives from its formula: values, gradients, devices, passes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from dmsrl_jax.models import normalization
from dmsrl_jax.models.normalization import How, Moments

HOWS = [
    How(),
    How(relu=True),
    How(domains=2, relu=True, epsilon=0.1),
    How(domains=2, joint=True, relu=True),
    How(domains=1, joint=True),
]


def arrays(*shape, seed=0):
    """Two domains that differ, scale and bias of both signs, a gradient."""
    rng = np.random.default_rng(seed)
    x = rng.normal(1.0, 2.0, shape)
    x[shape[0] // 2 :] = 3.0 * x[shape[0] // 2 :] - 5.0
    scale, bias = rng.normal(size=(2, shape[-1]))
    return (np.float32(a) for a in (x, scale, bias, rng.normal(size=shape)))


def written_out(x, scale, bias, how):
    """The formula in two passes, with nothing of ours but its definition."""
    rows = how.domains if not how.joint else 1
    groups = x.reshape(rows, -1, x.shape[-1])
    mean, var = groups.mean(1, keepdims=True), groups.var(1, keepdims=True)
    y = (groups - mean) / jnp.sqrt(var + how.epsilon) * scale[None, None] + bias[None, None]
    count = groups.shape[1]
    seen = Moments(mean[:, 0], var[:, 0] * count / (count - 1))
    return (jnp.maximum(y, 0.0) if how.relu else y).reshape(x.shape), seen


@pytest.mark.parametrize('how', HOWS)
def test_values_and_gradients_are_those_of_the_formula(how):
    x, scale, bias, g = arrays(6, 3, 2, 5)
    with jax.enable_x64(True):
        exact = [jnp.asarray(a, jnp.float64) for a in (x, scale, bias, g)]
        expected, pull, seen = jax.vjp(partial(written_out, how=how), *exact[:3], has_aux=True)
        expected_gradients = pull(exact[3])
    y, pull, moments = jax.vjp(
        lambda *a: normalization.normalize(*a, how), x, scale, bias, has_aux=True
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), moments, seen)
    for found, wanted in zip(pull(g), expected_gradients, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


def test_moments_keep_their_digits_where_the_border_is_unlike_the_rest():
    x = np.random.default_rng(0).normal(1000.0, 0.1, (4, 64, 64, 2)).astype(np.float32)
    x[0, 0, 0] = -1000.0
    exact = x.astype(np.float64).reshape(2, -1, 2)
    moments, count = normalization.batch_moments(jnp.asarray(x), 2, None)
    assert count == 2 * 64 * 64
    np.testing.assert_allclose(moments.mean, exact.mean(1), rtol=1e-6)
    np.testing.assert_allclose(moments.var, exact.var(1), rtol=1e-4)


def test_statistics_take_no_gradient():
    x, scale, bias, _ = arrays(4, 3, 2, 5)
    seen = lambda x: sum(a.sum() for a in normalization.normalize(x, scale, bias, How())[1])
    np.testing.assert_array_equal(jax.grad(seen)(x), np.zeros_like(x))


def test_a_constant_channel_becomes_its_bias():
    x = jnp.full((2, 3, 3, 2), jnp.asarray([7.1, -1e6]))
    bias = jnp.asarray([0.5, -0.5])
    y, pull, moments = jax.vjp(
        lambda x: normalization.normalize(x, jnp.ones(2), bias, How()), x, has_aux=True
    )
    np.testing.assert_array_equal(y, jnp.broadcast_to(bias, x.shape))
    np.testing.assert_array_equal(moments.var, np.zeros((1, 2)))
    np.testing.assert_allclose(pull(jnp.ones_like(x))[0], np.zeros(x.shape), atol=1e-3)


@pytest.mark.parametrize('how', HOWS[:4])
def test_four_devices_equal_one(how):
    x, scale, bias, g = arrays(16, 3, 2, 5)
    x[:4] += 100.0  # each device has another mean
    across = how._replace(axis_name='data')

    def gradients(x, g, how):
        y, pull, moments = jax.vjp(
            lambda *a: normalization.normalize(*a, how), x, scale, bias, has_aux=True
        )
        return y, moments, pull(g)

    def local(x, g):
        flat = lambda a: a.reshape(-1, *a.shape[2:])
        y, moments, (to_x, to_scale, to_bias) = gradients(flat(x), flat(g), across)
        total = jax.lax.psum((to_scale, to_bias), 'data')
        return y.reshape(x.shape), to_x.reshape(x.shape), (moments, total)

    mesh, spec = Mesh(np.array(jax.devices()[:4]), ('data',)), PartitionSpec(None, 'data')
    mapped = jax.jit(
        jax.shard_map(
            local,
            mesh=mesh,
            in_specs=spec,
            out_specs=(spec, spec, PartitionSpec()),
            check_vma=False,
        )
    )
    split = lambda a: a.reshape(how.domains, -1, *a.shape[1:])
    y, to_x, (moments, total) = mapped(split(x), split(g))
    expected, seen, (wanted, *sums) = gradients(x, g, how)
    np.testing.assert_allclose(y.reshape(x.shape), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(to_x.reshape(x.shape), wanted, rtol=1e-4, atol=1e-5)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), moments, seen)
    for found, one in zip(total, sums, strict=True):
        np.testing.assert_allclose(found, one, rtol=1e-4, atol=1e-4)


def test_bfloat16_is_computed_in_float32():
    x, scale, bias, g = arrays(64, 8, 8, 3)
    how = How(domains=2, relu=True)
    low = [jnp.asarray(a, jnp.bfloat16) for a in (x, g)]
    y, pull, moments = jax.vjp(
        lambda x: normalization.normalize(x, scale, bias, how), low[0], has_aux=True
    )
    x, g = (a.astype(jnp.float32) for a in low)
    expected, wanted, seen = jax.vjp(
        lambda x: normalization.normalize(x, scale, bias, how), x, has_aux=True
    )
    assert y.dtype == pull(low[1])[0].dtype == jnp.bfloat16
    jax.tree.map(np.testing.assert_array_equal, moments, seen)
    np.testing.assert_array_equal(y, expected.astype(jnp.bfloat16))
    np.testing.assert_array_equal(pull(low[1])[0], wanted(g)[0].astype(jnp.bfloat16))


def test_nan_is_not_hidden_by_the_relu():
    x, scale, bias, g = arrays(4, 3, 2, 5)
    x[0, 0, 0, 0] = np.nan
    y, pull, _ = jax.vjp(
        lambda x: normalization.normalize(x, scale, bias, How(relu=True)), x, has_aux=True
    )
    assert np.isnan(y[..., 0]).all()
    assert np.isnan(pull(g)[0][..., 0]).all()
    assert np.isfinite(y[..., 1:]).all()

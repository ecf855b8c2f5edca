import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from dmsrl_jax.losses import score_networks


def _make(kind, categorical=False):
    params = score_networks.init(
        jax.random.key(0),
        kind=kind,
        dim_x=3,
        dim_y=2,
        hidden=(8, 6),
        embedding=4,
        categorical=categorical,
    )
    score = {
        'separable': score_networks.separable,
        'joint': score_networks.joint,
        'density': functools.partial(score_networks.log_density, categorical=categorical),
    }[kind]
    return functools.partial(score, params), params


@pytest.mark.parametrize(
    ('kind', 'categorical'), [*((k, False) for k in score_networks.KINDS), ('density', True)]
)
def test_all_pairs_equal_pair_by_pair(kind, categorical):
    score, _ = _make(kind, categorical)
    x = jax.random.normal(jax.random.key(1), (5, 3))
    y = jax.random.normal(jax.random.key(2), (5, 2))
    y = jnp.eye(2)[jnp.array([0, 1, 1, 0, 1])] if categorical else y
    matrix = score(x, y, pairs=True)
    assert matrix.shape == (5, 5)
    rows, columns = np.divmod(np.arange(25), 5)
    singles = score(x[rows], y[columns], pairs=False).reshape(5, 5)
    np.testing.assert_allclose(matrix, singles, rtol=1e-4, atol=1e-6)


def test_joint_network_is_an_mlp_on_the_concatenation():
    _, ((of_x, of_y, bias), rest) = _make('joint')
    assert not bias.any()
    bias = np.linspace(-2, 2, 8)[None]
    score = functools.partial(score_networks.joint, ([of_x, of_y, bias], rest))
    x, y = np.ones((1, 3)), np.array([[0.5, -2.0]])
    units = np.concatenate([x, y], axis=1) @ np.concatenate([of_x, of_y])
    units = np.maximum(units + bias, 0)
    for weight, bias in rest[:-1]:
        units = np.maximum(units @ weight + bias, 0)
    expected = units @ rest[-1][0] + rest[-1][1]
    np.testing.assert_allclose(score(x, y, pairs=False), expected[:, 0], rtol=1e-5)


def test_gaussian_density_is_scipys():
    score, params = _make('density')
    x, y = np.array([[0.3, -1.0, 2.0]]), np.array([[0.5, -2.0]])
    units = x
    for weight, bias in params[:-1]:
        units = np.maximum(units @ weight + bias, 0)
    mean, spread = np.split(np.asarray(units @ params[-1][0] + params[-1][1])[0], 2)
    scale = np.exp(5 * np.tanh(spread / 10))
    expected = stats.norm.logpdf(y[0], mean, scale).sum()
    assert float(score(x, y, pairs=False)[0]) == pytest.approx(expected, rel=1e-4)


def test_categorical_density_is_a_distribution():
    score, _ = _make('density', categorical=True)
    x = jax.random.normal(jax.random.key(1), (2, 3))
    np.testing.assert_allclose(jnp.exp(score(x, jnp.eye(2), pairs=True)).sum(axis=1), 1, rtol=1e-5)


def test_off_diagonal_goes_row_by_row():
    scores = jnp.arange(9).reshape(3, 3)
    np.testing.assert_array_equal(score_networks.off_diagonal(scores), [1, 2, 3, 5, 6, 7])


def test_the_joint_network_starts_he_normal_in_both_variables_together():
    (of_x, of_y, _), _ = score_networks.init(
        jax.random.key(0),
        kind='joint',
        dim_x=300,
        dim_y=100,
        hidden=(200,),
        embedding=1,
        categorical=False,
    )
    for half in (of_x, of_y):
        assert float(half.std()) == pytest.approx(math.sqrt(2 / 400), rel=0.02)


def test_the_separable_network_draws_its_halves_apart():
    (g, *_), (h, *_) = score_networks.init(
        jax.random.key(0),
        kind='separable',
        dim_x=3,
        dim_y=3,
        hidden=(8,),
        embedding=4,
        categorical=False,
    )
    assert np.abs(g[0] - h[0]).min() > 1e-4


def test_dense_layers_start_he_normal_with_zero_bias():
    params = score_networks.init(
        jax.random.key(0),
        kind='density',
        dim_x=200,
        dim_y=1,
        hidden=(300,),
        embedding=1,
        categorical=False,
    )
    weight, bias = params[0]
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / 200), rel=0.02)
    np.testing.assert_array_equal(bias, 0)
    assert params[1][0].shape == (300, 2)

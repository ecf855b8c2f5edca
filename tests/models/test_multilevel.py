"""Corner windows and local branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax.models.layers import Mode, xavier_normal
from dmsrl_jax.models.multilevel import CORNERS, LocalBranch, corner_windows, window_side


@pytest.mark.parametrize(
    ('length', 'side'), [(1, 1), (2, 2), (3, 3), (4, 3), (6, 5), (7, 5), (8, 6), (14, 10)]
)
def test_window_side_is_five_sevenths_rounded_up(length, side):
    assert window_side(length) == side


def test_golden_windows_of_a_7x7_map():
    x = jnp.arange(49.0).reshape(1, 7, 7, 1)
    grid = np.arange(49.0).reshape(7, 7)
    expected = [grid[0:5, 0:5], grid[0:5, 2:7], grid[2:7, 0:5], grid[2:7, 2:7]]
    for window, values in zip(corner_windows(x), expected, strict=True):
        assert window.shape == (1, 5, 5, 1)
        np.testing.assert_array_equal(window[0, :, :, 0], values)
    assert CORNERS == ('top_left', 'top_right', 'bottom_left', 'bottom_right')


def test_windows_scale_with_an_oblong_map():
    x = jnp.arange(24.0).reshape(1, 4, 6, 1)
    windows = corner_windows(x)
    assert [w.shape for w in windows] == [(1, 3, 5, 1)] * 4
    assert [float(w[0, 0, 0, 0]) for w in windows] == [0, 1, 6, 7]
    assert [float(w[0, -1, -1, 0]) for w in windows] == [16, 17, 22, 23]


def test_local_branch_is_linear_behind_its_blocks():
    branch = LocalBranch((6, 4), 8, xavier_normal)
    window = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
    variables = branch.init(jax.random.key(1), window, Mode())
    params = variables['params']
    assert params['block0']['conv']['kernel'].shape == (3, 3, 3, 6)
    assert params['block1']['conv']['kernel'].shape == (3, 3, 6, 4)
    assert params['dense']['kernel'].shape == (5 * 5 * 4, 8)
    y = branch.apply(variables, window, Mode())
    assert y.shape == (2, 8)
    assert (np.asarray(y) < 0).any()  # no activation behind the dense layer
    doubled = {**params, 'dense': {**params['dense'], 'kernel': 2 * params['dense']['kernel']}}
    twice = branch.apply({**variables, 'params': doubled}, window, Mode())
    np.testing.assert_allclose(twice, 2 * y, rtol=1e-5, atol=1e-6)

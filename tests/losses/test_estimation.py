import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import losses
from dmsrl_jax.errors import InputError

# Nearly all tests use one shape and one number of steps, and so one compilation per bound.
SMALL = {
    'steps': 1000,
    'batch_size': 64,
    'hidden': (32,),
    'embedding': 16,
    'learning_rate': 3e-3,
}


def _gaussians(seed, rho):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(4000, 1))
    return x, rho * x + math.sqrt(1 - rho**2) * rng.normal(size=(4000, 1))


def _domains(seed=2):
    """Two domains that a line separates; the last column is constant."""
    rng = np.random.default_rng(seed)
    domain = rng.integers(0, 2, 4000)
    features = rng.normal(size=(4000, 2)) + 8 * domain[:, None]
    return np.concatenate([features, np.ones((4000, 1))], axis=1), domain


def _estimate(x, y, seed=0, **options):
    return losses.estimate_mutual_information(jax.random.key(seed), x, y, **SMALL | options)


class TestKnownAnswers:
    # I = 0.5 nats at rho = 0.795; CLUB's optimum there is rho^2 / (1 - rho^2) = 1.72.
    @pytest.mark.parametrize('bound', losses.BOUNDS)
    def test_correlated_and_independent_gaussians(self, bound):
        result = _estimate(*_gaussians(0, 0.795), bound=bound)
        expected = 1.72 if bound == 'club' else 0.5
        assert float(result.estimate) == pytest.approx(expected, rel=0.25)
        assert result.history.shape == (1000,)
        assert result.batches.shape == (1000 // 64,)
        gain = result.history[-50:].mean() - result.history[0]
        assert float(gain) > 0.2
        independent = _estimate(*_gaussians(1, 0.0), bound=bound).estimate
        assert float(independent) == pytest.approx(0, abs=0.1)

    @pytest.mark.parametrize(('bound', 'lowest'), [('nwj', -1e4), ('mine', -50)])
    def test_a_critic_that_overshoots_at_first_comes_back(self, bound, lowest):
        # One column and the default widths: scores of 100 and more after the first step.
        x, y = _gaussians(0, 0.795)
        result = losses.estimate_mutual_information(jax.random.key(0), x, y, bound=bound, steps=300)
        assert bool(jnp.isfinite(result.history).all())
        assert float(result.history.min()) < lowest
        assert float(result.estimate) == pytest.approx(0.5, abs=0.15)

    @pytest.mark.parametrize('bound', ['dv', 'barber_agakov'])
    def test_separable_domains_give_ln2(self, bound):
        result = _estimate(*_domains(), bound=bound)
        assert float(result.estimate) == pytest.approx(math.log(2), abs=0.04)
        assert bool(jnp.isfinite(result.history).all())

    def test_joint_critic_with_shuffled_pairs(self):
        options = {'critic': 'joint', 'marginal': 'shuffle', 'batch_size': 256}
        value = float(_estimate(*_gaussians(3, 0.795), **options).estimate)
        assert value == pytest.approx(0.5, abs=0.125)

    def test_entropy_replaces_that_of_the_data(self):
        x, y = _gaussians(4, 0.795)
        given = 0.5 * math.log(2 * math.pi * math.e * 9)
        call = lambda entropy: float(
            _estimate(x, 3 * y, bound='barber_agakov', entropy=entropy).estimate
        )
        assert call(given) == pytest.approx(call(None), abs=0.08)
        assert call(given + 1) == pytest.approx(call(given) + 1, abs=1e-4)


class TestWhatGoesIn:
    def test_memorised_samples_are_not_reported(self):
        # 64 samples of 8 columns to train on, no dependence: the critic learns them by heart.
        x, y = np.random.default_rng(5).normal(size=(2, 640, 8))
        result = _estimate(x, y, held_out=0.9)
        assert float(result.history[-20:].mean()) > 1
        assert float(result.estimate) < 0.1

    def test_held_out_samples_change_nothing_in_training(self):
        x, y = _gaussians(9, 0.5)
        x, y = x[:32], y[:32]
        run = lambda x: np.asarray(_estimate(x, y, steps=3, batch_size=8, held_out=0.5).history)
        far = 50 * np.eye(32)[:, :, None]  # sample i moved far away, each in turn
        same = [np.array_equal(run(x + shift), run(x)) for shift in far]
        assert sum(same) == 16

    def test_the_estimate_is_of_all_held_out_pairs_at_once(self):
        found = _estimate(*_gaussians(0, 0.795))
        # The mean of log-mean-exps of parts is below that of the whole (Jensen).
        assert float(found.batches.mean() - found.estimate) > 1e-4

    def test_same_key_same_answer(self):
        x, y = _gaussians(6, 0.5)
        first, again = (_estimate(x, y, seed=7) for _ in range(2))
        jax.tree.map(np.testing.assert_array_equal, first, again)
        assert float(_estimate(x, y, seed=8).estimate) != float(first.estimate)

    def test_units_of_the_variables_do_not_matter(self):
        x, y = _gaussians(6, 0.5)
        plain = _estimate(x, y)
        moved = _estimate(1000 * x - 5, 0.01 * y + 3)
        np.testing.assert_allclose(moved.estimate, plain.estimate, atol=0.01)

    def test_codes_floats_columns_and_one_hot_rows_are_the_same_categories(self):
        x, domain = _domains()
        ways = [domain, domain.astype(np.float32), domain[:, None], 5 * domain, np.eye(2)[domain]]
        values = [float(_estimate(x, y, bound='barber_agakov').estimate) for y in ways]
        np.testing.assert_allclose(values, values[0], rtol=1e-4)


class TestErrors:
    def test_unknown_bound_names_all_bounds(self):
        with pytest.raises(ValueError, match='dv, mine, nwj, js, smile, infonce, club, barber_ag'):
            _estimate(jnp.zeros((8, 1)), jnp.zeros((8, 1)), bound='nce')

    @pytest.mark.parametrize(
        ('shape_x', 'shape_y'), [((8, 1), (7, 1)), ((8, 1, 1), (8, 1)), ((), (8, 1))]
    )
    def test_arrays_that_do_not_fit(self, shape_x, shape_y):
        with pytest.raises(InputError, match='same N'):
            _estimate(jnp.zeros(shape_x), jnp.zeros(shape_y))

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ({'critic': 'deep'}, 'separable, joint'),
            ({'marginal': 'none'}, 'all, shuffle'),
            ({'steps': 0}, 'steps must be >= 1'),
            ({'batch_size': 1}, 'batch_size >= 2'),
            ({'held_out': 1.0}, r'held_out in \(0, 1\)'),
            ({'hidden': ()}, 'hidden positive widths'),
            ({'hidden': (4, 0)}, r'hidden positive widths.*\(4, 0\)'),
            (
                {'learning_rate': float('nan')},
                'learning_rate and tau must be positive numbers.*got nan',
            ),
            ({'held_out': 0.1}, 'give more samples'),
            ({'bound': 'mine', 'ema_rate': 5.0}, r'ema_rate in \(0, 1\]; got .*5\.0'),
            ({'bound': 'mine', 'ema_rate': 0.0}, r'ema_rate in \(0, 1\]'),
            ({'bound': 'smile', 'tau': -1.0}, 'tau must be positive'),
            ({'embedding': 0}, 'embedding must be at least 1, got 0'),
        ],
    )
    def test_options_out_of_range(self, options, message):
        with pytest.raises(InputError, match=message):
            _estimate(jnp.zeros((8, 1)), jnp.zeros((8, 1)), **options)

    def test_samples_must_be_finite(self):
        with pytest.raises(InputError, match='finite'):
            _estimate(jnp.zeros((8, 1)).at[3].set(jnp.nan), jnp.zeros((8, 1)))

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dmsrl_jax import losses

SCORE_BOUNDS = [b for b in losses.BOUNDS if b != 'infonce']
LOWER = ['dv', 'mine', 'nwj', 'js', 'smile', 'infonce']


def _scores(seed=0, n=5, m=20):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n).astype(np.float32), rng.normal(size=m).astype(np.float32)


def _loop(joint, marginal, bound, tau=5.0):
    """Plain float64 sums of the docstring's formulas."""
    n, m = len(joint), len(marginal)
    mean_joint = sum(map(float, joint)) / n
    if bound == 'infonce':
        terms = []
        for i, score in enumerate(joint):
            row = [math.exp(score)] + [math.exp(t) for t in marginal[i * m // n : (i + 1) * m // n]]
            terms.append(float(score) - math.log(sum(row) / len(row)))
        return sum(terms) / n
    mean_exp = lambda f: sum(math.exp(f(float(t))) for t in marginal) / m
    return (
        mean_joint
        - {
            'dv': lambda: math.log(mean_exp(lambda t: t)),
            'mine': lambda: math.log(mean_exp(lambda t: t)),
            'nwj': lambda: mean_exp(lambda t: t - 1),
            'js': lambda: math.log(mean_exp(lambda t: t)),
            'smile': lambda: math.log(mean_exp(lambda t: min(max(t, -tau), tau))),
            'club': lambda: sum(map(float, marginal)) / m,
            'barber_agakov': lambda: sum(map(float, marginal)) / m,
        }[bound]()
    )


def _gaussian_log_ratio(key, true_mi, n, dim=20):
    """All-pairs optimal critic log p(y|x)/p(y) and log p(y|x) of correlated Gaussians."""
    rho = math.sqrt(1 - math.exp(-2 * true_mi / dim))
    noise_x, noise_y = jax.random.normal(key, (2, n, dim))
    y = rho * noise_x + math.sqrt(1 - rho**2) * noise_y
    scale = math.sqrt(1 - rho**2)
    log_q = jax.scipy.stats.norm.logpdf(y[None], rho * noise_x[:, None], scale).sum(-1)
    return log_q - jax.scipy.stats.norm.logpdf(y).sum(-1)[None, :], log_q


def _split(scores):
    n = scores.shape[0]
    off = scores[~np.eye(n, dtype=bool)]
    return jnp.diagonal(scores), off


class TestBound:
    @pytest.mark.parametrize('bound', losses.BOUNDS)
    @pytest.mark.parametrize('seed', [0, 1])
    def test_equals_loops(self, bound, seed):
        joint, marginal = _scores(seed)
        value = losses.mutual_information_bound(joint, marginal, bound=bound, tau=0.5)
        assert float(value) == pytest.approx(
            _loop(joint, marginal, bound, tau=0.5), rel=1e-5, abs=1e-6
        )

    @pytest.mark.parametrize('bound', losses.BOUNDS)
    def test_critic_that_knows_nothing_gives_zero(self, bound):
        scores = jnp.full(8, 1.0 if bound == 'nwj' else 0.0)
        value = losses.mutual_information_bound(scores, scores, bound=bound)
        assert float(value) == pytest.approx(0, abs=1e-6)

    @pytest.mark.parametrize('bound', SCORE_BOUNDS)
    def test_order_of_pairs_does_not_matter(self, bound):
        joint, marginal = _scores()
        value = losses.mutual_information_bound(joint, marginal, bound=bound)
        turned = losses.mutual_information_bound(joint[::-1], marginal[::-1], bound=bound)
        np.testing.assert_allclose(turned, value, rtol=1e-5)

    @pytest.mark.parametrize('bound', ['dv', 'js', 'infonce', 'club', 'barber_agakov'])
    def test_adding_a_constant_to_the_critic_changes_nothing(self, bound):
        joint, marginal = _scores()
        value = losses.mutual_information_bound(joint, marginal, bound=bound)
        moved = losses.mutual_information_bound(joint + 3, marginal + 3, bound=bound)
        np.testing.assert_allclose(moved, value, rtol=1e-5, atol=1e-6)

    def test_nwj_is_never_above_dv_and_meets_it_where_the_critic_is_normalised(self):
        joint, marginal = _scores()
        dv = losses.mutual_information_bound(joint, marginal)
        nwj = lambda shift: losses.mutual_information_bound(
            joint + shift, marginal + shift, bound='nwj'
        )
        best = 1 - np.log(np.exp(marginal).mean())
        np.testing.assert_allclose(nwj(best), dv, rtol=1e-4, atol=1e-5)
        assert float(nwj(best + 0.3)) < float(dv) - 0.01
        assert float(nwj(best - 0.3)) < float(dv) - 0.01

    def test_smile_with_wide_clipping_is_dv(self):
        joint, marginal = _scores()
        np.testing.assert_allclose(
            losses.mutual_information_bound(joint, marginal, bound='smile', tau=50.0),
            losses.mutual_information_bound(joint, marginal),
            rtol=1e-6,
        )

    @pytest.mark.parametrize('bound', ['dv', 'infonce'])
    def test_large_scores_do_not_overflow(self, bound):
        joint, marginal = _scores()
        value = losses.mutual_information_bound(joint + 500, marginal + 500, bound=bound)
        assert float(value) == pytest.approx(_loop(joint, marginal, bound), rel=1e-3)

    @pytest.mark.parametrize('bound', losses.BOUNDS)
    def test_numerical_gradients_jit_and_bfloat16(self, bound):
        joint, marginal = _scores()
        call = lambda j, m: losses.mutual_information_bound(j, m, bound=bound, tau=10.0)
        check_grads(call, (joint, marginal), 1, atol=2e-2, rtol=2e-2, eps=1e-2)
        np.testing.assert_allclose(jax.jit(call)(joint, marginal), call(joint, marginal), rtol=1e-5)
        half = call(joint.astype(jnp.bfloat16), marginal.astype(jnp.bfloat16))
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, call(joint, marginal), atol=0.02)

    def test_unknown_bound_names_all_bounds(self):
        with pytest.raises(ValueError, match='unknown bound') as error:
            losses.mutual_information_bound(jnp.zeros(2), jnp.zeros(2), bound='nce')
        for name in losses.BOUNDS:
            assert name in str(error.value)

    def test_refuses_matrices_of_scores(self):
        with pytest.raises(AssertionError, match='rank'):
            losses.mutual_information_bound(jnp.zeros((2, 2)), jnp.zeros(4))


# Values of an independent simulation, by true mutual information.
OPTIMAL_64 = {
    2.0: {'dv': 2.00, 'mine': 2.00, 'nwj': 1.99, 'js': 2.00, 'smile': 2.02, 'infonce': 1.80},
    6.0: {'dv': 6.23, 'mine': 6.23, 'nwj': 6.08, 'js': 6.23, 'smile': 6.70, 'infonce': 3.73},
}


class TestOptimalCritic:
    """Correlated Gaussians, d = 20, 100 batches of 64."""

    @pytest.mark.parametrize('true_mi', [2.0, 6.0])
    def test_known_values(self, true_mi):
        def bounds(key):
            ratio, log_q = _gaussian_log_ratio(key, true_mi, 64)
            joint, marginal = _split(ratio)
            values = {
                b: losses.mutual_information_bound(joint, marginal, bound=b) for b in LOWER[:-1]
            }
            nwj = losses.mutual_information_bound(joint + 1, marginal + 1, bound='nwj')
            club = losses.club_bound(log_q)
            return values | {'infonce': losses.infonce_bound(ratio), 'nwj': nwj, 'club': club}

        keys = jax.random.split(jax.random.key(int(true_mi)), 100)
        values = jax.jit(lambda keys: jax.lax.map(bounds, keys))(keys)
        # Standard deviations per batch are up to 0.8, so means of 100 are good to about 0.25.
        for name, expected in OPTIMAL_64[true_mi].items():
            assert float(values[name].mean()) == pytest.approx(expected, abs=0.1 * true_mi**0.5), (
                name
            )
        closed_form = 20 * (math.exp(2 * true_mi / 20) - 1)
        assert float(values['club'].mean()) == pytest.approx(closed_form * 63 / 64, rel=0.05)

    @pytest.mark.parametrize('bound', ['dv', 'mine', 'js'])
    def test_separable_domains_give_ln2(self, bound):
        def critic(features, domain):
            fits = (features[:, 0] > 0) == (domain[:, 1] > 0)
            return jnp.where(fits, math.log(2), -60.0)

        features_s, features_t = -jnp.ones((8, 3)), jnp.ones((8, 3))
        scores = losses.domain_scores(critic, features_s, features_t)
        value = losses.mutual_information_bound(*scores, bound=bound)
        assert float(value) == pytest.approx(math.log(2), rel=1e-6)


class TestMine:
    def test_value_is_plain_dv_whatever_the_average(self):
        joint, marginal = _scores()
        plain = losses.mutual_information_bound(joint, marginal)
        for average in (0.0, 0.1, 40.0):
            loss, (value, _) = losses.mine_loss(joint, marginal, jnp.float32(average))
            np.testing.assert_allclose([-loss, value], [plain, plain], rtol=1e-6)

    def test_average_moves_by_the_rate_and_starts_at_the_batch(self):
        joint, marginal = _scores()
        batch = np.exp(marginal.astype(np.float64)).mean()
        _, (_, first) = losses.mine_loss(joint, marginal, jnp.zeros(()))
        assert float(first) == pytest.approx(batch, rel=1e-5)
        _, (_, second) = losses.mine_loss(joint, marginal, jnp.float32(7.0), rate=0.1)
        assert float(second) == pytest.approx(0.9 * 7 + 0.1 * batch, rel=1e-5)

    @pytest.mark.parametrize('started', [False, True])
    def test_gradient_is_that_of_dv_where_average_equals_batch(self, started):
        joint, marginal = _scores()
        average = jnp.float32(np.exp(marginal).mean() if started else 0)
        surrogate = lambda j, m: losses.mine_loss(j, m, average)[0]
        plain = lambda j, m: -losses.mutual_information_bound(j, m)
        for got, expected in zip(
            jax.grad(surrogate, (0, 1))(joint, marginal),
            jax.grad(plain, (0, 1))(joint, marginal),
            strict=True,
        ):
            np.testing.assert_allclose(got, expected, rtol=1e-4)

    def test_gradient_divides_by_the_average(self):
        joint, marginal = _scores()
        gradient = jax.grad(lambda m: losses.mine_loss(joint, m, jnp.float32(5.0), rate=0.5)[0])
        average = 0.5 * 5 + 0.5 * np.exp(marginal).mean()
        np.testing.assert_allclose(
            gradient(marginal), np.exp(marginal) / len(marginal) / average, rtol=1e-4
        )

    @pytest.mark.parametrize('shift', [-300.0, 300.0])
    def test_extreme_scores_keep_average_and_gradients_finite(self, shift):
        joint, marginal = _scores()
        step = jax.jit(
            jax.value_and_grad(
                lambda j, m, a: losses.mine_loss(j + shift, m + shift, a), (0, 1), has_aux=True
            )
        )
        average = jnp.zeros(())
        for _ in range(3):
            (_, (value, average)), gradients = step(joint, marginal, average)
            assert float(value) == pytest.approx(_loop(joint, marginal, 'dv'), rel=1e-2)
            assert float(average) > 0
            assert all(bool(jnp.isfinite(x).all()) for x in (average, *gradients))

    @pytest.mark.parametrize(('ratio', 'begins_anew'), [(100.0, False), (200.0, True)])
    def test_an_average_of_another_critic_is_forgotten(self, ratio, begins_anew):
        joint, marginal = _scores()
        batch = float(np.exp(marginal).mean())
        _, (_, average) = losses.mine_loss(joint, marginal, jnp.float32(ratio * batch))
        expected = batch if begins_anew else (0.99 * ratio + 0.01) * batch
        assert float(average) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize('sign', [-1.0, 1.0])
    def test_average_stays_within_e_to_the_80th(self, sign):
        scores = jnp.full(4, sign * 200.0)
        for start in (0.0, np.float32(0)):
            _, (_, average) = losses.mine_loss(scores, scores, start)
            assert float(jnp.log(average)) == pytest.approx(sign * 80, rel=1e-5)

    def test_average_gets_no_gradient(self):
        joint, marginal = _scores()
        gradient = jax.grad(lambda a: losses.mine_loss(joint, marginal, a)[0])(jnp.float32(2.0))
        assert float(gradient) == 0


class TestNwj:
    def test_is_minus_the_bound_while_scores_are_moderate(self):
        joint, marginal = _scores()
        for shift in (0.0, 5.0):
            bound = losses.mutual_information_bound(joint + shift, marginal + shift, bound='nwj')
            found = losses.nwj_loss(joint + shift, marginal + shift)
            assert float(found) == pytest.approx(-float(bound), rel=1e-5)

    def test_goes_on_as_its_tangent(self):
        joint, marginal = _scores()
        near, far, farther = (
            float(losses.nwj_loss(joint, jnp.full(4, 11.0 + z))) for z in (0.0, 50.0, 200.0)
        )
        assert far - near == pytest.approx(50 * math.exp(10), rel=1e-5)
        assert farther - near == pytest.approx(200 * math.exp(10), rel=1e-5)
        gradient = jax.grad(losses.nwj_loss, 1)(joint, marginal + 300)
        expected = math.exp(10) * jax.nn.softmax(marginal)
        np.testing.assert_allclose(gradient, expected, rtol=1e-4)


class TestMatrixForms:
    def test_infonce_by_hand(self):
        scores = jnp.log(jnp.array([[3.0, 1.0], [2.0, 2.0]]))
        expected = (math.log(3 / 2) + math.log(2 / 2)) / 2
        assert float(losses.infonce_bound(scores)) == pytest.approx(expected, rel=1e-6)

    def test_infonce_never_exceeds_log_n_and_reaches_it(self):
        assert float(losses.infonce_bound(1e4 * jnp.eye(16))) == pytest.approx(math.log(16))
        scores = 9 * jax.random.normal(jax.random.key(0), (16, 16))
        assert float(losses.infonce_bound(scores)) < math.log(16)

    def test_infonce_ignores_shifts_of_rows(self):
        scores = jax.random.normal(jax.random.key(0), (6, 6))
        shifted = scores + jnp.arange(6.0)[:, None]
        np.testing.assert_allclose(
            losses.infonce_bound(shifted), losses.infonce_bound(scores), rtol=1e-5
        )

    def test_infonce_of_score_lists_is_the_matrix_form(self):
        scores = jax.random.normal(jax.random.key(0), (6, 6))
        joint, marginal = _split(scores)
        np.testing.assert_allclose(
            losses.mutual_information_bound(joint, marginal, bound='infonce'),
            losses.infonce_bound(scores),
            rtol=1e-5,
        )

    def test_club_by_hand_in_both_forms(self):
        log_q = jnp.array([[-1.0, -3.0], [-5.0, -2.0]])
        assert float(losses.club_bound(log_q)) == pytest.approx(-1.5 + 11 / 4)
        assert float(losses.club_bound(*_split(log_q))) == pytest.approx(-1.5 + 4)

    def test_barber_agakov_by_hand_and_as_domain_critic(self):
        log_q = jnp.log(jnp.array([0.5, 0.8]))
        expected = math.log(2) + (math.log(0.5) + math.log(0.8)) / 2
        assert float(losses.barber_agakov_bound(log_q, math.log(2))) == pytest.approx(expected)
        logits_s, logits_t = jnp.array([0.3, 2.0]), jnp.array([-1.0, 0.4])
        critic = jnp.concatenate([jax.nn.log_sigmoid(logits_s), jax.nn.log_sigmoid(-logits_t)])
        np.testing.assert_allclose(
            losses.barber_agakov_bound(critic, math.log(2)),
            math.log(2) - losses.domain_adversarial_loss(logits_s, logits_t),
            rtol=1e-6,
        )

    @pytest.mark.parametrize('call', [losses.infonce_bound, losses.club_bound])
    def test_refuse_scores_that_are_not_square(self, call):
        with pytest.raises(AssertionError, match='shape'):
            call(jnp.zeros((2, 3)))


class TestJensenShannon:
    def test_golden_and_zero_critic(self):
        value = losses.jensen_shannon_objective(jnp.array([1.0]), jnp.array([-1.0, 0.0]))
        softplus = lambda t: math.log(1 + math.exp(t))
        assert float(value) == pytest.approx(-softplus(-1) - (softplus(-1) + softplus(0)) / 2)
        zero = losses.jensen_shannon_objective(jnp.zeros(3), jnp.zeros(5))
        assert float(zero) == pytest.approx(-2 * math.log(2))

    def test_log_ratio_is_its_stationary_point(self):
        # One binary pair of variables, p(0,0) = p(1,1) = 0.4; scores weighted by repetition.
        same, other = math.log(0.4 / 0.25), math.log(0.1 / 0.25)

        def objective(t):
            joint = jnp.concatenate([jnp.full(8, t[0]), jnp.full(2, t[1])])
            marginal = jnp.concatenate([jnp.full(5, t[0]), jnp.full(5, t[1])])
            return losses.jensen_shannon_objective(joint, marginal)

        np.testing.assert_allclose(jax.grad(objective)(jnp.array([same, other])), 0, atol=1e-6)


class TestPairs:
    def test_domain_pairs_are_every_feature_with_both_domains(self):
        features_s, features_t = jnp.array([[1.0], [2.0]]), jnp.array([[3.0], [4.0]])
        joint_f, joint_d, marginal_f, marginal_d = losses.domain_pairs(features_s, features_t)
        pairs = lambda f, d: sorted(
            (float(a[0]), *map(float, b)) for a, b in zip(f, d, strict=True)
        )
        assert pairs(joint_f, joint_d) == [(1, 1, 0), (2, 1, 0), (3, 0, 1), (4, 0, 1)]
        assert pairs(marginal_f, marginal_d) == sorted(
            (f, *d) for f in (1, 2, 3, 4) for d in ((1, 0), (0, 1))
        )

    def test_domain_scores_equal_scoring_each_pair_list(self):
        features_s, features_t = jax.random.normal(jax.random.key(0), (2, 5, 3))
        critic = lambda f, d: (f[:, :2] * d).sum(axis=1) + f[:, 2]
        joint, marginal = losses.domain_scores(critic, features_s, features_t)
        joint_f, joint_d, marginal_f, marginal_d = losses.domain_pairs(features_s, features_t)
        np.testing.assert_array_equal(joint, critic(joint_f, joint_d))
        np.testing.assert_array_equal(marginal, critic(marginal_f, marginal_d))

    def test_domains_must_have_equally_many_samples(self):
        with pytest.raises(AssertionError, match='shape'):
            losses.domain_pairs(jnp.zeros((4, 3)), jnp.zeros((5, 3)))

    @pytest.mark.parametrize('seed', range(5))
    def test_shuffled_pairs_never_meet_their_partner(self, seed):
        x = jnp.arange(7)
        _, joint_y, marginal_x, marginal_y = losses.shuffled_pairs(jax.random.key(seed), x, x)
        np.testing.assert_array_equal(joint_y, x)
        assert sorted(map(int, marginal_y)) == list(range(7))
        assert not bool((marginal_x == marginal_y).any())

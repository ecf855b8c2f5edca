import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dmsrl_jax import losses


class TestGradientReversal:
    @pytest.mark.parametrize('scale', [0.0, 0.25, 1, 2.0])
    def test_forward_is_identity_backward_is_minus_scale(self, scale):
        x = jnp.array([1.0, -2.0, 3.0])
        value, gradient = jax.value_and_grad(
            lambda x: (losses.gradient_reversal(x, scale) ** 2).sum()
        )(x)
        assert float(value) == 14
        np.testing.assert_allclose(gradient, -scale * 2 * x)

    def test_traced_scale_gets_no_gradient(self):
        step = jax.jit(
            jax.grad(lambda x, scale: jnp.sin(losses.gradient_reversal(x, scale)), argnums=(0, 1))
        )
        gradient, of_scale = step(0.3, jnp.float32(0.5))
        assert float(gradient) == pytest.approx(-0.5 * math.cos(0.3), rel=1e-6)
        assert float(of_scale) == 0
        assert float(step(0.3, jnp.float32(0.1))[0]) == pytest.approx(
            -0.1 * math.cos(0.3), rel=1e-6
        )

    def test_reverses_every_leaf_of_a_tree(self):
        tree = {'a': jnp.ones(2), 'b': (jnp.ones(3),)}
        total = lambda t: sum(
            3 * x.sum() for x in jax.tree.leaves(losses.gradient_reversal(t, 2.0))
        )
        for gradient in jax.tree.leaves(jax.grad(total)(tree)):
            np.testing.assert_array_equal(gradient, -6)

    def test_keeps_bfloat16(self):
        x = jnp.ones(3, jnp.bfloat16)
        assert losses.gradient_reversal(x, 0.5).dtype == jnp.bfloat16
        gradient = jax.grad(lambda x: losses.gradient_reversal(x, 0.5).sum())(x)
        assert gradient.dtype == jnp.bfloat16
        np.testing.assert_array_equal(gradient.astype(np.float32), -0.5)

    def test_one_minimisation_trains_critic_and_features_against_each_other(self):
        features, weight = jnp.array([[1.0, 0.5]]), jnp.array([0.3, -0.2])
        plain = lambda f, w: losses.domain_adversarial_loss(f @ w, -f @ w)
        turned = lambda f, w: plain(losses.gradient_reversal(f, 0.7), w)
        of_features, of_critic = jax.grad(plain, argnums=(0, 1))(features, weight)
        reversed_features, same_critic = jax.grad(turned, argnums=(0, 1))(features, weight)
        np.testing.assert_allclose(reversed_features, -0.7 * of_features, rtol=1e-6)
        np.testing.assert_allclose(same_critic, of_critic, rtol=1e-6)

    def test_scale_must_be_a_scalar(self):
        with pytest.raises(AssertionError, match='rank'):
            losses.gradient_reversal(jnp.ones(3), jnp.ones(3))


class TestDomainAdversarialLoss:
    def test_golden_with_probabilities(self):
        probabilities_s, probabilities_t = np.array([0.9, 0.4]), np.array([0.2, 0.5, 0.7])
        logits = lambda p: jnp.asarray(np.log(p / (1 - p)))
        expected = -(np.log([0.9, 0.4]).sum() + np.log([0.8, 0.5, 0.3]).sum()) / 5
        loss = losses.domain_adversarial_loss(logits(probabilities_s), logits(probabilities_t))
        assert float(loss) == pytest.approx(expected, rel=1e-6)

    def test_ignorant_critic_gives_ln2_and_perfect_critic_zero(self):
        assert float(losses.domain_adversarial_loss(jnp.zeros(4), jnp.zeros(4))) == pytest.approx(
            math.log(2)
        )
        assert float(losses.domain_adversarial_loss(jnp.full(4, 200.0), jnp.full(4, -200.0))) == 0

    def test_confidently_wrong_stays_finite(self):
        wrong, right = jnp.full(4, -1e4), jnp.full(4, 1e4)
        value, gradient = jax.value_and_grad(losses.domain_adversarial_loss)(wrong, right)
        assert float(value) == pytest.approx(1e4)
        np.testing.assert_allclose(gradient, -1 / 8)

    def test_swapping_domains_is_negating_logits(self):
        logits_s, logits_t = jnp.array([0.3, -1.0, 2.0]), jnp.array([0.1, 0.8, -0.5])
        np.testing.assert_allclose(
            losses.domain_adversarial_loss(logits_s, logits_t),
            losses.domain_adversarial_loss(-logits_t, -logits_s),
            rtol=1e-6,
        )

    def test_column_of_logits_gives_the_same(self):
        logits_s, logits_t = jnp.array([0.3, -1.0]), jnp.array([0.1, 0.8])
        np.testing.assert_array_equal(
            losses.domain_adversarial_loss(logits_s, logits_t),
            losses.domain_adversarial_loss(logits_s[:, None], logits_t[:, None]),
        )
        with pytest.raises(AssertionError, match='rank'):
            losses.domain_adversarial_loss(logits_s, logits_t[:, None])

    def test_gradients_jit_and_bfloat16(self):
        logits_s, logits_t = jnp.array([0.3, -1.0]), jnp.array([0.1, 0.8])
        check_grads(
            losses.domain_adversarial_loss, (logits_s, logits_t), 1, atol=1e-2, rtol=1e-2, eps=1e-2
        )
        eager = losses.domain_adversarial_loss(logits_s, logits_t)
        np.testing.assert_allclose(
            jax.jit(losses.domain_adversarial_loss)(logits_s, logits_t), eager
        )
        half = losses.domain_adversarial_loss(
            logits_s.astype(jnp.bfloat16), logits_t.astype(jnp.bfloat16)
        )
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, eager, rtol=1e-2)

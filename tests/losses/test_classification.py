import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import losses


def test_golden():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]])
    loss = losses.cross_entropy(jnp.log(probabilities) + 3, jnp.array([0, 2]))
    assert float(loss) == pytest.approx(-(math.log(0.5) + math.log(0.8)) / 2, rel=1e-6)


def test_gradient_is_probability_minus_label_over_batch():
    logits = jnp.array([[1.0, 2.0, 0.0], [0.0, -1.0, 0.5]])
    labels = jnp.array([1, 0])
    expected = (jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)) / 2
    np.testing.assert_allclose(jax.grad(losses.cross_entropy)(logits, labels), expected, rtol=1e-5)


def test_bfloat16_logits_give_a_float32_loss():
    loss = losses.cross_entropy(jnp.zeros((4, 7), jnp.bfloat16), jnp.zeros(4, jnp.int32))
    assert loss.dtype == jnp.float32
    assert float(loss) == pytest.approx(math.log(7), rel=1e-6)


@pytest.mark.parametrize('labels', [jnp.zeros(3, jnp.int32), jnp.zeros(2), jnp.zeros((2, 3), int)])
def test_refuses_labels_that_do_not_fit(labels):
    with pytest.raises(AssertionError, match=r'(?i)shape|type|rank'):
        losses.cross_entropy(jnp.zeros((2, 3)), labels)

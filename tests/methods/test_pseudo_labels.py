"""Each rule by hand; no gradient comes through; the balanced rule's memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.methods import pseudo_labels as rules

PROBABILITIES = jnp.array([[0.9, 0.1, 0.0], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.0, 0.05, 0.95]])
FEATURES = jnp.array([[0.0, 0.9], [2.0, 2.0], [0.0, -1.0], [5.0, 0.0]])
CENTERS = jnp.array([[0.0, 1.0], [0.0, -1.0], [3.0, 1.0]])
STATE = jnp.array([0.5, 0.25, 1.0])


def apply(name, **options):
    return rules.create(name, **options)(PROBABILITIES, FEATURES, CENTERS, STATE)


@pytest.mark.parametrize(
    ('name', 'options', 'labels', 'weights'),
    [
        ('argmax', {}, [0, 1, 2, 2], [1, 1, 1, 1]),
        ('threshold', {'threshold': 0.5}, [0, 1, 2, 2], [1, 1, 0, 1]),
        ('threshold', {'threshold': 0.91}, [0, 1, 2, 2], [0, 0, 0, 1]),
        ('nearest_center', {}, [0, 2, 1, 2], [1, 1, 1, 1]),
    ],
)
def test_rules_by_hand(name, options, labels, weights):
    found = apply(name, **options)
    assert found.labels.tolist() == labels
    assert found.labels.dtype == jnp.int32
    assert found.weights.tolist() == weights
    np.testing.assert_array_equal(found.state, STATE)


def test_balanced_by_hand():
    found = apply('balanced', threshold=0.8, rate=0.5)
    # Top probabilities: class 0 {0.9}, class 1 {0.5}, class 2 {0.4, 0.95}.
    q = np.array([0.5 * 0.5 + 0.5 * 0.9, 0.5 * 0.25 + 0.5 * 0.5, 0.5 * 1.0 + 0.5 * 0.675])
    np.testing.assert_allclose(found.state, q, rtol=1e-6)
    # Thresholds 0.8 * q: 0.56, 0.3, 0.67.
    assert found.weights.tolist() == [1, 1, 0, 1]
    assert found.labels.tolist() == [0, 1, 2, 2]


def test_balanced_keeps_the_confidence_of_a_class_nobody_is_in():
    one_class = jnp.array([[0.6, 0.4, 0.0]] * 3)
    state = rules.init_state(3)
    for _ in range(2):
        state = rules.balanced(one_class, state, threshold=0.9, rate=0.5).state
    np.testing.assert_allclose(state, [0.25 * (1 / 3) + 0.75 * 0.6, 1 / 3, 1 / 3], rtol=1e-6)


def test_balanced_lets_an_unsure_class_in_where_one_threshold_does_not():
    state = jnp.array([0.9, 0.45])
    probabilities = jnp.array([[0.95, 0.05], [0.49, 0.51]])
    balanced = rules.balanced(probabilities, state, threshold=0.9, rate=0.01)
    assert balanced.weights.tolist() == [1, 1]
    assert rules.confident(probabilities, threshold=0.9).weights.tolist() == [1, 0]


def test_balanced_counts_a_sample_that_is_just_as_sure_as_it_must_be():
    found = rules.balanced(jnp.array([[0.5, 0.25, 0.25]]), jnp.ones(3), threshold=1.0, rate=1.0)
    assert found.state[0] == 0.5
    assert found.weights.tolist() == [1]


def test_balanced_starts_even():
    np.testing.assert_allclose(rules.init_state(4), [0.25] * 4)


def test_alignment_by_hand():
    probabilities = jnp.array([[0.6, 0.4], [0.2, 0.8]])
    predicted, expected = jnp.array([0.8, 0.2]), jnp.array([0.5, 0.5])
    # Ratios 0.625 and 2.5; their roots at strength 1/2.
    full = [[0.375 / 1.375, 1.0 / 1.375], [0.125 / 2.125, 2.0 / 2.125]]
    found = rules.aligned(probabilities, predicted, expected, strength=1.0)
    np.testing.assert_allclose(found, full, rtol=1e-6)
    half = probabilities * jnp.sqrt(jnp.array([[0.625, 2.5]]))
    half = half / half.sum(axis=1, keepdims=True)
    found = rules.aligned(probabilities, predicted, expected, strength=0.5)
    np.testing.assert_allclose(found, half, rtol=1e-6)


def test_alignment_changes_nothing_at_strength_0_or_equal_shares():
    shares = jnp.array([0.7, 0.2, 0.1])
    for arguments in ((shares, jnp.full(3, 1 / 3), 0.0), (shares, shares, 1.0)):
        found = rules.aligned(PROBABILITIES, *arguments[:2], strength=arguments[2])
        np.testing.assert_allclose(found, PROBABILITIES, rtol=1e-6)


def test_alignment_trusts_a_class_that_is_rare_but_predicted():
    predicted, expected = jnp.array([0.98, 0.02]), jnp.array([0.5, 0.5])
    found = rules.aligned(jnp.array([[0.9, 0.1]]), predicted, expected, strength=1.0)
    scaled = np.array([0.9 / 0.98, 0.1 / 0.02])
    np.testing.assert_allclose(found, [scaled / scaled.sum()], rtol=1e-6)


def test_alignment_is_finite_where_a_class_is_never_predicted_or_expected():
    shares = jnp.array([1.0, 0.0, 0.0])
    for predicted, expected in ((shares, jnp.full(3, 1 / 3)), (jnp.full(3, 1 / 3), shares)):
        found = rules.aligned(PROBABILITIES, predicted, expected, strength=1.0)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)


@pytest.mark.parametrize('name', rules.RULES)
def test_no_gradient_comes_through(name):
    def total(probabilities, features, centers):
        found = rules.create(name, threshold=0.5)(probabilities, features, centers, STATE)
        return found.weights.sum() + found.state.sum() + found.labels.astype(float).sum()

    grads = jax.grad(total, argnums=(0, 1, 2))(PROBABILITIES, FEATURES, CENTERS)
    assert all(not jnp.any(g) for g in grads)


def test_nearest_center_is_the_smallest_distance():
    rng = np.random.default_rng(0)
    features, centers = rng.normal(size=(20, 4)), rng.normal(size=(7, 4))
    distance = np.linalg.norm(features[:, None] - centers[None], axis=-1)
    found = rules.nearest_center(jnp.asarray(features), jnp.asarray(centers))
    assert found.labels.tolist() == distance.argmin(axis=1).tolist()


def test_mistakes():
    with pytest.raises(InputError, match="'best'; there are: argmax, threshold, nearest_center"):
        rules.create('best')
    with pytest.raises(InputError, match=r'threshold must be in \[0, 1\].*got 1.5 and 0.05'):
        rules.create('threshold', threshold=1.5)
    with pytest.raises(InputError, match=r'got 0\.9 and 0'):
        rules.create('balanced', rate=0.0)
    with pytest.raises(InputError, match='need the margin module'):
        rules.nearest_center(FEATURES, None)

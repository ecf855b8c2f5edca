"""Criteria without labels: known answers, bounds, invariances."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax.evaluation import selection


def random_probabilities(number=40, classes=7, seed=0):
    logits = 3 * jax.random.normal(jax.random.key(seed), (number, classes))
    return jax.nn.softmax(logits)


def test_sure_and_varied_predictions_carry_all_the_information():
    sure = jnp.eye(4)[jnp.arange(40) % 4]
    assert selection.mean_entropy(sure) == 0
    np.testing.assert_allclose(selection.information(sure), math.log(4), rtol=1e-6)


def test_sure_of_one_class_carries_none():
    collapsed = jnp.eye(4)[jnp.zeros(40, int)]
    assert selection.mean_entropy(collapsed) == 0
    assert selection.information(collapsed) == 0


def test_undecided_predictions_carry_none():
    undecided = jnp.full((40, 4), 0.25)
    np.testing.assert_allclose(selection.mean_entropy(undecided), math.log(4), rtol=1e-6)
    np.testing.assert_allclose(selection.information(undecided), 0, atol=1e-6)


def test_hand_count_of_information():
    p = jnp.array([[0.5, 0.5], [1.0, 0.0]])
    half = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_allclose(selection.mean_entropy(p), math.log(2) / 2, rtol=1e-6)
    np.testing.assert_allclose(selection.information(p), half - math.log(2) / 2, rtol=1e-6)


@pytest.mark.parametrize('seed', range(3))
def test_against_plain_loops(seed):
    p = np.asarray(random_probabilities(seed=seed), np.float64)
    total = 0.0
    for i in range(len(p)):
        scores = [
            math.exp(p[i] @ p[j] / math.sqrt((p[i] @ p[i]) * (p[j] @ p[j])) / 0.05)
            for j in range(len(p))
            if j != i
        ]
        shares = [score / sum(scores) for score in scores]
        total -= sum(share * math.log(share) for share in shares)
    np.testing.assert_allclose(selection.neighborhood_density(p), total / len(p), rtol=1e-4)


def test_one_cluster_has_the_largest_density_and_smaller_clusters_less():
    one = jnp.eye(4)[jnp.zeros(40, int)]
    four = jnp.eye(4)[jnp.arange(40) % 4]
    np.testing.assert_allclose(selection.neighborhood_density(one), math.log(39), rtol=1e-6)
    np.testing.assert_allclose(selection.neighborhood_density(four), math.log(9), rtol=1e-4)


@pytest.mark.parametrize(
    'criterion', [selection.mean_entropy, selection.information, selection.neighborhood_density]
)
def test_order_of_images_and_of_classes_does_not_matter(criterion):
    p = random_probabilities()
    shuffled = jax.random.permutation(jax.random.key(1), p, axis=0)
    renamed = jax.random.permutation(jax.random.key(2), p, axis=1)
    np.testing.assert_allclose(criterion(p), criterion(shuffled), rtol=1e-5)
    np.testing.assert_allclose(criterion(p), criterion(renamed), rtol=1e-5)


def test_criteria_of_many_images_look_at_evenly_spaced_ones_for_the_density():
    p = random_probabilities(100)
    found = selection.criteria(p, largest=30)
    assert set(found) == {'entropy', 'information', 'density'}
    np.testing.assert_allclose(found['density'], selection.neighborhood_density(p[::4]), rtol=1e-6)
    np.testing.assert_allclose(found['information'], selection.information(p), rtol=1e-6)

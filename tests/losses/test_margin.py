import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from dmsrl_jax import losses


def _data(seed=0, batch=6, classes=4, dim=3):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    labels = lambda: rng.integers(0, classes, batch).astype(np.int32)
    centers = losses.ClassCenters(draw(classes, dim), draw(classes, dim))
    return draw(batch, dim), labels(), draw(batch, dim), labels(), centers


def _loop_terms(features_s, labels_s, features_t, labels_t, centers, weights_t=None):
    """The formulas of the docstring, sample by sample, class by class, in float64."""
    weights_t = np.ones(len(labels_t)) if weights_t is None else weights_t

    def intra(features, labels, center, weights):
        pulls = [
            w * sum((float(a) - float(b)) ** 2 for a, b in zip(f, center[y], strict=True))
            for f, y, w in zip(features, labels, weights, strict=True)
        ]
        return sum(pulls) / (2 * sum(weights))

    def inter(center):
        classes = len(center)
        pushes = [
            sum((float(a) - float(b)) ** 2 for a, b in zip(center[i], center[j], strict=True))
            for i in range(classes)
            for j in range(i + 1, classes)
        ]
        return sum(pushes) / (classes * (classes - 1))

    gaps = [np.sum((s - t) ** 2, dtype=np.float64) for s, t in zip(*centers, strict=True)]
    return {
        'intra_s': intra(features_s, labels_s, centers.source, np.ones(len(labels_s))),
        'intra_t': intra(features_t, labels_t, centers.target, weights_t),
        'inter_s': inter(centers.source),
        'inter_t': inter(centers.target),
        'cross': sum(gaps) / len(gaps),
    }


class TestMarginMetricLoss:
    def test_golden_by_hand(self):
        centers = losses.ClassCenters(jnp.array([[0.0, 0], [3, 4]]), jnp.array([[1.0, 0], [1, 2]]))
        loss, terms = losses.margin_metric_loss(
            jnp.array([[0.0, 1], [3, 4]]),
            jnp.array([0, 1]),
            jnp.array([[1.0, 3], [1, 2]]),
            jnp.array([1, 0]),
            centers,
            margin=10.0,
            cross_weight=0.5,
        )
        # intra_s (1 + 0)/4, intra_t (1 + 4)/4, inter 25/2 and 4/2, cross (1 + 8)/2.
        expected = {'intra_s': 0.25, 'intra_t': 1.25, 'inter_s': 12.5, 'inter_t': 2.0, 'cross': 4.5}
        assert {k: float(v) for k, v in terms.items()} == pytest.approx(expected, rel=1e-6)
        assert float(loss) == pytest.approx(0.25 + 1.25 + 0 + 8 + 2.25, rel=1e-6)

    @pytest.mark.parametrize('seed', range(3))
    def test_equals_loops(self, seed):
        data = _data(seed, batch=9, classes=7, dim=5)
        loss, terms = losses.margin_metric_loss(*data, margin=7.0, cross_weight=0.3)
        expected = _loop_terms(*data)
        assert {k: float(v) for k, v in terms.items()} == pytest.approx(expected, rel=1e-5)
        hinge = max(0, 7 - expected['inter_s']) + max(0, 7 - expected['inter_t'])
        total = expected['intra_s'] + expected['intra_t'] + hinge + 0.3 * expected['cross']
        assert float(loss) == pytest.approx(total, rel=1e-5)

    def test_default_margin_and_weight_are_the_release_s(self):
        loss, terms = losses.margin_metric_loss(*_data())
        hinge = sum(max(100 - float(terms[name]), 0) for name in ('inter_s', 'inter_t'))
        pulls = float(terms['intra_s'] + terms['intra_t'])
        assert float(loss) == pytest.approx(pulls + hinge + 0.01 * float(terms['cross']), rel=1e-6)

    def test_weights_equal_loops(self):
        data = _data()
        for scale in (1.0, 0.01):  # their sum may be below one
            self._weights_equal_loops(data, scale * np.array([0.2, 0, 1, 0.5, 0, 2], np.float32))

    def _weights_equal_loops(self, data, weights):
        _, terms = losses.margin_metric_loss(*data, weights_t=weights)
        assert float(terms['intra_t']) == pytest.approx(
            _loop_terms(*data, weights_t=weights)['intra_t'], rel=1e-5
        )

    def test_equal_weights_are_no_weights(self):
        data = _data()
        plain, _ = losses.margin_metric_loss(*data)
        weighted, _ = losses.margin_metric_loss(*data, weights_t=jnp.full(6, 0.3))
        np.testing.assert_allclose(weighted, plain, rtol=1e-6)

    def test_zero_weights_drop_target_with_finite_gradients(self):
        *arrays, centers = _data()

        def loss(features_t, centers, weights):
            args = (*arrays[:2], features_t, arrays[3], centers)
            return losses.margin_metric_loss(*args, weights_t=weights)

        zeros = jnp.zeros(6)
        _, terms = loss(arrays[2], centers, zeros)
        assert float(terms['intra_t']) == 0
        grads = jax.grad(lambda *a: loss(*a)[0], argnums=(0, 1, 2))(arrays[2], centers, zeros)
        assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))
        np.testing.assert_array_equal(grads[0], 0)

    def test_swapping_domains_changes_nothing(self):
        features_s, labels_s, features_t, labels_t, centers = _data()
        swapped = losses.ClassCenters(centers.target, centers.source)
        there, terms = losses.margin_metric_loss(
            features_s, labels_s, features_t, labels_t, centers
        )
        back, other = losses.margin_metric_loss(features_t, labels_t, features_s, labels_s, swapped)
        np.testing.assert_allclose(back, there, rtol=1e-6)
        np.testing.assert_allclose(terms['intra_s'], other['intra_t'], rtol=1e-6)

    def test_batch_order_does_not_matter(self):
        features_s, labels_s, features_t, labels_t, centers = _data()
        order = np.array([3, 1, 5, 0, 4, 2])
        loss, _ = losses.margin_metric_loss(features_s, labels_s, features_t, labels_t, centers)
        permuted, _ = losses.margin_metric_loss(
            features_s[order],
            labels_s[order],
            features_t[order[::-1]],
            labels_t[order[::-1]],
            centers,
        )
        np.testing.assert_allclose(permuted, loss, rtol=1e-6)

    def test_features_on_their_centers_far_apart_cost_nothing(self):
        centers = 100 * jnp.eye(3)
        labels = jnp.array([0, 2, 2])
        both = losses.ClassCenters(centers, centers)
        args = (centers[labels], labels, centers[labels], labels, both)
        value, grads = jax.value_and_grad(
            lambda f, c: losses.margin_metric_loss(f, *args[1:4], c)[0], argnums=(0, 1)
        )(args[0], both)
        assert float(value) == 0
        for gradient in jax.tree.leaves(grads):
            np.testing.assert_array_equal(gradient, 0)

    def test_hinge_pushes_below_the_margin_only(self):
        *arrays, _ = _data(classes=2)
        labels = jnp.zeros(6, jnp.int32)
        near = jnp.array([[0.0, 0, 0], [2, 0, 0]])
        both = losses.ClassCenters(near, near)

        def gradient(margin):
            call = lambda c: losses.margin_metric_loss(
                arrays[0], labels, arrays[2], labels, c, margin=margin, cross_weight=0.0
            )[0]
            return jax.grad(call)(both).source[1]

        # Class 1 has no sample; inter = 4/2. d inter / d c_1 = (c_1 - c_0), pushed outwards.
        np.testing.assert_allclose(gradient(2.5), [-2, 0, 0], atol=1e-6)
        np.testing.assert_allclose(gradient(1.5), [0, 0, 0], atol=1e-6)

    def test_classes_missing_in_the_batch_keep_their_place(self):
        *arrays, centers = _data()
        labels = jnp.full(6, 2, jnp.int32)
        grads = jax.grad(
            lambda c: losses.margin_metric_loss(
                arrays[0], labels, arrays[2], labels, c, margin=0.0, cross_weight=0.0
            )[0]
        )(centers)
        for gradient in grads:
            np.testing.assert_array_equal(gradient[jnp.array([0, 1, 3])], 0)
            assert float(jnp.abs(gradient[2]).sum()) > 0

    def test_numerical_gradients(self):
        features_s, labels_s, features_t, labels_t, centers = _data()
        weights = jnp.array([0.5, 1, 0, 2, 1, 1])

        def loss(features_s, features_t, centers):
            args = (features_s, labels_s, features_t, labels_t, centers)
            return losses.margin_metric_loss(*args, margin=30.0, weights_t=weights)[0]

        check_grads(loss, (features_s, features_t, centers), 1, atol=2e-2, rtol=2e-2, eps=1e-2)

    def test_jit_equals_eager(self):
        data = _data()
        eager = losses.margin_metric_loss(*data)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
            jax.jit(losses.margin_metric_loss)(*data),
            eager,
        )

    def test_bfloat16_features_are_summed_in_float32(self):
        # 4096 equal squares of 1: a bfloat16 sum stops growing at 256.
        features = jnp.ones((2, 4096), jnp.bfloat16)
        labels = jnp.array([0, 1])
        zeros = jnp.zeros((2, 4096), jnp.bfloat16)
        loss, terms = losses.margin_metric_loss(
            features, labels, features, labels, losses.ClassCenters(zeros, zeros)
        )
        assert loss.dtype == jnp.float32
        assert float(terms['intra_s']) == 2048

    @pytest.mark.parametrize('broken', ['features', 'labels', 'weights', 'centers', 'one_class'])
    def test_refuses_shapes_that_do_not_fit(self, broken):
        features_s, labels_s, features_t, labels_t, centers = _data()
        weights = jnp.ones(6)
        if broken == 'features':
            features_t = features_t[:, :2]
        elif broken == 'labels':
            labels_s = labels_s.astype(np.float32)
        elif broken == 'weights':
            weights = weights[:, None]
        elif broken == 'centers':
            centers = centers._replace(target=centers.target[:2])
        else:
            centers = losses.ClassCenters(centers.source[:1], centers.target[:1])
        with pytest.raises(AssertionError, match=r'(?i)assertion|shape|dim|type'):
            losses.margin_metric_loss(
                features_s, labels_s, features_t, labels_t, centers, weights_t=weights
            )


class TestCommonCenters:
    def test_golden_by_hand(self):
        loss, terms = losses.common_margin_metric_loss(
            jnp.array([[0.0, 1], [3, 4]]),
            jnp.array([0, 1]),
            jnp.array([[3.0, 3], [0, 2]]),
            jnp.array([1, 0]),
            jnp.array([[0.0, 0], [3, 4]]),
            margin=20.0,
        )
        expected = {'intra_s': 0.25, 'intra_t': 1.25, 'inter': 12.5}
        assert {k: float(v) for k, v in terms.items()} == pytest.approx(expected, rel=1e-6)
        assert float(loss) == pytest.approx(0.25 + 1.25 + 7.5, rel=1e-6)

    def test_equals_separate_centers_that_coincide_but_for_one_hinge(self):
        *arrays, centers = _data()
        both = losses.ClassCenters(centers.source, centers.source)
        separate, terms = losses.margin_metric_loss(*arrays, both, margin=50.0)
        common, _ = losses.common_margin_metric_loss(*arrays, centers.source, margin=50.0)
        np.testing.assert_allclose(separate - common, 50 - terms['inter_s'], rtol=1e-5)

    def test_weights_and_numerical_gradients(self):
        features_s, labels_s, features_t, labels_t, centers = _data()
        weights = jnp.array([0, 0, 1.0, 0, 0, 0])

        def loss(features_t, center):
            args = (features_s, labels_s, features_t, labels_t, center)
            return losses.common_margin_metric_loss(*args, weights_t=weights)[0]

        gradient = jax.grad(loss)(features_t, centers.source)
        np.testing.assert_allclose(
            gradient[2], features_t[2] - centers.source[labels_t[2]], rtol=1e-5
        )
        np.testing.assert_array_equal(gradient[jnp.array([0, 1, 3, 4, 5])], 0)
        check_grads(loss, (features_t, centers.source), 1, atol=2e-2, rtol=2e-2, eps=1e-2)


def test_init_centers_draws_both_domains_with_the_scale():
    centers = losses.init_centers(jax.random.key(0), 7, 4096, scale=0.5)
    assert centers.source.shape == centers.target.shape == (7, 4096)
    for values in centers:
        assert float(values.std()) == pytest.approx(0.5, rel=0.02)
        assert float(values.mean()) == pytest.approx(0, abs=0.02)
    correlation = float((centers.source * centers.target).mean()) / 0.25
    assert correlation == pytest.approx(0, abs=0.03)

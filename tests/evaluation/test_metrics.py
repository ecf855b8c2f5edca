import functools
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from dmsrl_jax.data import pipeline
from dmsrl_jax.errors import InputError
from dmsrl_jax.evaluation import metrics, reports


def loop_metrics(labels, predictions, num_classes):
    """The same numbers, one image at a time, straight from the definitions."""
    recalls, scores = [], []
    for code in range(num_classes):
        hit = sum(1 for y, p in zip(labels, predictions, strict=True) if y == p == code)
        missed = sum(1 for y, p in zip(labels, predictions, strict=True) if y == code != p)
        wrong = sum(1 for y, p in zip(labels, predictions, strict=True) if p == code != y)
        if hit + missed == 0:
            continue
        recall = hit / (hit + missed)
        precision = hit / (hit + wrong) if hit + wrong else 0.0
        recalls.append(recall)
        scores.append(2 * precision * recall / (precision + recall) if hit else 0.0)
    right = sum(1 for y, p in zip(labels, predictions, strict=True) if y == p)
    return right / len(labels), sum(recalls) / len(recalls), sum(scores) / len(scores)


class TestConfusion:
    def test_hand_count_rows_are_true_classes(self):
        counts = metrics.confusion(
            jnp.array([0, 0, 1, 2, 2, 2]),
            jnp.array([0, 1, 1, 0, 2, 0]),
            jnp.ones(6),
            num_classes=3,
        )
        assert counts.dtype == jnp.int32
        assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]

    @pytest.mark.parametrize('dtype', [np.float32, np.int32, np.bool_])
    def test_masked_images_do_not_count(self, dtype):
        mask = np.array([1, 0, 1, 0], dtype)
        counts = metrics.confusion(
            jnp.array([0, 0, 1, 1]), jnp.array([0, 1, 0, 1]), mask, num_classes=2
        )
        assert counts.tolist() == [[1, 0], [1, 0]]

    def test_sum_of_shards_is_the_whole(self):
        rng = np.random.default_rng(0)
        labels, predictions = rng.integers(0, 7, (2, 40))
        mask = rng.integers(0, 2, 40)
        count = functools.partial(metrics.confusion, num_classes=7)
        whole = count(labels, predictions, mask)
        parts = [
            count(labels[i : i + 10], predictions[i : i + 10], mask[i : i + 10])
            for i in range(0, 40, 10)
        ]
        np.testing.assert_array_equal(sum(parts), whole)
        assert int(whole.sum()) == mask.sum()

    def test_jit_equals_eager(self):
        labels, predictions = jnp.array([0, 1, 1]), jnp.array([1, 1, 0])
        count = functools.partial(metrics.confusion, num_classes=2)
        np.testing.assert_array_equal(
            jax.jit(count)(labels, predictions, jnp.ones(3)),
            count(labels, predictions, jnp.ones(3)),
        )

    def test_shapes_must_agree(self):
        with pytest.raises(AssertionError):
            metrics.confusion(jnp.zeros(3, int), jnp.zeros(2, int), jnp.ones(3), num_classes=2)


class TestSummarize:
    def test_hand_numbers(self):
        summary = metrics.summarize(np.array([[1, 1, 0], [0, 1, 0], [2, 0, 1]]))
        assert summary['count'] == 6
        assert summary['accuracy'] == pytest.approx(3 / 6)
        assert summary['mean_class_accuracy'] == pytest.approx((1 / 2 + 1 + 1 / 3) / 3)
        assert summary['macro_f1'] == pytest.approx((2 / 5 + 2 / 3 + 2 / 4) / 3)
        assert summary['confusion'] == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]

    @pytest.mark.parametrize('seed', range(5))
    def test_equals_a_loop_over_images(self, seed):
        rng = np.random.default_rng(seed)
        labels, predictions = rng.integers(0, 5, 60), rng.integers(0, 7, 60)  # 5 and 6 absent
        counts = metrics.confusion(labels, predictions, np.ones(60), num_classes=7)
        summary = metrics.summarize(counts)
        accuracy, mean_class, macro_f1 = loop_metrics(labels.tolist(), predictions.tolist(), 7)
        assert summary['accuracy'] == pytest.approx(accuracy)
        assert summary['mean_class_accuracy'] == pytest.approx(mean_class)
        assert summary['macro_f1'] == pytest.approx(macro_f1)

    def test_absent_class_is_left_out_of_the_means(self):
        summary = metrics.summarize(np.array([[2, 0, 2], [0, 4, 0], [0, 0, 0]]))
        assert summary['mean_class_accuracy'] == pytest.approx((0.5 + 1) / 2)
        assert summary['macro_f1'] == pytest.approx((2 / 3 + 1) / 2)

    def test_perfect_and_never_right(self):
        perfect = metrics.summarize(np.diag([3, 4]))
        assert [perfect[k] for k in ('accuracy', 'mean_class_accuracy', 'macro_f1')] == [1, 1, 1]
        never = metrics.summarize(np.array([[0, 3], [4, 0]]))
        assert [never[k] for k in ('accuracy', 'mean_class_accuracy', 'macro_f1')] == [0, 0, 0]

    def test_values_are_plain_json(self):
        summary = metrics.summarize(jnp.eye(2, dtype=jnp.int32))
        assert json.loads(json.dumps(summary)) == summary
        assert type(summary['accuracy']) is float
        assert type(summary['count']) is int

    def test_nothing_evaluated(self):
        with pytest.raises(InputError, match='no image was evaluated'):
            metrics.summarize(np.zeros((7, 7), int))

    @pytest.mark.parametrize('matrix', [np.ones((2, 3)), np.array([[1, -1], [0, 1]]), np.ones(4)])
    def test_not_a_confusion_matrix(self, matrix):
        with pytest.raises(ValueError, match='square and not negative'):
            metrics.summarize(matrix)


class TestEveryImageOnce:
    """On four devices with a short last batch, each image is counted once."""

    @staticmethod
    def corpus(count):
        records = []
        for index in range(count):
            file = io.BytesIO()
            Image.new('RGB', (4, 4), (index, 0, 0)).save(file, 'PNG')
            records.append({'image': file.getvalue(), 'label': index % 7, 'file': f'{index}.png'})
        return records

    @pytest.mark.parametrize('count', [1, 7, 8, 19])
    def test_four_devices(self, count):
        mesh = jax.make_mesh((4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
        shards = jax.sharding.PartitionSpec('data')

        def step(images, labels, mask):
            predictions = images[:, 0, 0, 0].astype(jnp.int32) % 7  # the toy's pixel is its index
            return jax.lax.psum(metrics.confusion(labels, predictions, mask, num_classes=7), 'data')

        mapped = jax.jit(
            jax.shard_map(
                step,
                mesh=mesh,
                in_specs=(shards, shards, shards),
                out_specs=jax.sharding.PartitionSpec(),
            )
        )
        total = np.zeros((7, 7), int)
        for batch in pipeline.evaluation_batches(self.corpus(count), batch_size=8, size=4):
            total += np.asarray(mapped(batch['image'], batch['label'], batch['mask']))
        summary = metrics.summarize(total)
        assert summary['count'] == count
        assert summary['accuracy'] == 1.0
        assert np.diag(total).tolist() == [len(range(code, count, 7)) for code in range(7)]


class TestConfusionTable:
    def test_golden(self):
        summary = metrics.summarize(np.array([[1, 1, 0], [0, 0, 0], [2, 0, 1]]))
        assert reports.confusion_table(summary, ('joy', 'fear', 'surprise')).splitlines() == [
            'true        joy   fear surpri  acc %',
            'joy           1      1      0   50.0',
            'fear          0      0      0      -',
            'surprise      2      0      1   33.3',
            'accuracy 40.00 %, mean class accuracy 41.67 %,',
            'macro F1 45.00 %, 5 images',
        ]

    def test_seven_expressions_fit_in_eighty_columns(self):
        summary = metrics.summarize(np.full((7, 7), 99999))
        lines = reports.confusion_table(summary).splitlines()
        assert len(lines) == 10
        assert max(map(len, lines)) <= 80
        assert lines[4].split()[0] == 'happiness'
        assert lines[4].split()[-1] == '14.3'

    def test_names_must_match(self):
        with pytest.raises(ValueError, match='7 classes need as many names, got 2'):
            reports.confusion_table(metrics.summarize(np.eye(7)), ('a', 'b'))

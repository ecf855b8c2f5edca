"""Classification metrics: counts on the device, ratios once at the end.

Only the confusion matrix is computed per batch. It is a sum over images, so matrices of batches,
shards and devices simply add up, and a short last batch needs a mask and nothing else.
"""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from dmsrl_jax.errors import InputError


def confusion(
    labels: chex.Array, predictions: chex.Array, mask: chex.Array, *, num_classes: int
) -> jax.Array:
    """Counts how often each class was taken for each class.

    Args:
        labels: integers [B], the true classes.
        predictions: integers [B], the predicted classes.
        mask: [B], 0 (or False) for padding, which is not counted; anything else counts once.
        num_classes: C.

    Returns:
        int32 [C, C]; entry [i, j] is the number of images of class i predicted as class j.
    """
    chex.assert_rank([labels, predictions, mask], 1)
    chex.assert_equal_shape([labels, predictions, mask])
    counts = jnp.zeros((num_classes, num_classes), jnp.int32)
    return counts.at[labels, predictions].add((mask != 0).astype(jnp.int32), mode='drop')


def summarize(confusion: chex.Array) -> dict[str, Any]:
    """Turns a confusion matrix into accuracies, on the host.

        accuracy = trace / sum
        mean_class_accuracy = mean_i c_ii / c_i.
        macro_f1 = mean_i 2 c_ii / (c_i. + c_.i)

    Both means run over the classes that have at least one image: a class absent from the labels
    has no accuracy, and is left out (images wrongly predicted as it still lower the other classes).

    Args:
        confusion: integers [C, C], rows true classes (see `confusion`).

    Returns:
        `accuracy`, `mean_class_accuracy`, `macro_f1` (fractions), `confusion` (nested lists) and
        `count`, all plain Python numbers.

    Raises:
        InputError: the matrix counts no image.
    """
    matrix = np.asarray(confusion).astype(np.int64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (matrix < 0).any():
        raise ValueError(f'a confusion matrix is square and not negative, got {matrix.tolist()}')
    count = int(matrix.sum())
    if count == 0:
        raise InputError('no image was evaluated: the split is empty, or every image is masked')
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    present = true > 0
    return {
        'accuracy': float(hits.sum() / count),
        'mean_class_accuracy': float((hits[present] / true[present]).mean()),
        'macro_f1': float((2 * hits[present] / (true + predicted)[present]).mean()),
        'confusion': matrix.tolist(),
        'count': count,
    }

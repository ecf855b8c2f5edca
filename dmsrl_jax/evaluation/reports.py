"""Metrics as plain text for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from dmsrl_jax.expressions import EXPRESSIONS

_COLUMN = 7


def confusion_table(summary: Mapping[str, Any], names: Sequence[str] = EXPRESSIONS) -> str:
    """Writes a confusion matrix with the accuracy of each class.

    Args:
        summary: what `metrics.summarize` returns.
        names: one name per class; columns show the first letters.

    Returns:
        Lines of at most 80 columns for the seven expressions, without a final newline: one row per
        true class, one column per predicted class, then the accuracy of the class in percent
        ('-' without images); the last lines give the three means and the number of images.
    """
    matrix = summary['confusion']
    if len(names) != len(matrix):
        raise ValueError(f'{len(matrix)} classes need as many names, got {len(names)}')
    width = max(len('true'), *map(len, names))
    head = ''.join(f'{name[: _COLUMN - 1]:>{_COLUMN}}' for name in names)
    lines = [f'{"true":<{width}}{head}{"acc %":>{_COLUMN}}']
    for code, (name, row) in enumerate(zip(names, matrix, strict=True)):
        total = sum(row)
        share = f'{100 * row[code] / total:.1f}' if total else '-'
        counts = ''.join(f'{value:>{_COLUMN}d}' for value in row)
        lines.append(f'{name:<{width}}{counts}{share:>{_COLUMN}}')
    lines.append(
        f'accuracy {100 * summary["accuracy"]:.2f} %, '
        f'mean class accuracy {100 * summary["mean_class_accuracy"]:.2f} %,'
    )
    lines.append(f'macro F1 {100 * summary["macro_f1"]:.2f} %, {summary["count"]} images')
    return '\n'.join(lines)

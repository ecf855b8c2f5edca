"""What a benchmark tells: a table, a JSON file, a bar chart."""

import datetime
import importlib.metadata
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from dmsrl_jax.errors import InputError
from experiments import cli

Row = Mapping[str, Any]
HEADER = (
    '| mode | side | images/s | step ms (quartiles) | x eager | memory MiB | start s | '
    'GFLOP | % of peak |'
)


def machine(peak: float | None) -> dict[str, Any]:
    """Where and when: date, device, processor, cores, load, versions, measured matrix peak."""
    versions = {}
    for name in ('jax', 'jaxlib', 'flax', 'optax', 'torch', 'grain'):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        'date': str(datetime.date.today()),
        'device': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
        'platform': jax.devices()[0].platform,
        'processor': cli.processor(),
        'cores': len(os.sched_getaffinity(0)),
        'load': round(os.getloadavg()[0], 1),
        'versions': versions,
        'matrix_peak_flops': peak,
    }


def title(result: Mapping[str, Any]) -> str:
    """Two lines: what was measured; where and when.

    Args:
        result: as `experiments/benchmark.py` writes it.
    """
    where, what = result['machine'], result['problem']
    size, batch = what['image_size'], what['batch_size']
    clock = ', processor time' if where['clock'] == 'cpu' else ''
    return (
        f'{what["model"]}, {size}x{size}, batch {batch} + {batch}, {what["dtype"]}{clock}\n'
        f'{where["device"]} ({where["processor"]}, {where["cores"]} cores), {where["date"]}'
    )


def table(modes: Mapping[str, Sequence[Row]]) -> str:
    """Formats results as a Markdown table.

    Args:
        modes: `{mode: rows}`; rows as `clock.row` makes them, with `against_eager`,
            `model_flops` and `share_of_peak` (None where unknown).

    Returns:
        The table.
    """
    lines = [HEADER, '|---|---' + '|---:' * 7 + '|']
    lines += [_line(mode, row) for mode, rows in modes.items() for row in rows]
    return '\n'.join(lines)


def _line(mode: str, row: Row) -> str:
    low, high = (1e3 * x for x in row['quartiles'])
    memory, against = row['memory_bytes'], row['against_eager']
    needed, share = row['model_flops'], row['share_of_peak']
    cells = (
        mode,
        row['side'],
        _rounded(row['images_per_second']),
        f'{1e3 * row["step_seconds"]:.4g} ({low:.4g} to {high:.4g})',
        '-' if against is None else f'{against:.2f}',
        '-' if memory is None else f'{memory / 2**20:.0f}',
        f'{row["start_seconds"]:.1f}',
        '-' if needed is None else f'{needed / 1e9:.3g}',
        '-' if share is None else f'{100 * share:.0f}',
    )
    return f'| {" | ".join(cells)} |'


def _rounded(value: float) -> str:
    return f'{value:,.0f}' if value >= 1000 else f'{value:.4g}'


def starts(found: Sequence[Mapping[str, Any]]) -> str:
    """Formats cold starts, as `cold.start` measures them, as a Markdown table."""
    lines = [
        '| start | s to the first step | s in all | programs | compiled |',
        '|---|---:|---:|---:|---:|',
    ]
    for name, one in zip(('first', 'second'), found, strict=True):
        seconds = f'{one["first_step_seconds"]:.1f} | {one["seconds"]:.1f}'
        lines.append(f'| {name} | {seconds} | {one["programs"]} | {one["compiled"]} |')
    return '\n'.join(lines)


def chart(path: pathlib.Path, title: str, modes: Mapping[str, Sequence[Row]]) -> None:
    """Draws a panel per mode: images per second, of `latency` milliseconds; quartiles as whiskers.

    Args:
        path: PNG file to write.
        title: stands above.
        modes: as in `table`.

    Raises:
        InputError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            'the chart needs matplotlib: pip install matplotlib, or pass --nochart'
        ) from error
    heights = [len(rows) for rows in modes.values()]
    figure = Figure(figsize=(8, 1.1 + sum(0.32 * n + 0.75 for n in heights)), layout='constrained')
    panels = figure.subplots(len(modes), 1, height_ratios=[n + 1 for n in heights], squeeze=False)
    for axes, (mode, rows) in zip(panels[:, 0], modes.items(), strict=True):
        _panel(axes, mode, rows)
    panels[-1, 0].set_xlabel('bar: median, whisker: quartiles')
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)


def _panel(axes: Any, mode: str, rows: Sequence[Row]) -> None:
    if mode == 'latency':
        unit = 'milliseconds (less is better)'
        lengths = [1e3 * row['step_seconds'] for row in rows]
        limits = [[1e3 * x for x in row['quartiles']] for row in rows]
    else:
        unit = 'images per second'
        lengths = [row['images_per_second'] for row in rows]
        limits = [[row['images'] / x for x in reversed(row['quartiles'])] for row in rows]
    whiskers = [
        [length - low for length, (low, _) in zip(lengths, limits, strict=True)],
        [high - length for length, (_, high) in zip(lengths, limits, strict=True)],
    ]
    ours = [not row['side'].startswith('PyTorch') for row in rows]
    bars = axes.barh(
        [row['side'] for row in rows],
        lengths,
        xerr=whiskers,
        color=['0.55' if mine else 'white' for mine in ours],
        edgecolor='black',
        hatch=['' if mine else '//' for mine in ours],
        ecolor='black',
        capsize=3,
    )
    right = max(high for _, high in limits)
    for bar, length, (_, high) in zip(bars, lengths, limits, strict=True):
        middle = bar.get_y() + bar.get_height() / 2
        axes.text(high + 0.01 * right, middle, _rounded(length), va='center', fontsize=9)
    axes.set_xlim(0, 1.15 * right)
    axes.invert_yaxis()
    axes.set_title(f'{mode.replace("_", " ")}: {unit}', loc='left', fontsize=10)
    axes.spines[['top', 'right']].set_visible(False)

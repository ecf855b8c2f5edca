r"""Writes what benchmarks say into docs/performance.md: goals, tables, cold starts.

    python -m experiments.benchmarking.goals benchmarks/*.json

Takes the files of `experiments/benchmark.py` and `experiments.benchmarking.cold`, and replaces
what stands between the page's marks `<!-- goals -->`, `<!-- measured -->` and `<!-- cold -->`.
"""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from dmsrl_jax.errors import InputError
from experiments import cli
from experiments.benchmarking import report

Result = Mapping[str, Any]
Rows = Mapping[str, Mapping[str, Any]]
OURS, COMPILED, MEMORY = 'ours shard_map', 'PyTorch compile', ', in memory'


class Goal(NamedTuple):
    """A goal, what was found, and whether that is enough."""

    text: str
    found: str
    met: bool


def _at_least(text: str, found: float, least: float, unit: str = 'x') -> Goal:
    shown = f'{100 * found:.0f} %' if unit == '%' else f'{found:.2f}x'
    return Goal(text, shown, found >= least)


def of(result: Result) -> list[Goal]:
    """Goals that one file can answer.

    Args:
        result: what `experiments/benchmark.py` or `experiments.benchmarking.cold` wrote.

    Returns:
        The goals in the order of the modes; none where a side is missing.
    """
    if 'starts' in result:
        compiled = result['starts'][1]['compiled']
        return [Goal('second start: 0 programs compiled', str(compiled), compiled == 0)]
    what, platform = result['problem'], result['machine']['platform']
    where = f'{what["model"]} {what["image_size"]}x{what["image_size"]}, {what["dtype"]}'
    if platform == 'cpu' and not result['machine']['device'].startswith('1 x'):
        where += f', {result["machine"]["device"]}'
    by_mode = {mode: {r['side']: r for r in rows} for mode, rows in result['modes'].items()}
    steps, ends = (by_mode.get(mode, {}) for mode in ('step', 'end_to_end'))
    goals = _of_steps(where, steps, what, on_cpu=platform == 'cpu')
    for suffix in (MEMORY, ''):
        if OURS in steps and OURS + suffix in ends:
            share = _speed(ends, OURS + suffix) / _speed(steps, OURS)
            text = f'{where}: end to end{suffix or ", from disk"} 95 % of the step alone'
            goals.append(_at_least(text, share, 0.95, '%'))
    read = by_mode.get('pipeline', {}).get('ours grain', {}).get('against_eager')
    if read is not None:
        goals.append(_at_least(f'{where}: decoding and batching 2x DataLoader', read, 2.0))
    return goals


def _of_steps(where: str, rows: Rows, what: Mapping[str, Any], *, on_cpu: bool) -> list[Goal]:
    if OURS not in rows:
        return []
    ours, goals = rows[OURS], []
    if on_cpu and what['dtype'] == 'float32' and ours['against_eager'] is not None:
        text = f'{where}: step 1.0x PyTorch eager'
        goals.append(_at_least(text, ours['against_eager'], 1.0))
    if not on_cpu and what['dtype'] == 'bfloat16':
        if COMPILED in rows:
            quotient = _speed(rows, OURS) / _speed(rows, COMPILED)
            goals.append(_at_least(f'{where}: step 1.25x PyTorch compile', quotient, 1.25))
        if what['model'].startswith('vgg16'):
            text = f'{where}: step 45 % of the matrix peak'
            goals.append(_at_least(text, ours['share_of_peak'], 0.45, '%'))
    return goals


def _speed(rows: Rows, side: str) -> float:
    return rows[side]['images_per_second']


def page(text: str, results: Sequence[Result]) -> str:
    """Fills the marked parts of the page.

    Args:
        text: the page as it stands.
        results: the files' content.

    Returns:
        The page.

    Raises:
        InputError: a mark is missing.
    """
    goals = [goal for result in results for goal in of(result)]
    lines = [f'| {g.text} | {g.found} | {"yes" if g.met else "**no**"} |' for g in goals]
    parts = {'goals': '\n'.join(['| goal | measured | met |', '|---|---:|---|', *lines])}
    measured = [result for result in results if 'modes' in result]
    cold = [result for result in results if 'starts' in result]
    parts['measured'] = '\n\n'.join(map(_measured, measured))
    parts['cold'] = '\n\n'.join(_described(r, report.starts(r['starts'])) for r in cold)
    for name, content in parts.items():
        if content:
            text = _replaced(text, name, content)
    return text


def _measured(result: Result) -> str:
    what = report.title(result).partition('\n')[0]
    peak = f'Matrix peak {result["machine"]["matrix_peak_flops"] / 1e9:.4g} GFLOP/s.'
    return f'### {what}\n\n' + _described(result, f'{peak}\n\n{report.table(result["modes"])}')


def _described(result: Result, content: str) -> str:
    machine = result['machine']
    versions = ', '.join(f'{k} {v}' for k, v in machine['versions'].items())
    made = (
        f'{machine["device"]}, {machine["processor"]}, {machine["cores"]} cores, '
        f'{machine["date"]}, {versions}, load {machine["load"]}.'
    )
    return f'    {result["command"]}\n\n{made}\n\n{content}'


def _replaced(text: str, name: str, content: str) -> str:
    begin, end = f'<!-- {name} -->', f'<!-- /{name} -->'
    if begin not in text or end not in text:
        raise InputError(f'the page has no part from {begin} to {end}: put both back')
    return text.partition(begin)[0] + f'{begin}\n{content}\n{end}' + text.partition(end)[2]


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string('docs', 'docs/performance.md', 'The page to fill.', flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Reads the files, prints the goals, rewrites the page."""
    if len(argv) < 2:
        raise InputError('name the files that benchmark.py wrote, for instance benchmarks/*.json')
    path = pathlib.Path(str(values['docs'].value))
    try:
        results = [json.loads(pathlib.Path(name).read_text()) for name in argv[1:]]
        path.write_text(page(path.read_text(), results))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f'{error}; pass files that benchmark.py wrote, and --docs') from error
    for goal in (goal for result in results for goal in of(result)):
        print(f'{"met " if goal.met else "OPEN"} {goal.text}: {goal.found}')


if __name__ == '__main__':
    define_flags()
    cli.run(main)

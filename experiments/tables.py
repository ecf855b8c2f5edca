r"""Runs the rows of a table over seeds and prints it, mean and standard deviation at the last step.

    python experiments/tables.py --workdir DIR \
        --config experiments/configs/ablation.py:SOURCE,TARGET

The config file has a function `rows()` that gives each row's changes. Finished runs are read, not
repeated, so a stopped table goes on; `--jobs 2` runs two at a time.
"""

import concurrent.futures.process
import contextlib
import itertools
import json
import multiprocessing
import pathlib
import runpy
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from dmsrl_jax.data import parallel
from dmsrl_jax.errors import InputError
from experiments import cli

COLUMNS = {
    'source': ('source_test', 'accuracy'),
    'target': ('target_test', 'accuracy'),
    'target mean class': ('target_test', 'mean_class_accuracy'),
    'target oracle': ('oracle', 'accuracy'),
}
# What may be looked at while settings are chosen; see `dmsrl_jax/evaluation/selection.py`.
BLIND = {
    'source accuracy': ('source_test', 'accuracy'),
    'target entropy': ('criteria', 'entropy'),
    'target information': ('criteria', 'information'),
    'target density': ('criteria', 'density'),
}

_CRITERIA = (
    'Criteria in nats, of predictions on target images; none is a proof (docs/choices.md):',
    'entropy: less is surer; information: more is surer, and uses more classes;',
    'density: more has neighbours that agree.',
)


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    config_flags.DEFINE_config_file(
        'config', None, 'Config file that has `rows()`.', flag_values=values
    )
    text, listed = flags.DEFINE_string, flags.DEFINE_list
    text('workdir', None, 'Folder of the table; one folder per run inside.', flag_values=values)
    listed('seeds', ['0', '1', '2'], 'Seeds of each row.', flag_values=values)
    listed('rows', [], 'Only these rows.', flag_values=values)
    blind = 'Print what settings may be chosen by: nothing that target labels went into.'
    flags.DEFINE_boolean('blind', False, blind, flag_values=values)
    jobs = 'Runs at a time, each a process of its own if > 1.'
    flags.DEFINE_integer('jobs', 1, jobs, 1, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Runs what is missing, prints the table, writes it (`table.md` and `.json`, `blind.md`)."""
    flag: dict[str, Any] = values.flag_values_dict()
    config = flag['config']
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    if config is None or not flag['workdir']:
        raise InputError('pass --config FILE (one that has rows) and --workdir DIR')
    workdir, seeds = pathlib.Path(flag['workdir']), _seeds(flag['seeds'])
    path = config_flags.get_config_filename(values['config']).partition(':')[0]
    rows = _rows(path, flag['rows'])
    plan = [
        (workdir / name / f'seed{seed}', _changed(config, changes, seed))
        for seed in seeds
        for name, changes in rows.items()
    ]
    _run_all(plan, flag['jobs'], quiet=flag['blind'])
    results = {
        name: [
            json.loads((workdir / name / f'seed{seed}' / 'result.json').read_text())
            for seed in seeds
        ]
        for name in rows
    }
    text = blind_table(results) if flag['blind'] else table(results)
    path = workdir / ('blind.md' if flag['blind'] else 'table.md')
    print(text)
    try:
        path.write_text(text + '\n', encoding='utf-8')
        if not flag['blind']:
            path.with_suffix('.json').write_text(json.dumps(results, indent=1) + '\n')
    except OSError as error:
        raise InputError(f'cannot write {path}: {error}; the same command writes it') from error
    print(f'runs: {workdir}/<row>/seed<n>   table: {path}')


def _seeds(texts: Sequence[str]) -> list[int]:
    numbers = [int(text) for text in texts if text.isdecimal()]
    # A seed twice would count one run as two.
    if not texts or len(set(numbers)) < len(texts):
        raise InputError(
            f'--seeds takes different whole numbers from 0 on, such as 0,1,2, got '
            f'{",".join(texts)!r}'
        )
    return numbers


def _rows(path: str, chosen: Sequence[str]) -> dict[str, dict[str, Any]]:
    module = runpy.run_path(path)
    if 'rows' not in module:
        raise InputError(f'{path} has no function rows(); see experiments/configs/ablation.py')
    rows = module['rows']()
    unknown = sorted(set(chosen) - set(rows))
    if unknown:
        raise InputError(f'{path} has no rows {", ".join(unknown)}; it has: {", ".join(rows)}')
    return {name: rows[name] for name in (chosen or rows)}


def _changed(base: Any, changes: Mapping[str, Any], seed: int) -> Any:
    config = base.copy_and_resolve_references()
    with config.unlocked():
        config.update_from_flattened_dict({**changes, 'seed': seed})
    return config.lock()


def _run_all(plan: list[tuple[pathlib.Path, Any]], jobs: int, *, quiet: bool) -> None:
    from dmsrl_jax.training.workdirs import claim, finished

    cli.cache_compilations()
    for path, config in plan:
        # A finished run of another config must not end up in this table.
        if (path / 'config.json').exists() or (path / 'result.json').exists():
            claim(path, config)
    todo = [(path, config) for path, config in plan if finished(path) is None]
    if jobs == 1:
        for number, (path, config) in enumerate(todo):
            print(f'[{number + 1}/{len(todo)}] {path}', flush=True)
            # What a run says names its accuracy on target.
            (_run_logged if quiet else _run)(path, config)
        return
    try:
        _run_pooled(todo, jobs)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise InputError(
            'a run was killed, perhaps for want of memory: the same command goes on, with fewer '
            '--jobs if it was that'
        ) from error


def _run_pooled(todo: list[tuple[pathlib.Path, Any]], jobs: int) -> None:
    """Runs several at a time; none is begun after the first that fails."""
    context, start = multiprocessing.get_context('spawn'), parallel.end_with_parent
    with concurrent.futures.ProcessPoolExecutor(jobs, context, initializer=start) as pool:
        # No more than are running: the pool cannot call back what waits in its own queue.
        rest, number = iter(todo), 0
        running = {pool.submit(_run_logged, *one): one[0] for one in itertools.islice(rest, jobs)}
        while running:
            done, _ = concurrent.futures.wait(running, return_when='FIRST_COMPLETED')
            for future in done:
                path = running.pop(future)
                if future.exception():
                    still = ', '.join(map(str, running.values())) or 'nothing'
                    print(f'{path} failed; still running: {still}', file=sys.stderr, flush=True)
                future.result()
                number += 1
                print(f'[{number}/{len(todo)}] {path}', flush=True)
            for one in itertools.islice(rest, jobs - len(running)):
                running[pool.submit(_run_logged, *one)] = one[0]


def _run(path: pathlib.Path, config: Any) -> None:
    from dmsrl_jax.training import loop

    loop.train(config, path)


def _run_logged(path: pathlib.Path, config: Any) -> None:
    path.mkdir(parents=True, exist_ok=True)
    cli.cache_compilations()
    with (path / 'log.txt').open('a') as log, contextlib.redirect_stderr(log):
        _run(path, config)


def table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Formats results as a Markdown table.

    Args:
        results: `{row: result.json of each seed}`; gains are over the first row, seed by seed.

    Returns:
        The table, accuracies in percent as mean ± standard deviation over seeds; a dash where
        the target has no labels.
    """
    first = _values(next(iter(results.values())), COLUMNS['target'])
    lines = _head((*COLUMNS, 'target gain'))
    for name, runs in results.items():
        cells = [_cell(runs, place) for place in COLUMNS.values()]
        gain = _gain(_values(runs, COLUMNS['target']), first)
        lines.append(f'| {name} | {" | ".join(cells)} | {gain} | {len(runs)} |')
    return '\n'.join(lines)


def blind_table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Formats what settings may be chosen by, without anything that target labels went into.

    Args:
        results: see `table`.

    Returns:
        The table: accuracy on source in percent, criteria on target in nats; what they mean.
    """
    lines = _head(tuple(BLIND))
    for name, runs in results.items():
        cells = [_cell(runs, place) for place in BLIND.values()]
        lines.append(f'| {name} | {" | ".join(cells)} | {len(runs)} |')
    return '\n'.join([*lines, '', *_CRITERIA])


def _head(columns: Sequence[str]) -> list[str]:
    names = ('row', *columns, 'seeds')
    return [f'| {" | ".join(names)} |', '|---' * len(names) + '|']


def _values(runs: Sequence[Mapping[str, Any]], place: tuple[str, str]) -> list[float]:
    group, field = place
    return [run[group][field] for run in runs if run[group] is not None]


def _gain(target: Sequence[float], first: Sequence[float]) -> str:
    """Mean and spread of the gains of single seeds: what they share with the first row is out."""
    gains = [100 * (here - there) for here, there in zip(target, first, strict=True)]
    if not gains:
        return '-'
    spread = f' ± {statistics.stdev(gains):.1f}' if len(gains) > 1 and any(gains) else ''
    return f'{statistics.fmean(gains):+.1f}{spread}'


def _cell(runs: Sequence[Mapping[str, Any]], place: tuple[str, str]) -> str:
    """Mean and spread: of criteria in nats, of accuracies in percent."""
    scale, digits = (1, 3) if place[0] == 'criteria' else (100, 1)
    if not (values := _values(runs, place)):
        return '-'
    mean = f'{scale * statistics.fmean(values):.{digits}f}'
    if len(values) == 1:
        return mean
    return f'{mean} ± {scale * statistics.stdev(values):.{digits}f}'


if __name__ == '__main__':
    define_flags()
    cli.run(main)

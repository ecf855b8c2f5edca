r"""Measures this library and the PyTorch baseline side by side, in turns, in one run.

    python experiments/benchmark.py --model vgg16_multilevel --image_size 64 --batch_size 8 \
        --modes step,latency --out benchmarks/cpu_vgg16

Prints a table and writes OUT.json and OUT.png. Without PyTorch it measures this library alone.
Modes `end_to_end` and `pipeline` read prepared corpora: --source and --target.
"""

import importlib.util
import os
import pathlib
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from absl import flags

from dmsrl_jax.errors import InputError
from experiments import cli

MODES = ('step', 'end_to_end', 'pipeline', 'evaluation', 'latency')
READING = {'end_to_end': 5, 'pipeline': 20}  # from prepared corpora: steps in a turn per worker
SIDES = ('torch', 'torch_compile', 'shard_map', 'pmap')
NAMES = {
    'torch': 'PyTorch eager',
    'torch_compile': 'PyTorch compile',
    'shard_map': 'ours shard_map',
    'pmap': 'ours pmap',
}
EAGER = NAMES['torch']


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    text, number, several = flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_list
    where: dict[str, Any] = {'flag_values': values}
    text('model', 'vgg16_multilevel', 'A network, one of dmsrl_jax.models.names().', **where)
    number('image_size', 224, 'Side of the images.', 16, **where)
    number('batch_size', 64, 'Images per domain and step.', 1, **where)
    flags.DEFINE_enum('dtype', 'float32', ['float32', 'bfloat16'], 'Of the computation.', **where)
    several('sides', list(SIDES), f'Some of {", ".join(SIDES)}.', **where)
    several('modes', ['step'], f'Some of {", ".join(MODES)}.', **where)
    number('steps', 30, 'Timed steps of each side.', 1, **where)
    number('turn', 0, 'Steps in a turn; 0: 10, on a CPU 1, more per worker from disk.', 0, **where)
    number('warmup', 3, 'Steps of each side before its first turn.', 1, **where)
    virtual = 'Virtual devices of a CPU for our training and evaluation, as config.devices.'
    number('cpu_devices', 1, virtual, 1, **where)
    which = 'wall: seconds that pass; cpu: of processors, where others keep the machine busy.'
    flags.DEFINE_enum('clock', 'wall', ['wall', 'cpu'], which, **where)
    text('source', 'synthetic_faces/studio', 'Prepared corpus.', **where)
    text('target', 'synthetic_faces/wild', 'Prepared corpus.', **where)
    text('data_dir', None, 'Where prepared corpora lie.', **where)
    number('workers', os.cpu_count() or 1, 'Cores that prepare batches.', 1, **where)
    text('out', None, 'Write OUT.json and OUT.png.', **where)
    flags.DEFINE_bool('chart', True, 'Whether to write OUT.png (needs matplotlib).', **where)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Measures, prints the table, writes the files."""
    flag = values.flag_values_dict()
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    _one_of(flag['modes'], MODES, '--modes')
    _one_of(flag['sides'], SIDES, '--sides')
    if flag['out'] and flag['chart'] and not importlib.util.find_spec('matplotlib'):
        raise InputError('the chart needs matplotlib: pip install matplotlib, or pass --nochart')
    if flag['out']:
        _make_folder(pathlib.Path(flag['out']).parent)
    # Before either library starts: share the GPU's memory, and compile anew.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
    os.environ.setdefault('TORCHINDUCTOR_FORCE_DISABLE_CACHES', '1')
    if flag['clock'] == 'cpu':  # PyTorch's threads would count the time in which they wait
        os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    with tempfile.TemporaryDirectory() as folder:
        _compile_into(folder)
        try:
            result = measure(flag)
        finally:
            _compile_into(None)
    result['command'] = f'python experiments/benchmark.py {shlex.join(sys.argv[1:])}'
    _tell(result, flag)


def _one_of(chosen: Sequence[str], known: Sequence[str], name: str) -> None:
    unknown = [word for word in chosen if word not in known]
    if unknown or not chosen:
        raise InputError(
            f'{name} has {", ".join(unknown) or "nothing"}; there are: {", ".join(known)}'
        )


def _make_folder(folder: pathlib.Path) -> None:
    """Makes the place of the files before anything is measured."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f'cannot make {folder}: {error}; pass another --out') from error


def _compile_into(folder: str | None) -> None:
    """An empty cache: starts are cold, and asking a program for its memory is no second start."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    compilation_cache.reset_cache()  # it keeps the folder of its first use
    jax.config.update('jax_compilation_cache_dir', folder)
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def measure(flag: Mapping[str, Any]) -> dict[str, Any]:
    """Measures all modes.

    Args:
        flag: values of the flags above.

    Returns:
        What is written as JSON, less the command.

    Raises:
        InputError: sides are not comparable, or a corpus is not prepared.
    """
    import jax

    from dmsrl_jax.training import mapping
    from experiments.benchmarking import clock, flops, report
    from experiments.benchmarking.sides import Problem

    problem = Problem(*(flag[k] for k in ('model', 'image_size', 'batch_size', 'dtype')))
    has_torch = importlib.util.find_spec('torch') is not None
    chosen = [side for side in flag['sides'] if has_torch or not side.startswith('torch')]
    if not chosen:
        raise InputError('torch is not installed: pip install torch==2.13.0, or other --sides')
    if len(chosen) < len(flag['sides']):
        print('torch is not installed: measuring this library alone', file=sys.stderr)
    mapping.make_virtual(flag['cpu_devices'])
    on_cpu = jax.devices()[0].platform == 'cpu'
    # Virtual devices of a CPU share its cores.
    peak = (1 if on_cpu else jax.device_count()) * flops.peak(
        problem.dtype, 2048 if on_cpu else 8192, clock=clock.CLOCKS[flag['clock']]
    )
    modes = {}
    for mode in flag['modes']:
        print(f'{mode} ...', file=sys.stderr, flush=True)
        makers = catalogue(mode, problem, chosen, flag)
        # Each worker makes whole batches: at the end of a turn some of them have none to make.
        turn = READING[mode] * flag['workers'] if mode in READING else 1 if on_cpu else 10
        modes[mode] = _measure_mode(makers, flag, turn=flag['turn'] or turn)
        for row in modes[mode]:
            row['model_flops'] = needed = _operations(mode, problem, row['images'])
            row['share_of_peak'] = needed and needed / row['step_seconds'] / peak
    where = {**report.machine(peak), 'clock': flag['clock']}
    return {'problem': vars(problem), 'machine': where, 'modes': modes}


def catalogue(
    mode: str, problem: Any, chosen: Sequence[str], flag: Mapping[str, Any]
) -> dict[str, Callable[[], Any]]:
    """Makers of the tasks of a mode.

    Args:
        mode: one of `MODES`.
        problem: what all get.
        chosen: some of `SIDES`.
        flag: values of the flags, for the corpora.

    Returns:
        `{name: maker}` in the order of `chosen`.
    """
    from experiments.benchmarking import jax_sides

    found: dict[str, Callable[[], Any]] = {}
    data: Any = None
    if mode in READING:
        from experiments.benchmarking import inputs

        data = inputs.load(*(flag[k] for k in ('source', 'target', 'data_dir', 'workers')))
    for side in chosen:
        if mode == 'pipeline':
            found |= _pipelines(side, problem, data)
        elif side.startswith('torch'):
            found[NAMES[side]] = _torch_maker(mode, problem, side == 'torch_compile', data)
        elif mode == 'step':
            found[NAMES[side]] = partial(jax_sides.training, problem, side)
        elif mode == 'end_to_end':
            for kept, words in ((False, ''), (True, ', in memory')):
                found[NAMES[side] + words] = partial(
                    inputs.jax_end_to_end, problem, data, side, in_memory=kept
                )
        elif side == 'shard_map':  # there is one way to evaluate, whatever maps the training
            found['ours'] = lambda: getattr(jax_sides, mode)(problem)
    return found


def _torch_maker(mode: str, problem: Any, compiled: bool, data: Any) -> Callable[[], Any]:
    from experiments.benchmarking import torch_sides

    torch_sides.prepare()
    if mode == 'end_to_end':
        from experiments.benchmarking import inputs

        return lambda: inputs.torch_end_to_end(problem, data, compiled=compiled)
    make = getattr(torch_sides, 'training' if mode == 'step' else mode)
    return lambda: make(problem, compiled=compiled)


def _pipelines(side: str, problem: Any, data: Any) -> dict[str, Callable[[], Any]]:
    from experiments.benchmarking import inputs

    if side == 'torch':
        return {'PyTorch DataLoader': lambda: inputs.loader_pipeline(problem, data)}
    if side == 'shard_map':
        return {
            'ours grain': lambda: inputs.grain_pipeline(problem, data, in_memory=False),
            'ours grain, in memory': lambda: inputs.grain_pipeline(problem, data, in_memory=True),
        }
    return {}


def _measure_mode(
    makers: Mapping[str, Callable[[], Any]], flag: Mapping[str, Any], turn: int
) -> list[dict[str, Any]]:
    from experiments.benchmarking import clock
    from experiments.benchmarking.sides import check_equal

    tasks = {name: make() for name, make in makers.items()}
    try:
        if tasks:
            check_equal(tasks.items())
        found = clock.alternate(
            tasks,
            steps=flag['steps'],
            turn=turn,
            warmup=flag['warmup'],
            clock=clock.CLOCKS[flag['clock']],
        )
        rows = [clock.row(name, task, found[name]) for name, task in tasks.items()]
    finally:
        for task in tasks.values():
            task.close()
    base = next((name for name in tasks if name.startswith('PyTorch')), None)
    for row in rows:
        row['against_eager'] = clock.ratio(found[row['side']], found[base]) if base else None
    return rows


def _operations(mode: str, problem: Any, images: int) -> int | None:
    """Floating-point operations that the network needs for one step of a mode."""
    from experiments.benchmarking import flops

    if mode in ('step', 'end_to_end'):
        return flops.training(problem.model, problem.image_size, images)
    if mode == 'pipeline':
        return None
    return 2 * images * flops.forward(problem.model, problem.image_size)


def _tell(result: dict[str, Any], flag: Mapping[str, Any]) -> None:
    import json

    from experiments.benchmarking import report

    where, title = result['machine'], report.title(result)
    peak = where['matrix_peak_flops'] / 1e9
    print(f'{title}\nmatrix peak {peak:.4g} GFLOP/s, load {where["load"]}')
    if where['clock'] == 'cpu':
        print("per second of processor time, all cores' together, not of the wall clock")
    print(f'\n{report.table(result["modes"])}')
    if not flag['out']:
        return
    out = pathlib.Path(flag['out'])
    try:
        out.with_suffix('.json').write_text(json.dumps(result, indent=1) + '\n')
        if flag['chart']:
            report.chart(out.with_suffix('.png'), title, result['modes'])
    except OSError as error:
        raise InputError(f'cannot write {out}: {error}; pass another --out') from error
    print(f'\nwritten: {out.with_suffix(".json")}' + f', {out.with_suffix(".png")}' * flag['chart'])


if __name__ == '__main__':
    define_flags()
    cli.run(main)

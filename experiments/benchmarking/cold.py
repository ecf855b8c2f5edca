r"""Cold start: seconds to the first step and programs compiled, in the first and a second start.

    python -m experiments.benchmarking.cold --out benchmarks/cpu_cold -- \
        --config experiments/configs/pair.py:synthetic_faces/studio,synthetic_faces/wild

Starts `experiments/train.py` twice, with what follows `--`, for two steps: with the default
`adapt_from` one on the source alone, one of adaptation. The cache of compiled programs is an empty
folder at the first start and kept for the second.
"""

import collections
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from dmsrl_jax.errors import InputError
from experiments import cli, train

_COUNTED = 'from experiments.benchmarking import cold; cold.counted()'
_EVENTS = '/jax/compilation_cache/'


def counted() -> None:
    """Is `train.py`, and prints at its end how many programs it asked for and how many it found."""
    import jax

    seen: collections.Counter[str] = collections.Counter()
    jax.monitoring.register_event_listener(lambda event, **_: seen.update([event]))

    def main(argv: Sequence[str]) -> None:
        train.main(argv)
        asked, found = (seen[_EVENTS + n] for n in ('compile_requests_use_cache', 'cache_hits'))
        print(json.dumps({'programs': asked, 'compiled': asked - found}))

    train.define_flags()
    cli.run(main)


def start(arguments: Sequence[str], workdir: pathlib.Path, cache: pathlib.Path) -> dict[str, Any]:
    """Starts `train.py` for two steps, one before adaptation and one in it.

    Args:
        arguments: of `train.py`, without those below.
        workdir: of the run.
        cache: folder of the compiled programs.

    Returns:
        `first_step_seconds` from the start of the process to the first step's metrics, `seconds`
        to its end, `programs` that JAX asked for, and how many of them it had to compile,
        `compiled`.

    Raises:
        InputError: the run failed; the message is its own.
    """
    extra = ['--workdir', str(workdir), '--config.steps=2', '--config.log_every=1']
    environment = {**os.environ, 'JAX_COMPILATION_CACHE_DIR': str(cache)}
    with tempfile.TemporaryFile('w+') as output, tempfile.TemporaryFile('w+') as errors:
        begun = time.perf_counter()
        command = [sys.executable, '-c', _COUNTED, *arguments, *extra]
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        first = None
        while process.poll() is None:
            time.sleep(0.01)
            if first is None and _has_text(workdir / 'metrics.jsonl'):
                first = time.perf_counter() - begun
        seconds = time.perf_counter() - begun
        output.seek(0), errors.seek(0)
        if process.returncode or first is None:
            raise InputError(f'train.py failed: {errors.read().strip()[-500:]}')
        counts = json.loads(output.read().splitlines()[-1])
    return {'first_step_seconds': first, 'seconds': seconds, **counts}


def _has_text(path: pathlib.Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string('out', None, 'Write OUT.json.', flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Starts twice and prints both."""
    from experiments.benchmarking import report

    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        starts = [start(argv[1:], root / f'run{n}', root / 'compiled') for n in range(2)]
    print(report.starts(starts))
    if values['out'].value:
        arguments = shlex.join(sys.argv[1:])
        command = f'python -m experiments.benchmarking.cold {arguments}'
        result = {'machine': report.machine(None), 'starts': starts, 'command': command}
        path = pathlib.Path(values['out'].value).with_suffix('.json')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + '\n')


if __name__ == '__main__':
    define_flags()
    cli.run(main)

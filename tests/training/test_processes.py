"""Two processes on one machine, through the command line, end as one process with two devices."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import chex
import jax
import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import loop, mapping, run
from dmsrl_jax.training.checkpoints import Checkpoints
from experiments import processes

ROOT = pathlib.Path(processes.__file__).parents[1]
SETTINGS = {
    'model.name': 'small',
    'image_size': 8,
    'batch_size': 8,
    'eval_batch_size': 16,
    'model.statistics': 'per_domain',
    'devices': 0,
    'steps': 4,
    'log_every': 1,
    'eval_every': 2,
    'checkpoint_every': 2,
    'dmsrl.hidden': 4,
    'adapt_from': 0.5,
    'dmsrl.threshold': 0.1,
}
# The command itself, with the small network of conftest.py among the models.
COMMAND = """
import runpy, sys
from dmsrl_jax import models
models._BACKBONES['small'] = runpy.run_path('tests/training/conftest.py')['SmallBackbone']
sys.argv = ['experiments/train.py', *sys.argv[1:]]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def start(number, port, workdir, data_dir):
    """Starts one of two processes, with one CPU device."""
    pair = 'synthetic_faces/studio,synthetic_faces/wild'
    fields = {**SETTINGS, 'data_dir': data_dir, 'devices': 2}  # of both together
    environment = {name: value for name, value in os.environ.items() if name != 'XLA_FLAGS'} | {
        'JAX_PLATFORMS': 'cpu',
        'JAX_NUM_CPU_DEVICES': '1',
        'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
        'JAX_COMPILATION_CACHE_DIR': '',
        'PYTHONPATH': str(ROOT),
    }
    arguments = [
        *('--config', f'experiments/configs/pair.py:{pair}', '--workdir', workdir),
        *(f'--config.{name}={value}' for name, value in fields.items()),
        *('--coordinator', f'localhost:{port}', '--processes', 2, '--process', number),
    ]
    return subprocess.Popen(
        [sys.executable, '-c', COMMAND, *map(str, arguments)],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def free_port():
    with socket.socket() as found:
        found.bind(('localhost', 0))
        return found.getsockname()[1]


@pytest.fixture(scope='module')
def together(tiny_data, tmp_path_factory):
    """The workdir of a run of two processes, and (stdout, stderr) of both."""
    workdir, port = tmp_path_factory.mktemp('together') / 'run', free_port()
    both = [start(number, port, workdir, tiny_data) for number in range(2)]
    try:
        told = [process.communicate(timeout=900) for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [0, 0], told
    return workdir, told


@pytest.fixture(scope='module')
def alone(tiny_config, small, tmp_path_factory):
    """The workdir and the result of the same run in this process, on two devices."""
    workdir = tmp_path_factory.mktemp('alone') / 'run'
    return workdir, loop.train(tiny_config(**{**SETTINGS, 'devices': 2}), workdir)


def final_state(workdir, initial):
    checkpoints = Checkpoints(workdir)
    state, position = checkpoints.restore(initial)
    checkpoints.close()
    return jax.device_get(state.replace(key=jax.random.key_data(state.key))), position['batches']


def test_they_end_with_the_parameters_of_one_process(together, alone, tiny_config):
    parts = run.prepare(tiny_config(**{**SETTINGS, 'devices': 2}), say=lambda text: None)
    parts.batches.close()
    ours, position = final_state(together[0], parts.initial)
    theirs, expected = final_state(alone[0], parts.initial)
    assert int(ours.step) == 4
    chex.assert_trees_all_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert position == expected  # a run may go on with another number of processes


def test_they_find_the_scores_of_one_process(together, alone):
    result = json.loads((together[0] / 'result.json').read_text())
    for name in ('devices', 'source_test', 'target_test', 'oracle', 'pseudo_label'):
        assert result[name] == alone[1][name], name
    assert result['target_test']['count'] == 28


def test_only_the_first_one_writes_and_speaks(together):
    workdir, ((out, err), (silent_out, silent_err)) = together
    lines = (workdir / 'metrics.jsonl').read_text().splitlines()
    steps = [json.loads(line)['step'] for line in lines]
    assert steps == [1, 2, 2, 3, 4, 4]  # with an evaluation after steps 2 and 4
    assert len(list(workdir.glob('events*'))) == 1
    assert sorted(path.name for path in (workdir / 'checkpoints').iterdir()) == ['2', '4']
    assert out.endswith(f'result: {workdir}/result.json\n')
    assert 'step 4/4' in err
    assert 'target: 64 images' in err
    assert [line for line in silent_out.splitlines() if not line.startswith('[Gloo]')] == []
    assert 'step' not in silent_err
    assert 'images' not in silent_err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--processes=2',), 'do nothing without --coordinator'),
        (('--process=0',), 'do nothing without --coordinator'),
        (('--coordinator=h:1', '--processes=2'), r'h:1 needs --processes N .* got 2 and None'),
        (('--coordinator=h:1', '--processes=2', '--process=2'), r'0 \.\. N-1; got 2 and 2'),
        (('--coordinator=auto',), r'did not find each other through --coordinator auto: '),
    ],
)
def test_flags_that_do_not_fit(arguments, message):
    values = flags.FlagValues()
    processes.define_flags(values)
    values(['train.py', *arguments])
    with pytest.raises(InputError, match=message):
        processes.join(values)


def test_it_says_for_what_it_waits(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(jax.distributed, 'initialize', lambda **given: seen.append(given))
    values = flags.FlagValues()
    processes.define_flags(values)
    values(['train.py', '--coordinator=h:1', '--processes=2', '--process=1'])
    processes.join(values)
    assert seen == [{'coordinator_address': 'h:1', 'num_processes': 2, 'process_id': 1}]
    assert capsys.readouterr().err == 'process 1 of 2: waits up to five minutes for all at h:1\n'


def test_without_flags_nothing_is_joined(monkeypatch):
    monkeypatch.setattr(jax.distributed, 'initialize', None)
    values = flags.FlagValues()
    processes.define_flags(values)
    values(['train.py'])
    processes.join(values)


def test_what_several_processes_cannot_do(monkeypatch):
    monkeypatch.setattr(jax, 'process_count', lambda: 2)
    with pytest.raises(InputError, match=r'devices=1 of the 4 of 2 processes: .* devices=0'):
        mapping.devices(1)
    assert len(mapping.devices(4)) == len(mapping.devices()) == 4
    with pytest.raises(InputError, match='mapping=pmap is for one process'):
        mapping.map_train_step(lambda state, batch: (state, {}), mapping.devices(), 'pmap')

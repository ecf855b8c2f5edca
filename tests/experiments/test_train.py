"""The training command: what it prints, what it refuses, and that it goes on after `kill -9`."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import chex
import jax
import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import loop, run
from dmsrl_jax.training.checkpoints import Checkpoints
from experiments import train

ROOT = pathlib.Path(train.__file__).parents[1]
PAIR = 'experiments/configs/pair.py:synthetic_faces/studio,synthetic_faces/wild'


@pytest.fixture
def in_process(monkeypatch):
    def call(*arguments):
        values, argv = flags.FlagValues(), ['train.py', *map(str, arguments)]
        monkeypatch.setattr('sys.argv', argv)  # where the fields of a config are looked for
        train.define_flags(values)
        return train.main(values(argv), values)

    return call


def test_the_result_in_words(in_process, monkeypatch, tmp_path, capsys):
    seen = []
    score = {'accuracy': 0.5, 'mean_class_accuracy': 0.25, 'macro_f1': 0.125, 'count': 28}

    def fake(config, workdir):
        seen.append((config, workdir))
        return {'source_test': score, 'target_test': {**score, 'accuracy': 0.75}}

    monkeypatch.setattr(loop, 'train', fake)
    monkeypatch.setattr(train.cli, 'cache_compilations', lambda: None)
    in_process(
        '--config', PAIR, '--config.seed=3', '--config.dmsrl.alpha=0.5', '--workdir', tmp_path
    )
    ((config, workdir),) = seen
    assert config.is_locked
    assert (config.seed, config.dmsrl.alpha, workdir) == (3, 0.5, str(tmp_path))
    assert capsys.readouterr().out.splitlines() == [
        'source_test: accuracy 0.5000, mean class accuracy 0.2500, macro F1 0.1250 (28 images)',
        'target_test: accuracy 0.7500, mean class accuracy 0.2500, macro F1 0.1250 (28 images)',
        f'result: {tmp_path}/result.json',
    ]


def test_no_labels_in_words(in_process, monkeypatch, tmp_path, capsys):
    score = {'accuracy': 0.5, 'mean_class_accuracy': 0.25, 'macro_f1': 0.125, 'count': 28}
    result = {'source_test': score, 'target_test': None}
    monkeypatch.setattr(loop, 'train', lambda config, workdir: result)
    monkeypatch.setattr(train.cli, 'cache_compilations', lambda: None)
    in_process('--config', PAIR, '--workdir', tmp_path)
    assert capsys.readouterr().out.splitlines()[1] == 'target_test: no labels: not evaluated'


@pytest.mark.parametrize(
    'arguments', [(), ('--config', PAIR), ('--workdir', 'x')], ids=['nothing', 'config', 'workdir']
)
def test_what_is_missing_is_asked_for(in_process, arguments):
    with pytest.raises(InputError, match='pass --config FILE and --workdir DIR'):
        in_process(*arguments)


def test_stray_arguments_are_refused(in_process):
    with pytest.raises(InputError, match='unexpected arguments: more'):
        in_process('--config', PAIR, '--workdir', 'x', 'more')


def start(*arguments, cache='', **settings):
    environment = {
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
        'JAX_COMPILATION_CACHE_DIR': str(cache),
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    }
    return subprocess.Popen(
        [sys.executable, 'experiments/train.py', *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,
    )


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--config', PAIR, '--config.nonexistent=1'), "the config has no field 'nonexistent'"),
        (('--config', PAIR, '--config.dmsrl.alhpa=1'), 'alhpa.*, perhaps alpha is meant; exp'),
        (('--config', 'experiments/configs/pair.py:a'), "after a colon, got 'a'"),
        (
            ('--config', 'no_such.py'),
            'there is no config file no_such.py; experiments/configs has some',
        ),
        (('--config', PAIR, '--config.batch_size=many'), "invalid literal for int.* 'many'"),
    ],
)
def test_a_mistake_in_the_config_is_one_line(arguments, message, tmp_path):
    process = start(*arguments, '--workdir', tmp_path / 'run')
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2
    (line,) = error.splitlines()
    assert line.startswith('error: ')
    assert re.search(message, line), line
    assert not (tmp_path / 'run').exists()


def test_a_cpu_becomes_two_devices_before_anything_starts_jax(monkeypatch, tmp_path):
    monkeypatch.setenv('XLA_FLAGS', '')
    options = ('--config.devices=2', f'--config.data_dir={tmp_path}/none')
    process = start('--config', PAIR, *options, '--workdir', tmp_path / 'run')
    _, error = process.communicate(timeout=300)
    (line,) = error.splitlines()
    assert 'synthetic_faces/studio' in line, 'the corpus is the first thing that is missing'
    assert 'asked for' not in line


def final_parameters(workdir, config):
    parts = run.prepare(config, say=lambda text: None)
    parts.batches.close()
    checkpoints = Checkpoints(workdir)
    state, position = checkpoints.restore(parts.initial)
    checkpoints.close()
    return jax.device_get(state.replace(key=jax.random.key_data(state.key))), position['batches']


def test_a_killed_run_goes_on_and_ends_the_same(tiny_data, tiny_config, tmp_path):
    changes = {
        'method': 'source_only',
        'model.local': False,
        'model.statistics': 'joint',
        'image_size': 16,
        'batch_size': 8,
        'devices': 1,
        'steps': 60,
        'checkpoint_every': 5,
        'log_every': 1,
        'average': True,
    }

    def command(workdir):
        fields = [f'--config.{name}={value}' for name, value in changes.items()]
        fields.append(f'--config.data_dir={tiny_data}')
        return start('--config', PAIR, *fields, '--workdir', workdir, cache=tmp_path / 'xla')

    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    process = command(whole)
    output, error = process.communicate(timeout=500)
    assert process.returncode == 0, error
    assert output.endswith(f'result: {whole}/result.json\n')

    process = command(killed)
    deadline = time.monotonic() + 500
    while not (killed / 'checkpoints' / '5').exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / 'result.json').exists()

    process = command(killed)
    _, error = process.communicate(timeout=500)
    assert process.returncode == 0, error
    assert 'going on from step ' in error
    config = tiny_config(**changes)
    one, other = (final_parameters(workdir, config) for workdir in (whole, killed))
    chex.assert_trees_all_equal(one, other)
    results = [json.loads((workdir / 'result.json').read_text()) for workdir in (whole, killed)]
    assert results[0]['target_test'] == results[1]['target_test']
    lines = (killed / 'metrics.jsonl').read_text().splitlines()
    steps = [json.loads(line)['step'] for line in lines]
    assert steps == [*range(1, 61), 60]  # the last one is the evaluation

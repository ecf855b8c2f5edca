"""Two starts of the smallest run: what the first compiled, the second finds."""

import json
import pathlib

import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from experiments import cli
from experiments.benchmarking import cold

ROOT = pathlib.Path(cli.__file__).parents[1]
PAIR = 'experiments/configs/pair.py:synthetic_faces/studio,synthetic_faces/wild'
TINY = {'image_size': 16, 'batch_size': 8, 'method': 'source_only', 'model.local': False}


@pytest.fixture
def call(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
    monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')

    def run(*arguments):
        values = flags.FlagValues()
        cold.define_flags(values)
        return cold.main(values(['cold', *map(str, arguments)]), values)

    return run


def test_the_second_start_compiles_nothing(call, tiny_data, tmp_path, capsys, monkeypatch):
    kept = []

    def recorded(arguments, workdir, folder, start=cold.start):
        found = start(arguments, workdir, folder)
        kept.append(sorted(path.name for path in folder.glob('*-cache')))
        return found

    monkeypatch.setattr(cold, 'start', recorded)
    changes = {**TINY, 'data_dir': tiny_data}
    arguments = [f'--config.{name}={value}' for name, value in changes.items()]
    call('--out', tmp_path / 'cold', '--', '--config', PAIR, *arguments)
    first, second = json.loads((tmp_path / 'cold.json').read_text())['starts']
    # The first finds only what it has compiled itself a moment ago.
    assert first['programs'] >= first['compiled'] > 5
    assert second['programs'] == first['programs']
    assert second['compiled'] == 0
    assert first['compiled'] == len(kept[0])
    assert kept[1] == kept[0]
    for start in (first, second):
        assert 0 < start['first_step_seconds'] < start['seconds']
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(' | ')[0] for line in lines[2:]] == ['| first', '| second']


def test_the_mistake_of_the_run_is_told(call):
    with pytest.raises(InputError, match=r'train\.py failed: .*nothing'):
        call('--', '--config', PAIR, '--config.data_dir=/nothing')

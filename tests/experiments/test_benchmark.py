"""The benchmark command on the smallest problem, alone and side by side; what it refuses."""

import importlib.util
import json
import subprocess
import sys

import jax
import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from experiments import benchmark
from experiments.benchmarking import flops, inputs, jax_sides
from experiments.benchmarking.sides import Problem, Task

TINY = ('--model=tiny_multilevel', '--image_size=16', '--batch_size=4', '--steps=2', '--warmup=1')


@pytest.fixture
def call(monkeypatch):
    kept = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')
    before = {name: jax.config.values[name] for name in kept}
    first = jax.devices()[:1]
    monkeypatch.setattr(jax_sides.mapping, 'devices', lambda: first)
    monkeypatch.setattr('sys.argv', ['benchmark.py', *TINY])

    def run(*arguments):
        values = flags.FlagValues()
        benchmark.define_flags(values)
        return benchmark.main(values(['benchmark.py', *TINY, *map(str, arguments)]), values)

    yield run
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def without_torch(monkeypatch):
    find = importlib.util.find_spec
    hidden = lambda name, *rest: None if name == 'torch' else find(name, *rest)
    monkeypatch.setattr(importlib.util, 'find_spec', hidden)


def test_alone_where_torch_is_missing(call, without_torch, tmp_path, capsys):
    call('--modes=step,latency', '--sides=torch,shard_map', '--nochart', '--out', tmp_path / 'o')
    output, error = capsys.readouterr()
    assert 'torch is not installed: measuring this library alone' in error
    assert '| step | ours shard_map | ' in output
    assert 'PyTorch' not in output
    result = json.loads((tmp_path / 'o.json').read_text())
    assert result['problem'] == vars(Problem('tiny_multilevel', 16, 4))
    assert result['command'].startswith('python experiments/benchmark.py --model=tiny_multilevel')
    (row,) = result['modes']['step']
    assert (row['side'], row['images'], row['steps']) == ('ours shard_map', 8, 2)
    assert row['images_per_second'] == pytest.approx(8 / row['step_seconds'])
    assert row['share_of_peak'] > 0
    assert row['model_flops'] == flops.training('tiny_multilevel', 16, 8)
    (one,) = result['modes']['latency']
    assert one['model_flops'] == 2 * flops.forward('tiny_multilevel', 16)
    assert row['against_eager'] is None
    assert result['modes']['latency'][0]['images'] == 1
    assert not (tmp_path / 'o.png').exists()


def test_torch_alone_cannot_be_measured_without_torch(call, without_torch):
    with pytest.raises(InputError, match=r'pip install torch==2\.13\.0, or other --sides'):
        call('--sides=torch')


@pytest.mark.skipif(importlib.util.find_spec('torch') is None, reason='torch is not installed')
def test_side_by_side(call, capsys):
    call('--modes=step', '--sides=torch,shard_map')
    rows = [line.split(' | ') for line in capsys.readouterr().out.splitlines() if '| step' in line]
    lines = [row for row in rows if row[1] != 'side']
    assert [line[1] for line in lines] == ['PyTorch eager', 'ours shard_map']
    assert lines[0][4] == '1.00'
    assert float(lines[1][4]) > 0


def test_unequal_sides_are_refused_and_closed(call, monkeypatch):
    closed = []

    def fake(mode, problem, chosen, flag):
        return {
            name: lambda name=name, images=images: Task(
                lambda steps: None, images, close=lambda: closed.append(name)
            )
            for name, images in (('one', 8), ('other', 9))
        }

    monkeypatch.setattr(benchmark, 'catalogue', fake)
    with pytest.raises(InputError, match='images is 8 for one and 9 for other'):
        call()
    assert closed == ['one', 'other']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--modes=step,speed',), '--modes has speed; there are: step, end_to_end'),
        (('--sides=tensorflow',), '--sides has tensorflow; there are: torch, torch_compile'),
        (('--sides=',), '--sides has nothing; there are: torch'),
        (('--out=/proc/nowhere/x', '--nochart'), 'cannot make /proc/nowhere: .*pass another --out'),
        (('more',), 'unexpected arguments: more'),
        (('--modes=pipeline', '--sides=shard_map', '--source=nothing/here'), 'nothing'),
    ],
)
def test_mistakes(call, arguments, message):
    with pytest.raises(InputError, match=message):
        call(*arguments)


def test_from_disk(call, tiny_data, capsys):
    call(
        '--modes=pipeline,end_to_end', '--sides=shard_map', f'--data_dir={tiny_data}', '--workers=1'
    )
    lines = [line.split(' | ')[:2] for line in capsys.readouterr().out.splitlines()]
    head = lines.index(['| mode', 'side'])
    assert lines[head + 2 :] == [
        ['| pipeline', 'ours grain'],
        ['| pipeline', 'ours grain, in memory'],
        ['| end_to_end', 'ours shard_map'],
        ['| end_to_end', 'ours shard_map, in memory'],
    ]


@pytest.mark.skipif(importlib.util.find_spec('torch') is None, reason='torch is not installed')
def test_both_pipelines_give_the_same_sizes(tiny_data, monkeypatch):
    from experiments.pytorch_baseline import data as torch_data

    made = torch_data.training_loader
    monkeypatch.setattr(  # processes take seconds to start
        torch_data,
        'training_loader',
        lambda faces, **options: made(faces, **options | {'workers': 0}),
    )
    problem = Problem('tiny_multilevel', 16, 4)
    data = inputs.load('synthetic_faces/studio', 'synthetic_faces/wild', str(tiny_data), 1)
    images_s, labels_s, images_t = next(inputs._loaders(problem, data))
    assert images_s.shape == images_t.shape == (4, 3, 16, 16)
    assert labels_s.shape == (4,)
    with inputs.grain_batches(problem, data, in_memory=False) as batches:
        batch = next(batches)
    # The release crops on the device.
    assert batch['image_s'].shape == batch['image_t'].shape == (4, 18, 18, 3)
    theirs, ours = (
        inputs.loader_pipeline(problem, data),
        inputs.grain_pipeline(problem, data, in_memory=True),
    )
    theirs.run(2)
    ours.run(2)
    assert theirs.images == ours.images == 8
    ours.close()
    theirs.close()


CORE = """
import sys
for name in ('grain', 'tensorflow_datasets', 'orbax', 'matplotlib', 'torch', 'PIL', 'dm_pix',
             'ml_collections', 'tensorboardX', 'tqdm'):
    sys.modules[name] = None
from experiments import benchmark
from experiments.benchmarking import clock, flops, jax_sides, report, sides
print(sorted(benchmark.catalogue('step', None, ['shard_map', 'pmap'], {})))
"""


def test_the_step_alone_needs_the_core_only():
    found = subprocess.run([sys.executable, '-c', CORE], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "['ours pmap', 'ours shard_map']\n"

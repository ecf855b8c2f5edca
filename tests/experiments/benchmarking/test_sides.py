"""Both sides on the smallest problem: the same sizes, real steps, refusal of unequal ones."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pytest

from dmsrl_jax.errors import InputError
from experiments.benchmarking import jax_sides
from experiments.benchmarking.sides import Problem, Task, check_equal
from experiments.configs import release

PROBLEM = Problem('tiny_multilevel', 16, 4)
needs_torch = pytest.mark.skipif(
    importlib.util.find_spec('torch') is None, reason='torch is not installed'
)


def task(images=8, parameters=3, dtype='float32'):
    return Task(lambda steps: None, images, parameters, dtype)


def test_ours_runs_the_releases_constants():
    assert jax_sides.RELEASE == release.DMSRL


def test_equal_tasks_may_be_compared():
    assert check_equal([('a', task()), ('b', task()), ('c', task())]) is None


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'images': 4}, 'images is 8 for a and 4 for c'),
        ({'parameters': 9}, 'parameters is 3 for a and 9 for c'),
        ({'dtype': 'bfloat16'}, 'dtype is float32 for a and bfloat16 for c'),
    ],
)
def test_unequal_ones_are_refused(change, message):
    with pytest.raises(InputError, match=f'not comparable: {message}; .*--sides'):
        check_equal([('a', task()), ('b', task()), ('c', task(**change))])


def test_the_batch_is_a_function_of_the_problem():
    batch = PROBLEM.batch()
    assert {name: (x.dtype.name, x.shape) for name, x in batch.items()} == {
        'image_s': ('uint8', (4, 16, 16, 3)),
        'image_t': ('uint8', (4, 16, 16, 3)),
        'label_s': ('int32', (4,)),
    }
    np.testing.assert_array_equal(batch['image_s'], PROBLEM.batch()['image_s'])
    other = dataclasses.replace(PROBLEM, seed=1).batch()
    assert (batch['image_s'] != other['image_s']).any()


@pytest.fixture
def one_device(monkeypatch):
    first = jax.devices()[:1]
    monkeypatch.setattr(jax_sides.mapping, 'devices', lambda: first)


@pytest.mark.parametrize('name', ['shard_map', 'pmap'])
def test_our_training_steps_move_the_parameters(one_device, name):
    trainer = jax_sides.Trainer(PROBLEM, name)
    batch = jax_sides.mapping.shard(PROBLEM.batch(), trainer.chosen)
    before = jax.device_get(trainer.state.params['head']['kernel'])
    trainer.train(lambda: batch, 3)
    assert int(trainer.state.step) == 3
    assert np.abs(before - trainer.state.params['head']['kernel']).max() > 0
    memory = trainer.memory(batch)
    assert memory is None if name == 'pmap' else memory > 8 * trainer.parameters


@needs_torch
def test_the_sides_of_a_mode_are_equal(one_device):
    from experiments.benchmarking import torch_sides

    for ours, theirs in (
        (jax_sides.training(PROBLEM, 'shard_map'), torch_sides.training(PROBLEM, compiled=False)),
        (jax_sides.evaluation(PROBLEM), torch_sides.evaluation(PROBLEM, compiled=False)),
        (jax_sides.latency(PROBLEM), torch_sides.latency(PROBLEM, compiled=False)),
    ):
        assert check_equal([('ours', ours), ('theirs', theirs)]) is None
        assert ours.parameters > 100_000


@needs_torch
def test_torchs_training_steps_move_the_parameters():
    from experiments.benchmarking import torch_sides

    trainer = torch_sides.Trainer(PROBLEM, compiled=False)
    images_s, labels_s, images_t = torch_sides._on_device(PROBLEM)
    floats = torch_sides.floats(images_s)
    assert floats.shape == (4, 3, 16, 16)
    np.testing.assert_array_equal(
        floats.permute(0, 2, 3, 1).numpy(), PROBLEM.batch()['image_s'] / np.float32(255)
    )
    before = [p.detach().clone() for p in trainer.loss.parameters()]
    trainer.step(floats, labels_s, torch_sides.floats(images_t))
    changed = [bool((a != b).any()) for a, b in zip(before, trainer.loss.parameters(), strict=True)]
    assert np.mean(changed) > 0.9
    assert trainer.done == 1

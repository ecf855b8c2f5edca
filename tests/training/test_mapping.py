"""One device and many, `shard_map` and `pmap`, batches and micro-batches: the same numbers."""

import os
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import mapping

# All modules feel their full weight from the first step; thresholds are low enough to let some
# target samples through.
OPTIONS = {'alpha': 0.5, 'beta': 0.5, 'threshold': 0.2, 'centers_follow': True}


def values(state):
    """Everything in a state but its random key, on the host."""
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def assert_same(one, other, **tolerance):
    chex.assert_trees_all_close(values(one), values(other), **tolerance)


def changed_a_lot(harness, before):
    """The largest change of a parameter, so that equality is no equality of nothing."""
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, values(harness.state).params)
    return {group: max(jax.tree.leaves(part)) for group, part in moved.items()}


def test_evaluation_on_a_cpu_waits_for_each_batch(monkeypatch):
    """Collectives of virtual devices that queue up dead-lock: after 100 batches or so."""
    waited, wait = [], jax.block_until_ready
    monkeypatch.setattr(jax, 'block_until_ready', lambda x: waited.append(x) or wait(x))
    chosen = jax.devices()[:2]
    total = mapping.map_eval_step(lambda _, batch: jax.lax.psum(batch.sum(), 'data'), chosen)
    found = total(0.0, mapping.shard(np.arange(4.0), chosen))
    assert float(found) == 6
    assert waited == [found]


@pytest.fixture(scope='module')
def mine(harness, batch):
    """Five steps of DMSRL with MINE on one device, dropout and augmentation on."""
    made = harness(options=OPTIONS)
    before = values(made.state).params
    history = made.run(batch, 5)
    assert min(changed_a_lot(made, before).values()) > 1e-3
    return made, history


@pytest.mark.parametrize('mapping_name', mapping.MAPPINGS)
def test_four_devices_equal_one_with_mine(harness, batch, mine, mapping_name):
    made = harness(options=OPTIONS, devices=4, mapping_name=mapping_name)
    history = made.run(batch, 5)
    assert_same(mine[0].state, made.state, rtol=2e-4, atol=2e-6)
    for ours, theirs in zip(history, mine[1], strict=True):
        chex.assert_trees_all_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert mine[1][0]['coverage'] > 0


def test_four_devices_equal_one_with_a_domain_critic(harness, batch):
    options = {**OPTIONS, 'mutual_information': 'adversarial', 'pseudo_label': 'balanced'}
    one, four = (harness(options=options, devices=n) for n in (1, 4))
    before = values(one.state).params
    one.run(batch, 5), four.run(batch, 5)
    assert min(changed_a_lot(one, before).values()) > 1e-3
    assert_same(one.state, four.state, rtol=2e-4, atol=2e-6)


def test_two_equal_micro_batches_are_one_batch(harness, batch):
    # MINE's average moves at each micro-batch, so the module that has one is left out.
    plain = {'options': {**OPTIONS, 'mutual_information': 'none'}, 'dropout': 0.0, 'recipe': 'none'}
    whole, halves = harness(**plain), harness(**plain, accumulate=2)
    twice = {
        name: np.repeat(x, 2, axis=0) for name, x in batch.items()
    }  # sample i mod 2 alternates
    whole.run(batch, 1), halves.run(twice, 1)
    one, other = values(whole.state), values(halves.state)
    chex.assert_trees_all_close(one.params, other.params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(one.opt_state, other.opt_state, rtol=1e-4, atol=1e-6)


def test_micro_batches_are_the_same_on_four_devices(harness, batch):
    one, four = (harness(options=OPTIONS, accumulate=2, devices=n) for n in (1, 4))
    one.run(batch, 3), four.run(batch, 3)
    assert_same(one.state, four.state, rtol=2e-4, atol=2e-6)


def test_devices():
    assert mapping.devices() == jax.devices()
    assert mapping.devices(2) == jax.devices()[:2]
    with pytest.raises(InputError, match=r'devices=9 asked for, but JAX sees 4 \(cpu\).*=9'):
        mapping.devices(9)


def test_a_cpu_becomes_as_many_devices_as_are_asked_for_first():
    program = (
        'from dmsrl_jax.training import mapping as m; m.make_virtual(2); '
        'print(len(m.devices(2)), len(m.devices()))'
    )
    environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''}
    found = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, env=environment
    )
    assert found.stdout == '2 2\n', found.stderr


@pytest.mark.parametrize(
    ('size', 'accumulate', 'devices', 'advice'),
    [
        (30, 1, 4, '28 or 32'),
        (7, 2, 4, 'instance 8$'),
        (0, 1, 1, 'instance 1$'),
        (12, 4, 2, '8 or 16'),
    ],
)
def test_a_batch_that_cannot_be_shared(size, accumulate, devices, advice):
    with pytest.raises(InputError, match=f'batch_size={size} .*{advice}'):
        mapping.split_batch(size, accumulate, devices)


def test_a_batch_that_can_be_shared():
    assert mapping.split_batch(32, 2, 4) is None


def test_unknown_mapping():
    with pytest.raises(InputError, match="unknown mapping 'vmap'; there are: shard_map, pmap"):
        mapping.map_train_step(lambda state, batch: (state, {}), jax.devices(), 'vmap')


def test_shard_and_replicate():
    chosen = mapping.devices(4)
    sharded = mapping.shard({'x': np.arange(8)}, chosen)['x']
    assert [shard.data.tolist() for shard in sharded.addressable_shards] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
    ]
    copied = mapping.replicate({'x': np.arange(8)}, chosen)['x']
    assert [shard.data.tolist() for shard in copied.addressable_shards] == [list(range(8))] * 4

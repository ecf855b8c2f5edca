"""A run that starts from the network of another."""

import shutil

import chex
import jax
import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import restore, run

GROUPS = ('backbone', 'head')


def initial(config, say=lambda text: None):
    parts = run.prepare(config, say=say)
    parts.batches.close()
    state = jax.device_get(parts.initial.replace(key=jax.random.key_data(parts.initial.key)))
    return state, {group: state.params[group] for group in GROUPS}


def test_a_run_starts_from_what_another_evaluates(tiny_run, tiny_config):
    said = []
    state, params = initial(tiny_config(**{'model.pretrained': str(tiny_run)}), said.append)
    expected = jax.device_get(restore.restore_model(tiny_run).variables)
    chex.assert_trees_all_equal(params, expected['params'])
    chex.assert_trees_all_equal(state.average, expected['params'])
    chex.assert_trees_all_equal(state.batch_stats, expected['batch_stats'])
    assert int(state.step) == 0
    assert any(line.startswith(f'network of {tiny_run}, step ') for line in said)


def test_the_rest_of_the_state_is_new(tiny_run, tiny_config):
    started, _ = initial(tiny_config(**{'model.pretrained': str(tiny_run)}))
    new, params = initial(tiny_config())
    chex.assert_trees_all_equal(started.opt_state, new.opt_state)
    chex.assert_trees_all_equal(started.params['centers'], new.params['centers'])
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal({g: started.params[g] for g in GROUPS}, params)


def test_the_seed_of_the_config_stands_in_the_path(tiny_run, tiny_config, tmp_path):
    shutil.copytree(tiny_run, tmp_path / 'seed7')
    pattern = str(tmp_path / 'seed{seed}')
    _, params = initial(tiny_config(seed=7, **{'model.pretrained': pattern}))
    expected = jax.device_get(restore.restore_model(tiny_run).variables['params'])
    chex.assert_trees_all_equal(params, expected)
    with pytest.raises(InputError, match='seed8'):
        initial(tiny_config(seed=8, **{'model.pretrained': pattern}))


def test_another_network_is_refused(tiny_run, tiny_config):
    config = tiny_config(**{'model.pretrained': str(tiny_run), 'model.statistics': 'shared'})
    with pytest.raises(InputError, match=r'statistics=per_domain, this config asks for .*=shared'):
        initial(config)


def test_nothing_at_that_place(tiny_config):
    with pytest.raises(InputError, match='there is no runs/nowhere; name a file with weights or'):
        initial(tiny_config(**{'model.pretrained': 'runs/nowhere'}))


def test_a_folder_that_is_no_run(tiny_config, tmp_path):
    with pytest.raises(InputError, match='is no folder of a run'):
        initial(tiny_config(**{'model.pretrained': str(tmp_path)}))

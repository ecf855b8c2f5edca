"""Saving and reading a whole state, and what happens when that fails."""

import errno
import gc
import shutil
import signal

import chex
import jax
import numpy as np
import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.training.checkpoints import Checkpoints

# When one array cannot be read, orbax leaves the readers of the others unfinished.
pytestmark = pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()  # so that they warn here, where it is expected, and not in a later test


POSITION = {'batches': {'iterator': {'next_index': 3}}, 'notes': {'seconds': 1.5}}


def values(state):
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def no_more_space(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')


@pytest.fixture(scope='module')
def trained(harness, batch):
    """A DMSRL state on two devices after a step: typed key, centres, optimisers, average."""
    made = harness(devices=2, dropout=0.0, recipe='none')
    made.run(batch, 1)
    return made


@pytest.fixture(scope='module')
def saved(trained, tmp_path_factory):
    """A workdir with checkpoints of steps 1, 2 and 3, of which two are kept."""
    workdir = tmp_path_factory.mktemp('saved')
    checkpoints = Checkpoints(workdir, keep=2)
    for number in (1, 2, 3):
        checkpoints.save(trained.state.replace(step=trained.state.step * 0 + number), POSITION)
    checkpoints.close()
    return workdir


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / 'run')


def test_every_bit_comes_back(trained, saved, harness):
    like = harness(devices=2, dropout=0.0, recipe='none').state
    checkpoints = Checkpoints(saved)
    state, position = checkpoints.restore(like)
    checkpoints.close()
    assert position == POSITION
    expected = values(trained.state.replace(step=np.int32(3)))
    chex.assert_trees_all_equal(values(state), expected)
    chex.assert_trees_all_equal_structs(values(state), expected)
    chex.assert_trees_all_equal_dtypes(values(state), expected)
    assert state.params['head']['kernel'].sharding == like.params['head']['kernel'].sharding
    # The key goes on as it would have.
    drawn = [jax.random.key_data(jax.random.fold_in(s.key, 1)) for s in (state, trained.state)]
    np.testing.assert_array_equal(*drawn)


def test_the_latest_two_are_kept(trained, saved):
    names = sorted(path.name for path in (saved / 'checkpoints').iterdir())
    assert names == ['2', '3']
    checkpoints = Checkpoints(saved)
    assert checkpoints.latest() == 3
    assert int(checkpoints.restore(trained.state, 2)[0].step) == 2
    checkpoints.close()


def test_half_a_checkpoint_counts_for_nothing(trained, copy):
    shutil.copytree(copy / 'checkpoints/3', copy / 'checkpoints/9.orbax-checkpoint-tmp')
    checkpoints = Checkpoints(copy)
    assert checkpoints.latest() == 3
    assert int(checkpoints.restore(trained.state)[0].step) == 3
    checkpoints.close()


def test_nothing_to_restore(trained, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest() is None
    with pytest.raises(InputError, match=r'no checkpoint in .*checkpoints; train first'):
        checkpoints.restore(trained.state)
    checkpoints.close()


@pytest.mark.parametrize('change', ['shape', 'group'])
def test_another_model_is_refused(trained, saved, change):
    params = dict(trained.state.params)
    if change == 'shape':
        params['head'] = {**params['head'], 'bias': np.zeros(9, np.float32)}
    else:
        params['extra'] = {'w': np.zeros(2, np.float32)}
    checkpoints = Checkpoints(saved)
    with pytest.raises(InputError, match='checkpoints/3 cannot be read into this model'):
        checkpoints.restore(trained.state.replace(params=params))
    checkpoints.close()


def test_a_damaged_checkpoint_and_the_way_out(trained, copy):
    for path in (copy / 'checkpoints/3/state').rglob('*'):
        if path.is_file():
            path.write_bytes(b'')
    checkpoints = Checkpoints(copy)
    with pytest.raises(InputError, match='If it is damaged, remove that folder'):
        checkpoints.restore(trained.state)
    checkpoints.close()
    shutil.rmtree(copy / 'checkpoints/3')  # as the message says
    checkpoints = Checkpoints(copy)
    assert int(checkpoints.restore(trained.state)[0].step) == 2
    checkpoints.close()


def test_cut_data_is_a_damaged_checkpoint(trained, copy):
    for path in (copy / 'checkpoints/3/state/ocdbt.process_0/d').iterdir():
        path.write_bytes(path.read_bytes()[:100])
    checkpoints = Checkpoints(copy)
    with pytest.raises(InputError, match='If it is damaged, remove that folder') as caught:
        checkpoints.restore(trained.state)
    assert '\n' not in str(caught.value)
    checkpoints.close()


def test_an_interruption_waits_until_the_checkpoint_is_begun(trained, tmp_path, monkeypatch):
    checkpoints, done = Checkpoints(tmp_path), []
    save = checkpoints._manager.save

    def interrupted(*args, **options):
        signal.raise_signal(signal.SIGINT)
        done.append(save(*args, **options))

    monkeypatch.setattr(checkpoints._manager, 'save', interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(trained.state, POSITION)
    assert done == [True]
    assert signal.getsignal(signal.SIGINT) is handler
    checkpoints.close()
    assert checkpoints.latest() == int(trained.state.step)


def test_a_full_disk(trained, tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    monkeypatch.setattr(checkpoints._manager, 'save', no_more_space)
    with pytest.raises(InputError, match=r'No space left on device. Free space or give write'):
        checkpoints.save(trained.state, POSITION)
    monkeypatch.setattr(checkpoints._manager, 'check_for_errors', no_more_space)
    with pytest.raises(InputError, match=r'could not write a checkpoint to .*No space left'):
        checkpoints.wait()
    monkeypatch.undo()
    checkpoints.close()


def test_no_place_for_checkpoints(trained, tmp_path):
    (tmp_path / 'checkpoints').write_text('a file in the way')

    def save():
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(trained.state, POSITION)
        checkpoints.wait()

    with pytest.raises(InputError, match=r'could not write a checkpoint to .*checkpoints'):
        save()

"""Settings for all tests: four virtual CPU devices, strict rank promotion, tiny runs."""

import shutil

import jax
import pytest

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(scope='module', autouse=True)
def _forget_programs():
    """Compiled programs of a module are of no use to the next, and grow to gigabytes."""
    yield
    jax.clear_caches()


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory):
    """A data_dir with synthetic_faces/studio and /wild: 64 training and 28 test images each."""
    from data_builders import preparing

    folder = tmp_path_factory.mktemp('corpora')
    for name in ('synthetic_faces/studio', 'synthetic_faces/wild'):
        options = preparing.typed_options(name, {'train': '64', 'test': '28', 'size': '48'})
        preparing.prepare(name, options, data_dir=folder)
    return folder


@pytest.fixture(scope='session')
def camera_data(tiny_data, tmp_path_factory):
    """A data_dir with `tiny_data` and image_list/camera, the target's 64 images without labels."""
    from data_builders import preparing
    from dmsrl_jax.data import corpora

    root = tmp_path_factory.mktemp('camera')
    folder = shutil.copytree(tiny_data, root / 'corpora')
    (root / 'photos').mkdir()
    corpus = corpora.load('synthetic_faces/wild', 'train', data_dir=tiny_data)
    for number in range(len(corpus)):
        (root / 'photos' / f'{number:02}.jpg').write_bytes(corpus[number]['image'])
    options = preparing.typed_options('image_list', {'labels': 'none'})
    preparing.prepare('image_list/camera', options, data_dir=folder, manual_dir=root / 'photos')
    return folder


@pytest.fixture(scope='session')
def tiny_config(tiny_data):
    """Makes configs of a dmsrl run of three steps on two devices; keywords change fields.

    BatchNorm keeps statistics per domain, so that scoring a domain with the other's shows.
    """
    from experiments.configs import pair

    def make(**changes):
        config = pair.get_config('synthetic_faces/studio,synthetic_faces/wild')
        short = {'data_dir': str(tiny_data), 'steps': 3, 'batch_size': 8, 'devices': 2}
        config.update_from_flattened_dict({**short, 'model.statistics': 'per_domain', **changes})
        return config.lock()

    return make


@pytest.fixture(scope='session')
def tiny_run(tiny_config, tmp_path_factory):
    """The workdir of a finished run of `tiny_config()`; read it only."""
    from dmsrl_jax.training import loop

    workdir = tmp_path_factory.mktemp('tiny_run')
    loop.train(tiny_config(), workdir)
    return workdir

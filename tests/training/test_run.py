"""What a config says arrives where it works."""

import jax
import numpy as np
import pytest

from dmsrl_jax.data import pipeline
from dmsrl_jax.training import from_config, optimizers, run, step


@pytest.fixture(scope='module')
def told(small, tiny_config):
    """The arguments with which `prepare` called its parts, for a config of unusual values."""
    seen = {}

    def recorded(name, function):
        def call(*args, **options):
            seen[name] = {'args': args, **options}
            return function(*args, **options)

        return call

    config = tiny_config(
        **{
            'model.name': 'small',
            'image_size': 14,
            'batch_size': 8,
            'devices': 1,
            'steps': 0,
            'epochs': 3,
            'adapt_from': 0.3,
            'seed': 5,
            'accumulate': 2,
            'average_decay': 0.75,
            'eval_batch_size': 12,
            'dmsrl.hidden': 4,
            'augment.source.flip': False,
            'augment.source.crop': 'none',
            'augment.source.brightness': 0.0,
            'augment.source.contrast': 0.0,
            'augment.source.bgr': True,
            'augment.target.bgr': True,
            'augment.target.crop': 'release',
            'augment.target.flip': False,
            'augment.target.brightness': 0.0,
            'augment.target.contrast': 0.0,
            'augment.match': 0.5,
            'pipeline.target_shuffle': False,
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            (step, 'StepSettings'),
            (pipeline, 'paired_batches'),
            (optimizers, 'create'),
            (run.state, 'create'),
            (from_config, 'Evaluator'),
        ):
            label = f'{owner.__name__.rpartition(".")[2]}.{name}'
            patch.setattr(owner, name, recorded(label, getattr(owner, name)))
        made = run.prepare(config, say=lambda text: None)
        made.batches.close()
    return made, seen


def test_testing_on_images_learned_with_labels_is_told(tiny_config):
    lines = []
    run.load_data(tiny_config(), lines.append)
    assert not any('warning' in line for line in lines)
    name = tiny_config().source
    config = tiny_config(source_split='all', target=name, target_test_split='test[:3]')
    run.load_data(config, lines.append)
    assert lines[-1] == 'warning: 3 of them are trained on with their labels (target_test_split)'
    assert 'warning' in lines[-4]


def test_the_length_of_the_run(told):
    made, seen = told
    assert (made.total_steps, made.source_steps) == (3 * 64 // 8, 7)  # of 7.2
    expected = {'total_steps': 24, 'source_steps': 7}
    told = seen['step.StepSettings']
    assert {name: told[name] for name in expected} == expected
    told = seen['optimizers.create']
    expected |= {'steps_per_epoch': 8, 'updates': made.method.updates()}
    assert {name: told[name] for name in expected} == expected


def test_accumulation_and_average(told):
    settings = told[1]['step.StepSettings']
    assert (settings['accumulate'], settings['average_decay']) == (2, 0.75)


def test_the_seed(told):
    _, seen = told
    expected = jax.random.key_data(jax.random.key(5))
    np.testing.assert_array_equal(jax.random.key_data(seen['state.create']['args'][0]), expected)
    assert seen['pipeline.paired_batches']['seed'] == 5


def test_the_pipeline(told):
    options = told[1]['pipeline.paired_batches']
    sizes = (options['size_s'], options['size_t'])
    assert sizes == (14, 16)  # the release's crop is cut out of a larger image
    assert options['batch_size'] == 8
    assert options['target_shuffle'] is False
    assert options['target_from'] == 7


def test_each_domain_has_its_augmentation_and_a_test_image_has_none(told):
    settings = told[1]['step.StepSettings']
    images = np.random.default_rng(0).integers(0, 256, (2, 14, 14, 3), np.uint8)
    target = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    places = np.arange(2)
    reversed_channels = images[..., ::-1] / 255
    for name in ('augment_s', 'plain'):
        found = settings[name](jax.random.key(0), images, places)
        np.testing.assert_allclose(found, reversed_channels, rtol=1e-5, atol=1e-6)
    found = settings['augment_t'](jax.random.key(0), target, places)
    assert found.shape == (2, 14, 14, 3)
    reversed_target = target[..., ::-1] / 255
    windows = np.lib.stride_tricks.sliding_window_view(reversed_target, (14, 14), axis=(1, 2))
    windows = windows.transpose(0, 1, 2, 4, 5, 3)  # [2, 3, 3, 14, 14, 3]
    off = np.abs(windows - np.asarray(found)[:, None, None]).max(axis=(3, 4, 5))
    assert (off.min(axis=(1, 2)) < 1e-6).all()  # each is one window of its image, not resized


def test_a_share_of_source_images_gets_the_light_of_target_images(told, tiny_config):
    match = told[1]['step.StepSettings']['match']
    dark, light = np.full((200, 2, 2, 3), 0.1, np.float32), np.full((200, 2, 2, 3), 0.9, np.float32)
    found = match(jax.random.key(0), dark, light, np.arange(200))
    assert 70 < (found.mean(axis=(1, 2, 3)) > 0.5).sum() < 130
    assert from_config.match(tiny_config(**{'augment.match': 0.0})) is None


def test_the_evaluation(told):
    options = told[1]['from_config.Evaluator']
    assert (options['batch_size'], options['image_size'], options['num_classes']) == (12, 14, 7)

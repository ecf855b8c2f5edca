import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from absl import flags

from dmsrl_jax.data import corpora, pipeline
from dmsrl_jax.errors import InputError
from dmsrl_jax.training import evaluator, restore
from experiments import evaluate


@pytest.fixture(autouse=True)
def no_lasting_cache(monkeypatch):
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '')


def call(*arguments):
    """Runs the command in this process; returns the exit status."""
    values = flags.FlagValues()
    evaluate.define_flags(values)
    return evaluate.main(values(['evaluate.py', *map(str, arguments)]), values)


@pytest.fixture
def run_copy(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / 'run')


def test_default_gives_the_scores_of_result_json(run_copy, capsys):
    assert call('--workdir', run_copy) == 0
    result = json.loads((run_copy / 'result.json').read_text())
    for role, domain in (('source', 'studio'), ('target', 'wild')):
        found = json.loads(
            (run_copy / f'evaluation_synthetic_faces_{domain}_test.json').read_text()
        )
        kept = {name: found[name] for name in result[f'{role}_test']}
        assert kept == result[f'{role}_test']
        assert (found['corpus'], found['split']) == (f'synthetic_faces/{domain}', 'test')
        assert (found['domain'], found['step']) == (role, 3)
        assert np.sum(found['confusion']) == found['count'] == 28
        assert [sum(row) for row in found['confusion']] == [4] * 7
    out = capsys.readouterr().out
    assert f'accuracy {100 * result["target_test"]["accuracy"]:.2f} %' in out
    assert 'step 3' in out
    lines = [line for line in out.splitlines() if str(run_copy) not in line]
    assert max(map(len, lines)) <= 80


@pytest.fixture
def camera_run(run_copy, camera_data):
    """A run whose target has no labels."""
    config = json.loads((run_copy / 'config.json').read_text())
    config |= {'target': 'image_list/camera', 'data_dir': str(camera_data)}
    (run_copy / 'config.json').write_text(json.dumps(config))
    return run_copy


def test_a_target_without_labels_is_left_out(camera_run, capsys):
    assert call('--workdir', camera_run) == 0
    out = capsys.readouterr().out
    assert out.endswith('\nimage_list/camera\nno labels: not evaluated\n')
    assert [path.name for path in camera_run.glob('evaluation*')] == [
        'evaluation_synthetic_faces_studio_test.json'
    ]


@pytest.mark.parametrize('split', [(), ('--split', 'train')])
def test_to_ask_for_a_corpus_without_labels_is_a_mistake(camera_run, split):
    with pytest.raises(InputError, match=r'image_list/camera has no labels.*experiments/predict'):
        call('--workdir', camera_run, '--corpus', 'image_list/camera', *split)


def test_the_evaluator_refuses_images_without_labels(camera_data):
    corpus = corpora.load('image_list/camera', 'train', data_dir=camera_data)
    with pytest.raises(InputError, match=r'image_list/camera\[train\] has no labels'):
        evaluator.Evaluator.score(None, {}, corpus, domain='target')


def test_another_split_is_scored_with_target_statistics(run_copy, tiny_data):
    assert call('--workdir', run_copy, '--corpus', 'synthetic_faces/wild', '--split', 'train') == 0
    found = json.loads((run_copy / 'evaluation_synthetic_faces_wild_train.json').read_text())
    assert (found['count'], found['domain']) == (64, 'target')
    restored = restore.restore_model(run_copy)
    corpus = corpora.load('synthetic_faces/wild', 'train', data_dir=tiny_data)
    batch = next(pipeline.evaluation_batches(corpus, batch_size=64, size=48))
    logits = jax.jit(restored.forward(domain=1))(restored.variables, batch['image'])
    right = np.asarray(logits).argmax(axis=1) == batch['label']
    assert found['accuracy'] == pytest.approx(right.mean())


def test_domain_flag_changes_statistics(tiny_run):
    restored = restore.restore_model(tiny_run)
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    source, target = (
        jax.jit(restored.forward(domain=domain))(restored.variables, images) for domain in (0, 1)
    )
    assert np.abs(source - target).max() > 1e-3


@pytest.mark.parametrize(
    ('corpus', 'asked', 'expected'),
    [
        (None, None, ['source', 'target']),
        (None, 'target', ['target', 'target']),
        ('synthetic_faces/studio', None, ['source']),
        ('synthetic_faces/studio/default', None, ['source']),
        ('synthetic_faces/sketch', None, ['target']),
        ('synthetic_faces/studio', 'target', ['target']),
    ],
)
def test_tasks_choose_the_statistics(tiny_config, corpus, asked, expected):
    found = evaluate.tasks(tiny_config(), corpus, None, asked)
    assert [task.domain for task in found] == expected
    assert {task.split for task in found} == {'test'}


def test_file_name_has_no_odd_characters():
    task = evaluate.Task('synthetic_faces/wild', 'train[:90%]', 'target')
    assert evaluate.file_name(task) == 'evaluation_synthetic_faces_wild_train_90_.json'


def test_missing_corpora_are_named_and_the_status_tells(run_copy, tmp_path, capsys):
    assert call('--workdir', run_copy, '--data_dir', tmp_path / 'empty') == 1
    err = capsys.readouterr().err
    assert err.count('skipped: corpus') == 2
    assert 'experiments/prepare.py --corpus synthetic_faces/wild' in err
    with pytest.raises(InputError, match=r'prepare\.py --corpus fer2013'):
        call('--workdir', run_copy, '--corpus', 'fer2013')


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'pass --workdir DIR'),
        (('--workdir', 'x', '--split', 'test'), 'pass --corpus NAME with --split'),
        (('--workdir', 'x', 'more'), 'unexpected arguments: more'),
        (('--workdir', '/no/such'), 'no folder /no/such'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        call(*arguments)


def test_folder_above_a_run_is_told_the_run(run_copy):
    with pytest.raises(InputError, match=f'no config.json; perhaps you mean {run_copy}'):
        call('--workdir', run_copy.parent)


def test_run_without_checkpoint(run_copy):
    shutil.rmtree(run_copy / 'checkpoints')
    with pytest.raises(InputError, match=r'no checkpoint in .* yet: train first'):
        call('--workdir', run_copy)
    assert not (run_copy / 'checkpoints').exists()
    (run_copy / 'checkpoints').mkdir()
    with pytest.raises(InputError, match=r'no checkpoint in .* yet: train first'):
        call('--workdir', run_copy)


def test_unknown_step_lists_the_known_ones(run_copy):
    with pytest.raises(InputError, match=r'no checkpoint of step 2 in .*there are: 3'):
        call('--workdir', run_copy, '--step', 2)


def test_damaged_config_and_checkpoint(run_copy):
    config = run_copy / 'config.json'
    whole = config.read_text()
    config.write_text(whole[:40])
    with pytest.raises(InputError, match=r'cannot read .*config\.json'):
        call('--workdir', run_copy)
    config.write_text('{"seed": 0}')
    with pytest.raises(InputError, match='not a config of this version'):
        call('--workdir', run_copy)
    config.write_text(whole)
    for path in (run_copy / 'checkpoints' / '3' / 'state').rglob('*'):
        if path.is_file():
            path.write_bytes(b'')
    with pytest.raises(InputError, match='cannot be read into the model'):
        call('--workdir', run_copy)


def test_a_network_of_no_finite_numbers_is_refused(run_copy, monkeypatch):
    whole = restore.restore_model(run_copy)
    head = {**whole.variables['params']['head'], 'bias': np.full(7, np.nan, np.float32)}
    params = {**whole.variables['params'], 'head': head}
    bad = dataclasses.replace(whole, variables={**whole.variables, 'params': params})
    monkeypatch.setattr(restore, 'restore_model', lambda workdir, at: bad)
    with pytest.raises(InputError, match=r'step 3, holds numbers that are not finite'):
        call('--workdir', run_copy)
    assert not list(run_copy.glob('evaluation*'))


def test_config_of_another_model_does_not_fit(run_copy):
    config = json.loads((run_copy / 'config.json').read_text())
    config['model']['statistics'] = 'shared'
    (run_copy / 'config.json').write_text(json.dumps(config))
    message = (
        r'cannot be read .*batch_stats\S* has shape \(2, \d+\) there, the model needs \(\d+,\)'
    )
    with pytest.raises(InputError, match=message):
        restore.restore_model(run_copy)


def test_averaged_parameters_are_used_where_the_run_evaluates_them(run_copy):
    plain = restore.restore_model(run_copy).variables['params']
    config = json.loads((run_copy / 'config.json').read_text())
    (run_copy / 'config.json').write_text(json.dumps({**config, 'average': not config['average']}))
    other = restore.restore_model(run_copy).variables['params']
    assert jax.tree.map(np.shape, plain) == jax.tree.map(np.shape, other)
    difference = plain['head']['kernel'] - other['head']['kernel']
    assert 0 < np.abs(difference).max() < 0.1

"""Whole runs of the small network on synthetic faces: results, interruptions, mistakes."""

import contextlib
import errno
import io
import itertools
import json
import re
import shutil
import signal
from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import methods
from dmsrl_jax.data import corpora, reading
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NUM_CLASSES
from dmsrl_jax.methods import Method, Phase
from dmsrl_jax.training import evaluator, from_config, logs, loop, mapping, run
from dmsrl_jax.training.checkpoints import Checkpoints

STEPS = 6
SETTINGS = {
    'model.name': 'small',
    'image_size': 8,
    'batch_size': 8,
    'eval_batch_size': 16,
    'devices': 1,
    'steps': STEPS,
    'log_every': 1,
    'checkpoint_every': 2,
    'eval_every': 3,
    'dmsrl.hidden': 4,
    'adapt_from': 0.5,
    'dmsrl.threshold': 0.1,
}


@pytest.fixture
def config(tiny_config, small):
    """Makes configs of a short run; keywords change fields, with __ for a dot."""
    return lambda **changes: tiny_config(
        **{**SETTINGS, **{name.replace('__', '.'): value for name, value in changes.items()}}
    )


@pytest.fixture(scope='module')
def finished(tiny_config, small, tmp_path_factory):
    """The workdir and result of a run that nothing disturbed; not to be changed."""
    workdir = tmp_path_factory.mktemp('finished') / 'run'
    return workdir, loop.train(tiny_config(**SETTINGS), workdir)


def final_state(workdir, config):
    parts = run.prepare(config, say=lambda text: None)
    parts.batches.close()
    checkpoints = Checkpoints(workdir)
    state, position = checkpoints.restore(parts.initial)
    checkpoints.close()
    host = jax.device_get(state.replace(key=jax.random.key_data(state.key)))
    return host, position


def logged(workdir, *names):
    lines = map(json.loads, (workdir / 'metrics.jsonl').read_text().splitlines())
    return [tuple(line.get(name) for name in names) for line in lines]


def stop_at(monkeypatch, number, error=KeyboardInterrupt):
    """Makes the loop fail before a step."""
    original = loop._Loop._step

    def step(self, state, done):
        if done == number:
            raise error
        return original(self, state, done)

    monkeypatch.setattr(loop._Loop, '_step', step)


def test_an_interruption_that_something_swallows_stops_before_the_next_step(
    config, tmp_path, monkeypatch
):
    original = loop._Loop._step

    def step(self, state, done):
        if done == 1:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
        return original(self, state, done)

    monkeypatch.setattr(loop._Loop, '_step', step)
    with pytest.raises(InputError, match='stopped at step 2; the same command goes on from step 2'):
        loop.train(config(), tmp_path / 'run')


def test_want_of_memory_is_told_with_what_to_do(config, tmp_path, monkeypatch):
    error = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes\nmore')
    stop_at(monkeypatch, 0, error)
    message = r'^RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes\. Lower batch_size'
    with pytest.raises(InputError, match=message):
        loop.train(config(), tmp_path / 'run')


def test_the_result_has_the_fields_of_the_contract(finished):
    workdir, result = finished
    assert json.loads((workdir / 'result.json').read_text()) == result
    assert list(result) == [
        'method', 'source', 'target', 'seed', 'steps', 'seconds', 'target_test', 'source_test',
        'oracle', 'pseudo_label', 'criteria', 'images_per_second', 'devices', 'platform',
    ]  # fmt: skip
    assert result['method'] == 'dmsrl'
    assert (result['source'], result['target']) == (
        'synthetic_faces/studio',
        'synthetic_faces/wild',
    )
    assert (result['seed'], result['steps'], result['devices']) == (0, STEPS, 1)
    assert result['platform'] == 'cpu'
    assert result['seconds'] > 0
    assert result['images_per_second'] > 0


def test_the_scores_of_the_result_are_sane(finished):
    _, result = finished
    for role in ('source_test', 'target_test'):
        score = result[role]
        assert set(score) == {'accuracy', 'mean_class_accuracy', 'macro_f1', 'confusion', 'count'}
        confusion = np.array(score['confusion'])
        assert confusion.shape == (NUM_CLASSES, NUM_CLASSES)
        assert confusion.sum() == score['count'] == 28
        assert score['accuracy'] == pytest.approx(np.trace(confusion) / 28)
    assert set(result['oracle']) == {'step', 'accuracy'}
    assert result['oracle']['accuracy'] >= result['target_test']['accuracy']
    assert result['oracle']['step'] in (3, STEPS)
    assert 0 <= result['pseudo_label']['accuracy'] <= 1
    assert result['pseudo_label']['coverage'] == 1  # the likeliest of seven has at least 1/7


def test_what_a_run_leaves_in_its_folder(finished, config):
    workdir, _ = finished
    names = {path.name.split('.')[0] for path in workdir.iterdir()}
    assert names == {'config', 'metrics', 'checkpoints', 'events', 'result'}
    assert json.loads((workdir / 'config.json').read_text()) == config().to_dict()
    steps = logged(workdir, 'step', 'loss', 'target_test/accuracy')
    assert [n for n, loss, _ in steps if loss is not None] == [1, 2, 3, 4, 5, 6]
    assert [n for n, _, accuracy in steps if accuracy is not None] == [3, 6]
    assert sorted(path.name for path in (workdir / 'checkpoints').iterdir()) == ['4', '6']


def test_the_oracle_is_the_best_evaluation(finished):
    workdir, result = finished
    scores = dict(logged(workdir, 'step', 'target_test/accuracy'))
    best = max(value for value in scores.values() if value is not None)
    assert result['oracle']['accuracy'] == best
    assert scores[result['oracle']['step']] == best
    assert scores[STEPS] == result['target_test']['accuracy']


@pytest.mark.parametrize(('stop', 'kept'), [(3, 2), (5, 4)], ids=['before adaptation', 'in it'])
def test_an_interrupted_run_ends_with_the_same_parameters(
    finished, config, tmp_path, monkeypatch, capsys, stop, kept
):
    workdir = tmp_path / 'run'
    with monkeypatch.context() as patch:
        stop_at(patch, stop)
        message = rf'stopped at step {stop}; the same command goes on from step {kept}$'
        with pytest.raises(InputError, match=message):
            loop.train(config(), workdir)
    assert not (workdir / 'result.json').exists()
    capsys.readouterr()
    result = loop.train(config(), workdir)
    assert f'going on from step {kept}' in capsys.readouterr().err
    ours, position = final_state(workdir, config())
    theirs, expected = final_state(finished[0], config())
    chex.assert_trees_all_equal(ours, theirs)
    assert position['batches'] == expected['batches']
    for role in ('source_test', 'target_test', 'oracle', 'pseudo_label'):
        assert result[role] == finished[1][role], role
    names = ('step', 'loss', 'margin', 'mutual_information', 'coverage', 'target_test/accuracy')
    assert logged(workdir, *names) == logged(finished[0], *names)


def test_seconds_go_on_where_the_checkpoint_left_them(finished, config, tmp_path, monkeypatch):
    workdir = shutil.copytree(finished[0], tmp_path / 'run')
    (workdir / 'result.json').unlink()
    restore = Checkpoints.restore

    def an_hour_ago(self, like, step=None):
        state, position = restore(self, like, step)
        return state, {**position, 'notes': {**position['notes'], 'seconds': 3600.0}}

    monkeypatch.setattr(Checkpoints, 'restore', an_hour_ago)
    assert 3600 < loop.train(config(), workdir)['seconds'] < 3600 + 120


@pytest.mark.parametrize(('uses_target', 'images'), [(True, 8 + 2 * 16), (False, 4 * 8)])
def test_images_are_counted_once_compiled_and_of_both_domains_in_adaptation(
    monkeypatch, uses_target, images
):
    monkeypatch.setattr(mapping, 'shard', lambda batch, chosen: batch)
    step = lambda state, batch: (state, {})
    parts = SimpleNamespace(
        method=SimpleNamespace(uses_target=uses_target),
        batches=itertools.repeat({}),
        chosen=[],
        source_steps=2,
        source_step=(lambda state, batch: step(state, batch)) if uses_target else step,
        train_step=step,
    )
    told = SimpleNamespace(
        parts=parts, config=SimpleNamespace(batch_size=8), wait_each=False, pending=[],
        compiled=set(), busy=0.0, images_timed=0,
    )  # fmt: skip
    for number in range(5):
        loop._Loop._step(told, SimpleNamespace(), number)
    assert told.images_timed == images
    told.busy = 2.0
    assert loop._Loop._images_per_second(told) == images / 2


def test_the_modules_have_their_terms_in_adaptation_alone(finished):
    lines = logged(finished[0], 'step', 'loss', 'classification', 'margin')
    trained = [line for line in lines if line[1] is not None]
    assert [line[3] is None for line in trained] == [True] * 3 + [False] * 3
    assert all(loss == classification for _, loss, classification, _ in trained[:3])


def test_a_finished_run_is_not_run_again(finished, config, monkeypatch, capsys):
    monkeypatch.setattr(run, 'prepare', None)
    assert loop.train(config(), finished[0]) == finished[1]
    assert 'is finished; remove it to run again' in capsys.readouterr().err


def test_a_run_killed_between_checkpoint_and_result(finished, config, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / 'run')
    (workdir / 'result.json').unlink()
    result = loop.train(config(), workdir)
    assert result['target_test'] == finished[1]['target_test']
    assert result['oracle'] == finished[1]['oracle']
    assert result['images_per_second'] is None  # no step was taken


def test_the_evaluation_is_logged_once_however_often_it_is_made(finished, config, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / 'run')
    (workdir / 'result.json').unlink()
    loop.train(config(), workdir)
    names = ('step', 'loss', 'target_test/accuracy')
    assert logged(workdir, *names) == logged(finished[0], *names)


def test_another_run_in_the_same_folder_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, '_train', lambda config, workdir, _: loop.train(config, workdir))
    with pytest.raises(InputError, match=r'another process is training in .*run: wait for its end'):
        loop.train(config(), tmp_path / 'run')
    monkeypatch.setattr(loop, '_train', lambda *_: 'trained')
    assert loop.train(config(), tmp_path / 'run') == 'trained'  # and not for ever


def test_home_is_understood(config, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(loop, '_train', lambda config, workdir, _: workdir)
    assert loop.train(config(), '~/runs/one') == tmp_path / 'runs/one'


def test_a_damaged_checkpoint_of_numbers_that_are_not_finite(finished, config, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / 'run')
    (workdir / 'result.json').unlink()
    state, position = final_state(workdir, config())
    shutil.rmtree(workdir / 'checkpoints/6')
    broken = state.replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))
    checkpoints = Checkpoints(workdir)
    checkpoints.save(broken, position)
    checkpoints.close()
    with pytest.raises(InputError, match=r'checkpoints/6 holds numbers that are not finite: it is'):
        loop.train(config(), workdir)
    shutil.rmtree(workdir / 'checkpoints/6')
    assert loop.train(config(), workdir)['target_test'] == finished[1]['target_test']


def test_stopped_before_the_first_checkpoint(config, tmp_path, monkeypatch):
    stop_at(monkeypatch, 1)
    with pytest.raises(InputError, match=r'^stopped at step 1; the same command begins anew$'):
        loop.train(config(), tmp_path / 'run')


def test_source_only_needs_no_target_images_in_training(config, tmp_path):
    result = loop.train(config(method='source_only', steps=2, average=True), tmp_path / 'run')
    assert result['method'] == 'source_only'
    assert result['pseudo_label'] is None
    assert result['target_test']['count'] == 28


def test_a_method_without_target_learns_the_source_first_too(config, tmp_path, monkeypatch):
    def loss(params, outputs, context):
        del outputs
        return params['head']['bias'].sum(), ({'progress': context.progress}, ())

    alone = Method(
        init=lambda key, dim, classes: {}, phases=(Phase(loss, ('head',)),), uses_target=False
    )
    monkeypatch.setattr(methods, 'create', lambda name, **_: alone)
    loop.train(config(eval_every=0), tmp_path / 'run')
    lines = logged(tmp_path / 'run', 'loss', 'classification', 'progress')
    trained = [line for line in lines if line[0] is not None]
    assert [line[1] is None for line in trained] == [False] * 3 + [True] * 3
    assert [line[2] for line in trained[3:]] == pytest.approx([0, 1 / 3, 2 / 3])


@pytest.fixture(scope='module')
def unlabelled(tiny_config, camera_data, small, tmp_path_factory):
    """The workdir, the result and the progress of a run whose target has no labels."""
    workdir, told = tmp_path_factory.mktemp('unlabelled') / 'run', io.StringIO()
    target = {'target': 'image_list/camera', 'data_dir': str(camera_data)}
    with contextlib.redirect_stderr(told):
        return workdir, loop.train(tiny_config(**SETTINGS, **target), workdir), told


def test_a_target_without_labels_is_not_evaluated(unlabelled):
    workdir, result, _ = unlabelled
    assert result['target_test'] is None
    assert result['oracle'] is None
    assert result['pseudo_label'] == {'accuracy': None, 'coverage': 1}
    assert result['source_test']['count'] == 28
    assert json.loads((workdir / 'result.json').read_text()) == result
    scores = [s for s in logged(workdir, 'step', 'source_test/accuracy') if s[1] is not None]
    assert [step for step, _ in scores] == [3, STEPS]
    assert 'target_test' not in (workdir / 'metrics.jsonl').read_text()


def test_what_is_said_of_a_target_without_labels(unlabelled):
    lines = unlabelled[2].getvalue().splitlines()
    assert 'target: 64 images of image_list/camera, split train' in lines
    assert 'target_test: image_list/camera has no labels, it is not evaluated' in lines
    said = [line for line in lines if 'source test' in line]
    for number, line in zip((3, STEPS), said, strict=True):
        pattern = rf'step {number}: source test 0\.\d+, target has no labels: not evaluated'
        assert re.fullmatch(pattern, line)


def test_a_source_without_labels_is_refused_first(config, camera_data, tmp_path, monkeypatch):
    monkeypatch.setattr(run.state, 'create', None)
    wrong = config(source='image_list/camera', target='no_such', data_dir=str(camera_data))
    with pytest.raises(InputError, match=r'source image_list/camera has no labels.* as target'):
        loop.train(wrong, tmp_path / 'run')
    assert not (tmp_path / 'run' / 'config.json').exists()


class Relabelled:
    """A corpus with other labels."""

    def __init__(self, corpus):
        self.corpus, self.name, self.split = corpus, corpus.name, corpus.split
        self.folder = corpus.folder

    def __len__(self):
        return len(self.corpus)

    def __getitem__(self, index):
        record = self.corpus[index]
        return {**record, 'label': (record['label'] + 3) % NUM_CLASSES}


def test_target_labels_change_nothing(config, monkeypatch):
    def after_three_steps():
        parts = run.prepare(config(adapt_from=0.0), say=lambda text: None)
        state = parts.initial
        for _ in range(3):
            batch = next(parts.batches)
            assert set(batch) == {'image_s', 'label_s', 'image_t'}
            state, _ = parts.train_step(state, mapping.shard(batch, parts.chosen))
        parts.batches.close()
        return jax.device_get(state.params)

    expected = after_three_steps()
    load = corpora.load

    def relabelled(name, split, **options):
        corpus = load(name, split, **options)
        return Relabelled(corpus) if name.endswith('wild') else corpus

    monkeypatch.setattr(corpora, 'load', relabelled)
    chex.assert_trees_all_equal(after_three_steps(), expected)


@pytest.mark.parametrize('devices', [1, 4])
def test_criteria_do_not_read_labels_and_are_the_same_on_four_devices(finished, config, devices):
    workdir, result = finished
    state, _ = final_state(workdir, config())
    corpus = Relabelled(corpora.load('synthetic_faces/wild', 'train', data_dir=config().data_dir))
    evaluator = from_config.create_evaluator(config(eval_batch_size=12), jax.devices()[:devices])
    variables = {'params': state.average, 'batch_stats': state.batch_stats}
    assert evaluator.criteria(variables, corpus) == pytest.approx(result['criteria'], rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_run(config, tmp_path):
    broken = config(optimizer__learning_rate=1e30, checkpoint_every=1)
    with pytest.raises(InputError, match=r'step 2: .*loss.* not finite\..* is of step 1; lower'):
        loop.train(broken, tmp_path / 'run')
    assert [p.name for p in (tmp_path / 'run/checkpoints').iterdir()] == ['1']
    assert not (tmp_path / 'run/result.json').exists()


def test_no_checkpoint_is_saved_of_steps_that_were_not_looked_at(config, tmp_path):
    broken = config(optimizer__learning_rate=1e30, checkpoint_every=3, log_every=5)
    with pytest.raises(InputError, match=r'step 2: .*loss.* not finite\..* is none; lower'):
        loop.train(broken, tmp_path / 'run')
    assert not list((tmp_path / 'run/checkpoints').glob('*'))
    # Nothing is lost, so the mended command may take the same folder.
    assert not (tmp_path / 'run/config.json').exists()


def test_parameters_that_are_not_finite_are_no_result(config, tmp_path, monkeypatch):
    """Those of the last step have no loss that would tell."""
    step = loop._Loop._step

    def last_update_breaks(self, state, number):
        state = step(self, state, number)
        if number < STEPS - 1:
            return state
        return state.replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))

    monkeypatch.setattr(loop._Loop, '_step', last_update_breaks)
    with pytest.raises(InputError, match=rf'step {STEPS}: parameters not finite\..* of step 4;'):
        loop.train(config(), tmp_path / 'run')
    assert sorted(p.name for p in (tmp_path / 'run/checkpoints').iterdir()) == ['2', '4']
    assert not (tmp_path / 'run/result.json').exists()


def test_each_corpus_is_decoded_once(config, tmp_path, monkeypatch):
    """All of them before training: later a lack of memory would cost the run."""
    decoded, decode_all = [], reading.decode_all

    def recorded(corpus, *arguments, **options):
        decoded.append(reading.describe(corpus))
        return decode_all(corpus, *arguments, **options)

    monkeypatch.setattr(reading, 'decode_all', recorded)
    monkeypatch.setattr(loop._Loop, 'run', lambda self, state: decoded.append('training'))
    loop.train(config(), tmp_path / 'run')
    parts = [f'synthetic_faces/{name}' for name in ('studio[train]', 'wild[train]')]
    tests = [f'synthetic_faces/{name}' for name in ('studio[test]', 'wild[test]')]
    assert decoded == [*parts, *tests, 'training']


def test_of_equal_evaluations_the_first_is_the_oracle(config, tmp_path, monkeypatch):
    monkeypatch.setattr(
        evaluator.Evaluator, 'score', lambda self, *_, **__: {'accuracy': 0.5, 'count': 28}
    )
    result = loop.train(config(), tmp_path / 'run')
    assert result['oracle'] == {'step': 3, 'accuracy': 0.5}


def test_checkpoints_of_nobody_knows_which_run(finished, config, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / 'run')
    (workdir / 'config.json').unlink()
    with pytest.raises(InputError, match=r'has a result or checkpoints, but no config\.json'):
        loop.train(config(), workdir)


def test_a_damaged_result(finished, config, tmp_path):
    workdir = shutil.copytree(finished[0], tmp_path / 'run')
    scores = '{"source_test": null, "target_test": %s}'
    for text in ('{"a', '{}', '[]', '3', scores % 3, scores % '{"accuracy": 1}'):
        (workdir / 'result.json').write_text(text)
        with pytest.raises(InputError, match=r'result\.json is damaged .*; remove it'):
            loop.train(config(), workdir)


def test_an_unfinished_run_goes_on_with_what_changes_nothing_learned(
    finished, config, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(InputError, match='goes on from step 4'):
            loop.train(config(), tmp_path)
    result = loop.train(config(eval_batch_size=8, log_every=1), tmp_path)
    assert result['target_test'] == finished[1]['target_test']
    assert json.loads((tmp_path / 'config.json').read_text())['eval_batch_size'] == 8
    assert not list(tmp_path.glob('config.json.*'))


def test_a_folder_of_another_config(finished, config):
    with pytest.raises(InputError) as error:
        loop.train(config(seed=1, dmsrl__alpha=0.125), finished[0])
    assert 'belongs to a run with another config (' in str(error.value)
    assert 'seed: there 0, here 1' in str(error.value)
    assert 'dmsrl.alpha: there' in str(error.value)
    assert 'batch_size' not in str(error.value)


def test_a_damaged_config_file(config, tmp_path):
    for text in ('{"seed":', '[]', '"seed"'):
        (tmp_path / 'config.json').write_text(text)
        with pytest.raises(InputError, match=r'config\.json is damaged'):
            loop.train(config(), tmp_path)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'batch_size': 30, 'devices': 4}, 'batch_size=30 .* 4 device.*instance 28 or 32'),
        ({'devices': 64}, 'devices=64 asked for, but JAX sees 4'),
        (
            {'source': 'fer2013'},
            "corpus 'fer2013' is not prepared.*experiments/prepare.py --corpus",
        ),
        ({'target': 'no_such'}, "there is no corpus 'no_such'"),
        ({'target_split': 'dev'}, "has no split 'dev'; it has"),
        ({'method': 'dmsrl', 'dmsrl__centers': 'one'}, 'dmsrl.centers must be one of'),
        ({'method': 'mmd'}, "unknown method 'mmd'; there are: "),
        ({'model__name': 'vgg'}, "unknown model 'vgg'"),
        ({'mapping': 'vmap'}, "unknown mapping 'vmap'"),
        ({'optimizer__schedule': 'poly'}, "unknown learning-rate schedule 'poly'"),
        ({'adapt_from': 1.0}, r'adapt_from must be in \[0, 1\), got 1.0'),
        ({'steps': -1}, 'steps must be at least 0, got -1'),
        (
            {'steps': 0, 'length__steps': 0, 'length__epochs': 0},
            'have 0 steps; set steps or epochs',
        ),
        ({'eval_batch_size': 0}, 'eval_batch_size must be at least 1, got 0'),
        (
            {'batch_size': 65},
            '64 images, fewer than one batch of 65; set batch_size to at most 64$',
        ),
        ({'augment__source__crop': 'centre'}, 'augmentation crop must be one of'),
    ],
)
def test_mistakes_in_a_config(config, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        loop.train(config(**changes), tmp_path / 'run')
    # The mended command may take the same folder.
    assert not (tmp_path / 'run' / 'config.json').exists()


def test_epochs_count_full_batches_of_source(config):
    parts = run.prepare(config(steps=0, epochs=3, batch_size=10), say=lambda text: None)
    parts.batches.close()
    assert parts.total_steps == 3 * (64 // 10)


def no_more_space(*_, **__):
    raise OSError(errno.ENOSPC, 'No space left on device')


def test_no_place_for_the_folder(config, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(InputError, match=r'workdir .*file is a file; pass another'):
        loop.train(config(), tmp_path / 'file')
    with pytest.raises(InputError, match=r'cannot write to workdir .*another --workdir'):
        loop.train(config(), tmp_path / 'file' / 'run')


@pytest.mark.parametrize('where', ['log', 'checkpoint', 'result', 'start of the log'])
def test_a_disk_that_is_full(config, tmp_path, monkeypatch, where):
    owner, name = {
        'log': (logs.RunLog, 'write'),
        'checkpoint': (loop.Checkpoints, 'save'),
        'result': (loop, 'write_json'),
        'start of the log': (logs, '_truncate'),
    }[where]
    monkeypatch.setattr(owner, name, no_more_space)
    with pytest.raises(InputError, match=r'No space left on device.*start the same command again'):
        loop.train(config(steps=2), tmp_path / 'run')
    assert not (tmp_path / 'run/result.json').exists()
    monkeypatch.undo()

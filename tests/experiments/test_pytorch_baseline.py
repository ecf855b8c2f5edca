"""The PyTorch baseline's training command on tiny corpora."""

import io
import json

import jax
import numpy as np
import pytest
import torch
from absl import flags
from PIL import Image

from dmsrl_jax.data import augment
from dmsrl_jax.errors import InputError
from dmsrl_jax.evaluation import metrics, selection
from experiments.configs import release
from experiments.pytorch_baseline import data, evaluation, models, train


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    torch.set_num_threads(1)


CPU = torch.device('cpu')
RELEASE = {f'dmsrl.{name}': value for name, value in release.DMSRL.items()}


@pytest.mark.parametrize(
    ('changes', 'images'),
    [
        ({}, 16),
        ({'model.statistics': 'joint'}, 16),
        ({**RELEASE, 'optimizer.name': 'sgd', 'average': False, 'model.dtype': 'bfloat16'}, 16),
        ({'method': 'source_only', 'average': False}, 8),
    ],
    ids=['default', 'joint', 'release', 'source_only'],
)
def test_a_run_leaves_the_same_files(tiny_config, tiny_run, changes, images, tmp_path):
    config = tiny_config(devices=1, log_every=1, **changes)
    result = train.train(config, tmp_path, device=CPU)
    assert json.loads((tmp_path / 'result.json').read_text()) == result
    ours = json.loads((tiny_run / 'result.json').read_text())
    assert set(result) == {*ours, 'framework'}
    assert set(result['target_test']) == set(ours['target_test'])
    assert (result['steps'], result['target_test']['count']) == (3, 28)
    assert (result['method'], result['platform']) == (config.method, 'cpu')
    assert (result['pseudo_label'] is None) == (config.method == 'source_only')
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert [line['step'] for line in lines] == [1, 2, 3]
    assert 'margin' not in lines[0]  # before adaptation
    assert ('margin' in lines[-1]) == (config.method == 'dmsrl')
    weights = torch.load(tmp_path / 'weights.pth', weights_only=True)
    network = models.create('tiny_multilevel', statistics=config.model.statistics)
    network.load_state_dict(weights)
    assert torch.atleast_2d(weights['features.2.running_mean']).any(dim=1).all()


@pytest.mark.parametrize('done', [1, 2])
def test_until_adaptation_the_source_alone_is_learned(tiny_config, done):
    config = tiny_config(devices=1, steps=4, **{'model.statistics': 'joint', 'adapt_from': 0.5})
    assert next(train.Trainer(config, CPU).batches())[2] is None  # nothing is read before, either
    at_once = tiny_config(devices=1, steps=4, adapt_from=0.0)
    images_s, labels, images_t = next(train.Trainer(at_once, CPU).batches())
    seen, terms = [], {}
    for images in (images_t, 255 - images_t):
        trainer = train.Trainer(config, CPU)
        centers = trainer.module.centers.target.clone()
        terms = trainer.step(done, images_s, labels, images)
        seen.append(trainer.network.features[2].running_mean)
        assert torch.equal(trainer.module.centers.target, centers) == (done < 2)
    assert torch.equal(*seen) == (done < 2)
    assert ('margin' in terms) == (done >= 2)


def test_ramps_and_schedules_begin_with_adaptation(tiny_config):
    trainer = train.Trainer(tiny_config(devices=1, steps=5, adapt_from=0.4), CPU)
    told, coefficients = [], trainer.coefficients
    trainer.coefficients = lambda done: told.append(done) or coefficients(done)
    rates = []
    for done, batch in zip(range(4), trainer.batches(), strict=False):
        rates.append(trainer.optimisers.optimisers['head'].param_groups[0]['lr'])
        trainer.step(done, *batch)
    assert told == [0, 1]
    assert rates == pytest.approx([2e-3, 1e-3, 1e-3, 7.5e-4])


def test_it_learns_the_source(tiny_config, tmp_path):
    config = tiny_config(
        devices=1, batch_size=64, steps=60, log_every=5, method='source_only', average=False
    )
    train.train(config, tmp_path, device=CPU)
    lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
    assert lines[-1]['loss'] < 0.6 * lines[0]['loss']


def test_the_average_starts_evaluation_from_averaged_weights(tiny_config):
    trainer = train.Trainer(tiny_config(devices=1), CPU)
    trainer.step(0, *next(trainer.batches()))
    before = trainer.average.network.fc2.weight.clone()
    trainer.step(1, *next(trainer.batches()))
    now, averaged = trainer.network.fc2.weight, trainer.average.network.fc2.weight
    # After the second step the decay is 2 / 11.
    torch.testing.assert_close(averaged, before + (1 - 2 / 11) * (now.detach() - before))
    own, twin = (net.features[2].running_mean for net in (trainer.network, trainer.average.network))
    assert own is twin


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'accumulate': 2}, 'accumulate=1'),
        ({'devices': 2}, 'one device'),
        ({'dmsrl.centers': 'common'}, 'centers=separate'),
        ({'dmsrl.pseudo_label': 'balanced'}, 'argmax and threshold'),
        ({'optimizer.clip_norm': 1.0}, 'does not clip'),
        ({'batch_size': 128}, '64 images are fewer than one batch of 128'),
    ],
)
def test_what_it_lacks_is_refused(tiny_config, changes, message):
    with pytest.raises(InputError, match=message):
        train.Trainer(tiny_config(**{'devices': 1, **changes}), CPU)


def test_weights_to_start_from(tiny_config, tmp_path):
    torch.manual_seed(5)
    other = models.create('tiny_multilevel')
    trunk = other.features.state_dict(prefix='features.')
    torch.save({'model': trunk}, tmp_path / 'trunk.pth')
    config = tiny_config(devices=1, **{'model.pretrained': f'{tmp_path}/trunk.pth'})
    found = train.Trainer(config, CPU).network.features.state_dict(prefix='features.')
    for key, value in trunk.items():
        torch.testing.assert_close(found[key], value.expand(found[key].shape))
    torch.save({'features.5.weight': torch.zeros(2, 2, 3, 3)}, tmp_path / 'trunk.pth')
    with pytest.raises(InputError, match=r'(?s)does not fit.*features\.5\.weight'):
        train.Trainer(config, CPU)


def test_the_command(tiny_data, tmp_path, capsys, monkeypatch):
    values = flags.FlagValues()
    argv = [
        'train.py',
        '--config=experiments/configs/pair.py:synthetic_faces/studio,synthetic_faces/wild',
        f'--config.data_dir={tiny_data}',
        '--config.steps=1',
        '--config.batch_size=8',
        '--device=cpu',
        f'--workdir={tmp_path}',
    ]
    monkeypatch.setattr('sys.argv', argv)
    train.define_flags(values)
    rest = values(argv)
    train.main(rest, values)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith('source_test: accuracy 0.')
    assert out[1].endswith('(28 images)')
    train.main(rest, values)  # is finished
    assert 'is finished; remove it' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--device=foo'], '--device=foo: there is cpu here'),
        (['more'], 'unexpected arguments: more'),
        (['--config.batch_size=0'], 'batch_size must be at least 1, got 0'),
    ],
)
def test_mistakes(tiny_data, tmp_path, monkeypatch, arguments, message):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    values = flags.FlagValues()
    pair = 'experiments/configs/pair.py:synthetic_faces/studio,synthetic_faces/wild'
    argv = ['train.py', f'--config={pair}', f'--config.data_dir={tiny_data}', *arguments]
    argv += [f'--workdir={tmp_path}']
    monkeypatch.setattr('sys.argv', argv)
    train.define_flags(values)
    with pytest.raises(InputError, match=message):
        train.main(values(argv), values)
    assert not list(tmp_path.iterdir())


def one_image(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return [{'image': buffer.getvalue(), 'label': 3}]


def test_images_are_read_flipped_and_cropped():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    corpus, expected = one_image(pixels), torch.from_numpy(pixels).permute(2, 0, 1)
    image, label = data.Faces(corpus, 8)[0]
    assert label == 3
    assert torch.equal(image, expected)
    torch.manual_seed(0)
    flipping = data.Faces(corpus, 8, {'flip': True, 'crop': 'none'}, labels=False)
    found = [flipping[0] for _ in range(20)]
    assert {known for _, known in found} == {-1}
    flips = sum(torch.equal(each, expected.flip(2)) for each, _ in found)
    assert 3 < flips < 17
    assert all(torch.equal(x, expected) or torch.equal(x, expected.flip(2)) for x, _ in found)
    large = torch.from_numpy(np.array(Image.fromarray(pixels).resize((8, 8)))).permute(2, 0, 1)
    release_crop = data.Faces(corpus, 7, {'flip': False, 'crop': 'release'})
    windows = [large[:, i : i + 7, j : j + 7] for i in (0, 1) for j in (0, 1)]
    crops = [release_crop[0][0] for _ in range(40)]
    seen = {next(n for n, w in enumerate(windows) if torch.equal(w, crop)) for crop in crops}
    assert seen == {0, 1, 2, 3}
    recipe = {'flip': False, 'crop': 'resize_crop', 'min_scale': 1.0}
    assert torch.equal(data.Faces(corpus, 8, recipe)[0][0], expected)


def test_colour():
    images = torch.randint(0, 256, (64, 3, 4, 4), dtype=torch.uint8)
    plain = data.colour(images, {})
    torch.testing.assert_close(plain, images / 255.0)
    torch.testing.assert_close(data.colour(images, {'bgr': True}), plain.flip(1))
    grey = torch.full((256, 3, 2, 2), 128, dtype=torch.uint8)
    shift = data.colour(grey, {'brightness': 0.2})[:, 0, 0, 0] - 128 / 255
    assert -0.2 <= shift.min() < -0.15
    assert 0.15 < shift.max() <= 0.2
    torch.testing.assert_close(data.colour(grey, {'contrast': 0.5}), data.colour(grey, {}))


def test_light_of_the_other_domain_as_in_the_library():
    images, references = torch.rand(2, 64, 3, 5, 5) * 0.8
    found = data.match(images, references, 1.0)
    last = lambda x: x.permute(0, 2, 3, 1).numpy()
    options = {'share': 1.0, 'positions': np.arange(64)}
    same = augment.match(jax.random.key(0), last(images), last(references), **options)
    np.testing.assert_allclose(last(found), same, atol=1e-5)
    changed = (data.match(images, references, 0.5) != images).flatten(1).any(dim=1)
    assert 16 < changed.sum() < 48
    assert torch.equal(data.match(images, references, 0.0), images)


def test_source_images_take_their_light_in_adaptation(tiny_config, monkeypatch):
    shares = []
    monkeypatch.setattr(data, 'match', lambda x, y, share: shares.append(share) or x)
    changes = {'method': 'dmsrl', 'steps': 4, 'adapt_from': 0.5, 'augment.match': 0.75}
    made = train.Trainer(tiny_config(devices=1, **changes), CPU)
    batches = made.batches()
    for done in range(3):
        made.step(done, *next(batches))
    assert shares == [0.75]


def test_scores_equal_the_librarys():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 7, generator=generator)
    labels = torch.randint(0, 6, (50,), generator=generator)  # class 6 is absent
    found = evaluation.score(logits, labels)
    expected = metrics.summarize(np.asarray(found['confusion']))
    assert found['confusion'][2][4] == ((labels == 2) & (logits.argmax(1) == 4)).sum()
    assert found.pop('confusion') == expected.pop('confusion')
    assert found == pytest.approx(expected)


@pytest.mark.parametrize('largest', [5000, 20])
def test_criteria_equal_the_librarys(largest):
    logits = 2 * torch.randn(50, 7, generator=torch.Generator().manual_seed(1))
    found = evaluation.criteria(logits, largest=largest)
    expected = selection.criteria(logits.softmax(dim=1).numpy(), largest=largest)
    assert found == pytest.approx(expected, rel=1e-5)

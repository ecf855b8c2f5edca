"""Every config loads, says what it is for, and has no field that nothing reads."""

import ast
import importlib
import pathlib
import re

import pytest

import dmsrl_jax
from dmsrl_jax import methods
from dmsrl_jax.data import augment
from dmsrl_jax.errors import InputError
from dmsrl_jax.training import from_config, optimizers, run
from experiments import configs
from experiments.configs import ablation, adapt, common, demo, development, pair, release

FOLDER = pathlib.Path(configs.__file__).parent
ROOT = FOLDER.parents[1]
FILES = sorted(path.stem for path in FOLDER.glob('[!_]*.py'))
NEEDS_PAIR = ('ablation', 'adapt', 'development', 'pair', 'release')


def load(name):
    module = importlib.import_module(f'experiments.configs.{name}')
    return module.get_config('one,two') if name in NEEDS_PAIR else module.get_config()


def flat(tree, prefix=''):
    for name, value in tree.items():
        if hasattr(value, 'items'):
            yield from flat(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


@pytest.mark.parametrize('name', FILES)
def test_every_config_makes_a_run(name):
    config = load(name).lock()
    method = methods.create(config.method, **config[config.method])
    model = from_config.create_model(config)
    assert model.num_classes == 7
    for domain in ('source', 'target'):
        augment.recipe('none', **config.augment[domain])
    settings = config.optimizer.to_dict()
    groups = ['backbone', 'head', *(g for phase in method.phases for g in phase.groups)]
    made = optimizers.create(settings, groups, total_steps=10, steps_per_epoch=2)
    assert set(made) == set(groups)


@pytest.mark.parametrize('name', FILES)
def test_a_typo_in_a_locked_config_is_an_error(name):
    with pytest.raises(AttributeError, match='batchsize'):
        load(name).lock().batchsize = 1


@pytest.mark.parametrize('name', FILES)
def test_every_config_is_short_and_a_lab_note(name):
    text = (FOLDER / f'{name}.py').read_text()
    note = ast.get_docstring(ast.parse(text)) or ''
    # The base config lists all fields and is no experiment of its own.
    assert len(text.splitlines()) < (60 if name != 'common' else 100)
    assert note.splitlines()[0].endswith('.')
    if name != 'common':
        assert 'Command' in note
        assert re.search(r'python experiments/\w+\.py|make \w+', note)


@pytest.mark.parametrize('name', FILES)
def test_configs_only_change_fields_of_the_base(name):
    known = {field for field, _ in flat(common.get_config())}
    free = 'optimizer.groups.'  # each group may set any field of an optimiser
    changed = {field for field, _ in flat(load(name))}
    assert {field for field in changed - known if not field.startswith(free)} == set()


def sources():
    files = [*pathlib.Path(dmsrl_jax.__file__).parent.rglob('*.py'), *ROOT.glob('experiments/*.py')]
    return '\n'.join(path.read_text() for path in files)


def test_every_field_is_read_somewhere():
    text = sources()
    splits = {f'{role}_split' for role in run.ROLES}
    assert "config[f'{role}_split']" in text
    unread = [
        field
        for field, _ in flat(common.get_config())
        if field not in splits
        # An attribute, or a quoted name that is no key of a literal.
        and not re.search(rf'\.{(name := field.split(".")[-1])}\b|[\'"]{name}[\'"](?!\s*:)', text)
    ]
    assert unread == []


def test_the_options_of_every_method_stand_under_its_name():
    config = common.get_config()
    for name in methods.names():
        assert config[name].to_dict() == methods.options(name)
    assert config.method in methods.names()


def test_every_group_of_every_method_is_listed():
    groups = {
        group
        for name in methods.names()
        for phase in methods.create(name).phases
        for group in phase.groups
    }
    assert groups <= set(common.get_config().optimizer.groups)


@pytest.mark.parametrize('arg', ['', 'one', 'one,', ',two', 'one,two,three'])
@pytest.mark.parametrize('name', NEEDS_PAIR)
def test_a_pair_is_two_names(name, arg):
    module = importlib.import_module(f'experiments.configs.{name}')
    with pytest.raises(InputError, match=rf"takes <source>,<target> after a colon, got '{arg}'"):
        module.get_config(arg)


def test_pair_and_demo_name_their_corpora():
    assert tuple(pair.get_config('a/x,b')[role] for role in ('source', 'target')) == ('a/x', 'b')
    config = demo.get_config()
    assert (config.source, config.target) == ('synthetic_faces/studio', 'synthetic_faces/wild')


def test_the_settings_that_were_chosen():  # docs/choices.md says how
    config = pair.get_config('a,b')
    assert (config.model.statistics, config.augment.match, config.average) == ('joint', 0.5, True)
    groups = config.optimizer.groups
    assert [groups[name].weight_decay for name in ('critic', 'centers')] == [5e-4, 5e-4]
    method = config.dmsrl
    assert (method.alpha, method.beta, method.margin, method.cross_weight) == (2, 0.1, 1, 10)
    assert (method.threshold, method.alignment, method.teacher) == (0.9, 0.5, True)


def test_adaptation_is_shorter_than_training_from_the_start():
    lengths = [
        [from_config.length(config.get_config('a,b'), batches) for batches in (3, 75)]
        for config in (adapt, pair)
    ]
    assert lengths == [[300, 375], [1500, 1875]]


def test_where_adaptation_begins_and_how_fast_it_learns():
    for config, begin in ((pair, 0.7), (adapt, 0.0), (demo, 0.7)):
        made = load(config.__name__.rpartition('.')[2])
        assert made.adapt_from == begin
        assert made.optimizer.learning_rate * made.optimizer.adaptation == 1e-3


@pytest.mark.parametrize('module', [ablation, adapt, demo, development])
def test_every_row_is_a_valid_config(module):
    rows = module.rows()
    assert next(iter(rows)) == 'source_only'  # gains are over the first row
    for changes in rows.values():
        config = load(module.__name__.rpartition('.')[2])
        with config.unlocked():
            config.update_from_flattened_dict(changes)  # KeyError for a field that is not there
        methods.create(config.method, **config[config.method])
        from_config.create_model(config)


def test_the_ablation_has_each_module_alone_and_all_together():
    rows = ablation.rows()
    constants = rows.pop('release-constants')
    assert (constants['dmsrl.alpha'], constants['dmsrl.margin']) == (0.01, 100.0)
    assert len(rows) == 10
    seen = set()
    for changes in rows.values():
        config = ablation.get_config()
        config.update_from_flattened_dict(changes)
        on = config.method == 'dmsrl'
        seen.add(
            (
                config.model.local,
                on,
                on and config.dmsrl.use_margin,
                on and config.dmsrl.mutual_information != 'none',
            )
        )
    assert len(seen) == 10


def test_the_release_has_the_papers_numbers():
    config = release.get_config('a,b')
    method, optimizer = config.dmsrl, config.optimizer
    assert (method.alpha, method.beta, method.cross_weight, method.margin) == (
        0.01,
        0.01,
        0.01,
        100,
    )
    assert (method.mutual_information, method.reversal_steps) == ('adversarial', 10_000)
    assert (method.pseudo_label, method.teacher) == ('argmax', False)
    assert config.adapt_from == 0
    assert (method.centers, method.center_scale, method.normalize) == ('separate', 1, False)
    assert not method.centers_follow
    assert method.hidden == 512
    assert (config.model.name, config.model.dropout) == ('vgg16_multilevel', 0.5)
    assert config.model.statistics == 'shared'
    assert (config.image_size, config.batch_size, config.epochs, config.steps) == (224, 64, 60, 0)
    assert (optimizer.name, optimizer.learning_rate, optimizer.momentum) == ('sgd', 0.01, 0.9)
    assert (optimizer.nesterov, optimizer.weight_decay) == (True, 5e-4)
    assert (optimizer.schedule, optimizer.decay_epochs, optimizer.decay) == ('step', 30, 0.1)
    assert optimizer.adaptation == 1
    assert not config.average


def test_the_releases_centers_and_images():
    config = release.get_config('a,b')
    groups = config.optimizer.groups
    assert all(groups[name].to_dict() == {'multiplier': 1.0} for name in ('backbone', 'critic'))
    centers = {**config.optimizer, **groups.centers}
    assert (centers['learning_rate'], centers['momentum'], centers['nesterov']) == (1.0, 0.9, True)
    assert (centers['weight_decay'], centers['schedule']) == (5e-4, 'constant')
    recipe = augment.recipe('none', **config.augment.source)
    assert recipe == augment.recipe('release', bgr=True)
    assert augment.stored_size(config.image_size, recipe) == 256
    assert augment.recipe('none', **config.augment.target) == augment.recipe('none', bgr=True)
    assert not config.augment.match
    assert not config.pipeline.target_shuffle

"""The table of results, and which rows and seeds it runs."""

import json

import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import loop
from experiments import tables


def result(source, target, mean_class, oracle):
    return {
        'source_test': {'accuracy': source},
        'target_test': {'accuracy': target, 'mean_class_accuracy': mean_class},
        'oracle': {'step': 1, 'accuracy': oracle},
    }


HEAD = (
    '| row | source | target | target mean class | target oracle | target gain | seeds |\n'
    '|---|---|---|---|---|---|---|\n'
)


def test_golden_table_of_two_seeds():
    results = {
        'source_only': [result(0.9, 0.5, 0.4, 0.55), result(0.92, 0.54, 0.42, 0.55)],
        # Gains of 10 and 7 points: their spread, not that of the two rows.
        'dmsrl': [result(0.91, 0.6, 0.5, 0.7), result(0.91, 0.61, 0.5, 0.7)],
    }
    assert tables.table(results) == (
        HEAD
        + '| source_only | 91.0 ± 1.4 | 52.0 ± 2.8 | 41.0 ± 1.4 | 55.0 ± 0.0 | +0.0 | 2 |\n'
        + '| dmsrl | 91.0 ± 0.0 | 60.5 ± 0.7 | 50.0 ± 0.0 | 70.0 ± 0.0 | +8.5 ± 2.1 | 2 |'
    )


def test_one_seed_has_no_spread():
    results = {'a': [result(0.9, 0.5, 0.4, 0.5)], 'b': [result(0.9, 0.45, 0.4, 0.5)]}
    assert tables.table(results) == (
        HEAD
        + '| a | 90.0 | 50.0 | 40.0 | 50.0 | +0.0 | 1 |\n'
        + '| b | 90.0 | 45.0 | 40.0 | 50.0 | -5.0 | 1 |'
    )


def test_blind_table_shows_nothing_that_target_labels_went_into():
    def run(source, entropy, information, density):
        criteria = {'entropy': entropy, 'information': information, 'density': density}
        return {'source_test': {'accuracy': source}, 'criteria': criteria}

    runs = {'a': [run(0.9, 0.5, 1.0, 5.0), run(0.92, 0.7, 1.2, 5.5)], 'b': [run(0.8, 1, 0.5, 4)]}
    assert tables.blind_table(runs) == (
        '| row | source accuracy | target entropy | target information | target density | seeds |\n'
        '|---|---|---|---|---|---|\n'
        '| a | 91.0 ± 1.4 | 0.600 ± 0.141 | 1.100 ± 0.141 | 5.250 ± 0.354 | 2 |\n'
        '| b | 80.0 | 1.000 | 0.500 | 4.000 | 1 |'
    )


def test_a_target_without_labels_has_dashes():
    runs = [{'source_test': {'accuracy': 0.9}, 'target_test': None, 'oracle': None}]
    assert tables.table({'a': runs, 'b': runs}) == (
        HEAD + '| a | 90.0 | - | - | - | - | 1 |\n' + '| b | 90.0 | - | - | - | - | 1 |'
    )


@pytest.fixture
def run_tables(tmp_path, monkeypatch):
    """Runs the command with a stand-in for training; gives (what was trained, workdir)."""
    trained = []

    def train(config, workdir):
        trained.append((config, workdir.relative_to(tmp_path).as_posix()))
        workdir.mkdir(parents=True)
        score = 0.5 + 0.1 * (config.method == 'dmsrl') + 0.01 * config.seed
        (workdir / 'result.json').write_text(json.dumps(result(score, score, score, score)))

    monkeypatch.setattr(loop, 'train', train)
    monkeypatch.setattr(tables.cli, 'cache_compilations', lambda: None)

    def run(*arguments):
        values = flags.FlagValues()
        tables.define_flags(values)
        argv = ['tables.py', '--workdir', str(tmp_path), *arguments]
        monkeypatch.setattr('sys.argv', argv)  # where the fields of a config are looked for
        tables.main(values(argv), values)
        return trained

    return run


CONFIG = ('--config', 'experiments/configs/demo.py')


def test_every_row_runs_with_every_seed(run_tables, tmp_path, capsys):
    trained = run_tables(*CONFIG, '--seeds', '0,3')
    assert [(path, config.method, config.seed) for config, path in trained] == [
        ('source_only/seed0', 'source_only', 0),
        ('dmsrl/seed0', 'dmsrl', 0),
        ('source_only/seed3', 'source_only', 3),
        ('dmsrl/seed3', 'dmsrl', 3),
    ]
    assert all(config.is_locked for config, _ in trained)
    text = (tmp_path / 'table.md').read_text()
    assert text in capsys.readouterr().out
    assert '| dmsrl | 61.5 ± 2.1 |' in text
    assert json.loads((tmp_path / 'table.json').read_text())['dmsrl'][1] == result(*[0.63] * 4)


def test_finished_runs_are_read_not_repeated(run_tables):
    assert len(run_tables(*CONFIG, '--seeds', '0')) == 2
    assert len(run_tables(*CONFIG, '--seeds', '0,1')) == 4


def test_a_finished_run_of_another_config_stays_out_of_the_table(run_tables, tmp_path):
    run_tables(*CONFIG, '--seeds', '0')
    (tmp_path / 'dmsrl' / 'seed0' / 'config.json').write_text('{"batch_size": 3}')
    with pytest.raises(InputError, match=r'another config .*batch_size: there 3, here 64'):
        run_tables(*CONFIG, '--seeds', '0')


def test_some_rows_and_changed_fields(run_tables):
    change = '--config.batch_size=24'
    ((config, path),) = run_tables(*CONFIG, '--seeds=0', '--rows=dmsrl', change)
    assert path == 'dmsrl/seed0'
    assert config.batch_size == 24


def test_the_ablation_has_its_pair_after_a_colon(run_tables):
    file = 'experiments/configs/ablation.py:a,b'
    ((config, path),) = run_tables('--config', file, '--seeds=0', '--rows=margin-global')
    assert path == 'margin-global/seed0'
    assert (config.source, config.target) == ('a', 'b')
    assert (config.dmsrl.mutual_information, config.model.local) == ('none', False)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'pass --config FILE'),
        ((*CONFIG, '--rows=nope'), 'demo.py has no rows nope; it has: source_only, dmsrl'),
        (('--config', 'experiments/configs/pair.py:a,b'), r'pair.py has no function rows\(\)'),
        ((*CONFIG, 'extra'), 'unexpected arguments: extra'),
    ],
)
def test_mistakes(run_tables, arguments, message):
    with pytest.raises(InputError, match=message):
        run_tables(*arguments)

"""The table of results, and which rows and seeds it runs."""

import concurrent.futures
import json
import sys
import time

import pytest
from absl import flags

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import loop
from experiments import tables


def result(source, target, mean_class, oracle):
    return {
        'source_test': {'accuracy': source, 'mean_class_accuracy': source},
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
    assert tables.blind_table(runs).startswith(
        '| row | source accuracy | target entropy | target information | target density | seeds |\n'
        '|---|---|---|---|---|---|\n'
        '| a | 91.0 ± 1.4 | 0.600 ± 0.141 | 1.100 ± 0.141 | 5.250 ± 0.354 | 2 |\n'
        '| b | 80.0 | 1.000 | 0.500 | 4.000 | 1 |\n\nCriteria in nats'
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
        (workdir / 'config.json').write_text(json.dumps(config.to_dict()))
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


def test_blind_hides_what_a_run_says_of_the_target(run_tables, tmp_path, capsys, monkeypatch):
    def train(config, workdir):
        print('step 1: target test 0.123', file=sys.stderr)
        criteria = {'entropy': 0.5, 'information': 1.0, 'density': 5.0}
        runs = {**result(0.9, 0.123, 0.4, 0.5), 'criteria': criteria}
        (workdir / 'result.json').write_text(json.dumps(runs))

    monkeypatch.setattr(loop, 'train', train)
    (tmp_path / 'table.md').write_text('the other table')
    run_tables(*CONFIG, '--seeds', '0', '--rows', 'dmsrl', '--blind')
    told = ''.join(capsys.readouterr())
    assert '| dmsrl | 90.0 | 0.500 | 1.000 | 5.000 | 1 |' in told
    assert '0.123' not in told
    assert '12.3' not in told
    assert (tmp_path / 'blind.md').read_text() in told
    assert (tmp_path / 'table.md').read_text() == 'the other table'
    assert 'target test 0.123' in (tmp_path / 'dmsrl/seed0/log.txt').read_text()


def test_finished_runs_are_read_not_repeated(run_tables):
    assert len(run_tables(*CONFIG, '--seeds', '0')) == 2
    assert len(run_tables(*CONFIG, '--seeds', '0,1')) == 4


def test_a_finished_run_of_another_config_stays_out_of_the_table(run_tables, tmp_path):
    run_tables(*CONFIG, '--seeds', '0')
    (tmp_path / 'dmsrl' / 'seed0' / 'config.json').write_text('{"batch_size": 3}')
    with pytest.raises(InputError, match=r'another config .*batch_size: there 3, here 64'):
        run_tables(*CONFIG, '--seeds', '0')


def test_a_result_of_nobody_knows_which_config_stays_out_of_the_table(run_tables, tmp_path):
    run_tables(*CONFIG, '--seeds', '0')
    (tmp_path / 'dmsrl/seed0/config.json').unlink()
    with pytest.raises(InputError, match=r'dmsrl/seed0 has a result .* but no config\.json'):
        run_tables(*CONFIG, '--seeds', '0')


def test_a_table_that_cannot_be_written(run_tables, tmp_path, capsys):
    (tmp_path / 'table.md').mkdir()
    with pytest.raises(InputError, match=r'cannot write .*table\.md'):
        run_tables(*CONFIG, '--seeds', '0')
    assert '| source_only |' in capsys.readouterr().out


@pytest.mark.parametrize('content', [b'{"a', b'\xff\xfe'])
def test_a_damaged_result_is_named_before_anything_runs(run_tables, tmp_path, content):
    trained = run_tables(*CONFIG, '--seeds', '0')
    (tmp_path / 'dmsrl/seed0/result.json').write_bytes(content)
    with pytest.raises(InputError, match=r'dmsrl/seed0/result\.json is damaged .*; remove it'):
        run_tables(*CONFIG, '--seeds', '0,1')
    assert len(trained) == 2


@pytest.fixture
def in_threads(monkeypatch):
    """Several runs at a time, but in this process, where training has a stand-in."""
    pool = concurrent.futures.ThreadPoolExecutor
    monkeypatch.setattr(
        concurrent.futures, 'ProcessPoolExecutor', lambda jobs, *_, initializer: pool(jobs)
    )
    monkeypatch.setattr(tables, '_run_logged', lambda path, config: loop.train(config, path))


@pytest.mark.usefixtures('in_threads')
def test_two_at_a_time_make_the_same_table(run_tables, tmp_path, capsys):
    assert len(run_tables(*CONFIG, '--seeds', '0,3', '--jobs', '2')) == 4
    assert '| dmsrl | 61.5 ± 2.1 |' in (tmp_path / 'table.md').read_text()
    assert '[4/4]' in capsys.readouterr().out


@pytest.mark.usefixtures('in_threads')
def test_nothing_begins_after_a_run_that_failed(run_tables, capsys, monkeypatch):
    begun = []

    def train(config, workdir):
        begun.append(workdir)
        if len(begun) == 1:
            raise InputError('loss not finite')
        time.sleep(0.5)

    monkeypatch.setattr(loop, 'train', train)
    with pytest.raises(InputError, match='loss not finite'):
        run_tables(*CONFIG, '--seeds', '0,1,2', '--jobs', '2')
    assert len(begun) <= 2
    assert 'source_only/seed0 failed; still running: ' in capsys.readouterr().err


@pytest.mark.usefixtures('in_threads')
def test_a_run_that_was_killed_is_one_line(run_tables, monkeypatch):
    def train(config, workdir):
        raise concurrent.futures.process.BrokenProcessPool

    monkeypatch.setattr(loop, 'train', train)
    with pytest.raises(InputError, match=r'a run was killed, .*with fewer --jobs'):
        run_tables(*CONFIG, '--seeds', '0', '--jobs', '2')


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
        ((*CONFIG, '--seeds=0,0'), "--seeds takes different whole numbers .*, got '0,0'"),
        ((*CONFIG, '--seeds='), "--seeds takes different whole numbers .*, got ''"),
        ((*CONFIG, '--seeds=0,a'), "--seeds takes different whole numbers .*, got '0,a'"),
        ((*CONFIG, '--seeds=-1'), "--seeds takes different whole numbers .*, got '-1'"),
    ],
)
def test_mistakes(run_tables, arguments, message):
    with pytest.raises(InputError, match=message):
        run_tables(*arguments)

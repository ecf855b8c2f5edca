import pathlib
import subprocess
import sys
import types

import jax
import pytest
from absl import logging as absl_logging

from experiments import cli

ROOT = pathlib.Path(cli.__file__).parents[1]


def command(script, *arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / 'experiments' / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    found = command('evaluate.py', '--workdir', tmp_path / 'nothing')
    assert found.returncode == 2
    assert found.stdout == ''
    assert found.stderr == (
        f'error: there is no folder {tmp_path / "nothing"}; pass the --workdir of a training run\n'
    )


def test_unknown_flags_are_refused():
    found = command('predict.py', '--workdri', 'x')
    assert found.returncode == 2
    assert "Unknown command line flag 'workdri'. Did you mean: workdir ?" in found.stderr
    assert 'Traceback' not in found.stderr


@pytest.mark.parametrize('flag', ['--help', '--helpfull'])
def test_help_is_no_failure(flag):
    found = command('train.py', flag)
    assert found.returncode == 0
    assert '--workdir' in found.stdout
    assert found.stderr == ''


def run_main(tmp_path, body):
    """Runs a script whose `main` has this body."""
    script = tmp_path / 'script.py'
    script.write_text(
        'from dmsrl_jax.errors import InputError\n'
        'from experiments import cli\n'
        f'def main(argv):\n    {body}\n'
        'cli.run(main)\n'
    )
    return subprocess.run(
        [sys.executable, str(script), 'argument'], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize(
    ('body', 'status', 'error'),
    [
        ('return None', 0, ''),
        ('return len(argv)', 2, ''),
        ('raise InputError("the folder is empty")', 2, 'error: the folder is empty\n'),
        ('raise KeyboardInterrupt', 130, 'interrupted\n'),
    ],
)
def test_run_turns_what_main_does_into_a_status(tmp_path, body, status, error):
    found = run_main(tmp_path, body)
    assert (found.returncode, found.stderr) == (status, error)


@pytest.mark.skipif(not pathlib.Path('/dev/full').exists(), reason='this system has no /dev/full')
def test_output_that_goes_nowhere_is_no_traceback(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text('from experiments import cli\ncli.run(lambda argv: print("ä", flush=True))\n')
    ends = {'>&-': (0, ''), '>/dev/full': (2, 'error: [Errno 28] No space left on device: free')}
    for end, (status, error) in ends.items():
        found = subprocess.run(
            ['sh', '-c', f'exec {sys.executable} {script} {end}'],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert found.returncode == status
        assert found.stderr.startswith(error)
        assert 'Traceback' not in found.stderr


def test_text_that_the_terminal_cannot_show_is_escaped(tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHONIOENCODING', 'ascii')
    assert run_main(tmp_path, 'print("1 \u00b1 2 \\udcff")').stdout == '1 \\xb1 2 \\udcff\n'


def test_help_for_somebody_who_has_seen_enough(monkeypatch):
    monkeypatch.setenv('PYTHONUNBUFFERED', '1')
    parts = f'{sys.executable} experiments/weights.py --help 2>&1 1>&3 | cat >&2'
    found = subprocess.run(
        ['bash', '-c', f'exec 3> >(head -c 1 >/dev/null); sleep 1; {parts}'],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert found.stderr == ''


def test_threads_that_never_end_do_not_hold_a_mistake(tmp_path):
    body = (
        'from threading import Event, Thread; Thread(target=Event().wait).start(); '
        'print("told"); raise InputError("the disk is full")'
    )
    found = run_main(tmp_path, body)
    assert (found.returncode, found.stdout) == (2, 'told\n')
    assert found.stderr == 'error: the disk is full\n'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('def get_config():\n    return 1 / 0\n', 'line 2: ZeroDivisionError: division by zero'),
        ('raise RuntimeError("boom")\n', 'line 1: RuntimeError: boom'),
        ('def get_config(:\n', 'line 1: SyntaxError: invalid syntax'),
        ('def get_config():\n    return 5\n', 'get_config() must return a ConfigDict'),
    ],
)
def test_config_files_that_cannot_be_used(tmp_path, text, message):
    (tmp_path / 'mine.py').write_text(text)
    found = command('train.py', '--config', tmp_path / 'mine.py', '--workdir', tmp_path / 'run')
    assert found.returncode == 2
    assert found.stderr.startswith(f'error: {tmp_path}/mine.py')
    assert message in found.stderr
    assert found.stderr.count('\n') == 1


def test_run_leaves_a_bug_its_traceback(tmp_path):
    found = run_main(tmp_path, 'raise ValueError("bug")')
    assert found.returncode == 1
    assert 'Traceback' in found.stderr
    assert 'ValueError: bug' in found.stderr


def test_run_ends_quietly_when_the_reader_goes_away(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        'from experiments import cli\n'
        'def main(argv):\n'
        '    for number in range(100_000):\n'
        '        print(number)\n'
        'cli.run(main)\n'
    )
    found = subprocess.run(
        f'{sys.executable} {script} | head -n 1',
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (found.stdout, found.stderr) == ('0\n', '')


@pytest.fixture
def restored_cache_setting():
    names = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ('named', 'expected'),
    [(None, '{home}/dmsrl_jax/compiled'), ('{home}/named', '{home}/named'), ('', None)],
)
def test_compilation_cache(tmp_path, monkeypatch, restored_cache_setting, named, expected, capsys):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
    monkeypatch.delenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', raising=False)
    if named is not None:
        monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', named.format(home=tmp_path))
    cli.cache_compilations()
    wanted = expected and expected.format(home=tmp_path)
    assert jax.config.jax_compilation_cache_dir == wanted
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0.0
    assert capsys.readouterr().err == ''


def test_a_cache_folder_that_cannot_be_written_is_a_warning(
    tmp_path, monkeypatch, restored_cache_setting, capsys
):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', str(tmp_path / 'file' / 'cache'))
    cli.cache_compilations()
    assert jax.config.jax_compilation_cache_dir is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('warning: compiled programs are not kept, ')
    assert str(tmp_path / 'file') in line
    assert line.endswith('JAX_COMPILATION_CACHE_DIR names another folder')


# No file may be longer than 100 kB; the arrays of this state are.
FULL_DISK = """
import pathlib, resource, signal, sys
import numpy as np
from dmsrl_jax.errors import InputError
from dmsrl_jax.training.checkpoints import Checkpoints
from dmsrl_jax.training.state import TrainState
from experiments import cli

random = np.random.default_rng(0)
fields = dict.fromkeys(TrainState.__dataclass_fields__)
params = {str(i): random.normal(size=(200, 200)) for i in range(20)}
state = TrainState(**{**fields, 'step': np.int32(1), 'params': params})
cli.quiet()
checkpoints = Checkpoints(pathlib.Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    checkpoints.save(state, {})
    checkpoints.wait()
except InputError as error:
    print(error)
"""


def test_what_orbax_raises_is_not_told_besides(monkeypatch, caplog):
    told = []
    monkeypatch.setattr(sys, 'unraisablehook', told.append)
    for _ in range(2):
        cli.quiet()
    for text in ('Event loop is closed', 'another'):
        sys.unraisablehook(types.SimpleNamespace(exc_value=RuntimeError(text)))
    assert [str(what.exc_value) for what in told] == ['another']
    absl_logging.error('[thread=%s] _SignalingThread.run() raised an exception: %s', 'x', 'y')
    absl_logging.error('[process=0] Failed to remove checkpoint')
    assert [record.message for record in caplog.records if record.levelname == 'ERROR'] == [
        '[process=0] Failed to remove checkpoint'
    ]


def test_a_full_disk_while_a_checkpoint_is_written_is_one_error(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', FULL_DISK, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.startswith('could not write a checkpoint to ')
    assert 'Traceback' not in done.stderr

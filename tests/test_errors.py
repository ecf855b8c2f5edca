"""Commands in messages begin with the Python that the user called."""

import pathlib
import subprocess
import sys

import pytest

from dmsrl_jax import errors


@pytest.fixture
def called(monkeypatch, tmp_path):
    """What is told if Python was called by a path, in the folder `tmp_path`."""
    monkeypatch.chdir(tmp_path)

    def tell(path, *on_path):
        monkeypatch.setattr(sys, 'executable', str(path))
        monkeypatch.setenv('PATH', ':'.join(map(str, on_path)))
        for folder in {pathlib.Path(path).parent, *map(pathlib.Path, on_path)}:
            folder.mkdir(parents=True, exist_ok=True)
            program = folder / pathlib.Path(path).name
            program.touch()
            program.chmod(0o755)
        return errors.python_command()

    return tell


def test_inside_the_working_folder_it_is_the_relative_path(called, tmp_path):
    assert called(tmp_path / '.venv/bin/python', tmp_path / '.venv/bin') == '.venv/bin/python'
    assert called(tmp_path / 'my env/bin/python') == "'my env/bin/python'"


def test_elsewhere_it_is_the_name_that_the_shell_knows(called, tmp_path_factory):
    folder, other = tmp_path_factory.mktemp('bin'), tmp_path_factory.mktemp('other')
    assert called(folder / 'python', folder) == 'python'
    assert called(folder / 'python3', folder) == 'python3'
    assert called(folder / 'python', other, folder) == str(folder / 'python')
    assert called(folder / 'python') == str(folder / 'python')


def test_without_an_executable(monkeypatch):
    monkeypatch.setattr(sys, 'executable', '')
    assert errors.python_command() == 'python'


def test_what_is_told_can_be_run():
    command = f'{errors.python_command()} -c "import sys; print(sys.prefix)"'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sys.prefix

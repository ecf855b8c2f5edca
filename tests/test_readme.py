"""What a newcomer pastes out of README.md after `make demo` is a command that exists."""

import importlib
import pathlib
import re
import shlex

import pytest
from absl import flags

ROOT = pathlib.Path(__file__).parents[1]
TEXT = (ROOT / 'README.md').read_text()
LINES = [line.strip() for line in re.findall(r'^ {4}(\S.*)$', TEXT, re.MULTILINE)]
COMMANDS = [line for line in LINES if 'experiments/' in line]


def test_there_are_some():
    assert len(COMMANDS) >= 8
    assert {line.split()[1] for line in COMMANDS} >= {
        f'experiments/{name}.py' for name in ('prepare', 'train', 'predict', 'evaluate')
    }


@pytest.mark.parametrize('line', COMMANDS)
def test_a_command_is_called_by_the_interpreter_of_make_and_has_its_flags(line):
    python, script, *arguments = shlex.split(line, comments=True)
    assert python == '.venv/bin/python'
    values = flags.FlagValues()
    importlib.import_module(script.removesuffix('.py').replace('/', '.')).define_flags(values)
    for argument in arguments:
        if argument.startswith('--'):
            name = argument[2:].partition('=')[0].partition('.')[0]
            assert name in values, argument
        if argument.startswith('experiments/'):
            assert (ROOT / argument.partition(':')[0]).is_file()


def test_other_lines_are_targets_of_make():
    targets = re.findall(r'^([a-z]+):.*##', (ROOT / 'Makefile').read_text(), re.MULTILINE)
    for line in LINES:
        if line.startswith('make '):
            assert line.split()[1] in targets


@pytest.mark.parametrize('path', re.findall(r'\]\(([^)#:]+)\)', TEXT))
def test_links_lead_somewhere(path):
    assert (ROOT / path).exists()


FORMULAS = (ROOT / 'docs/formulas.md').read_text()
PLACES = re.findall(r'`(\w+)/(\w+)\.py`((?:,? `\w+`)+)', FORMULAS)


@pytest.mark.parametrize(('package', 'module', 'names'), PLACES)
def test_a_formula_is_where_the_page_says(package, module, names):
    found = importlib.import_module(f'dmsrl_jax.{package}.{module}')
    for name in re.findall(r'\w+', names):
        assert hasattr(found, name), name


def test_the_page_of_formulas_has_places_and_tests():
    assert len(PLACES) > 25
    tests = re.findall(r'`(\w+/test_\w+\.py)`', FORMULAS)
    assert len(tests) > 20
    assert all((ROOT / 'tests' / path).is_file() for path in tests)

"""Which corpora can be prepared, by which builder, and where prepared ones lie."""

import difflib
import importlib
import os
import pathlib
import pkgutil
from types import ModuleType

from dmsrl_jax.errors import InputError, python_command


def default_data_dir() -> pathlib.Path:
    """Folder of the prepared corpora: `$DMSRL_DATA_DIR`, else `~/.cache/dmsrl_jax/corpora`."""
    if named := os.environ.get('DMSRL_DATA_DIR'):
        return pathlib.Path(named).expanduser()
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(cache).expanduser() / 'dmsrl_jax' / 'corpora'


def registered() -> tuple[str, ...]:
    """Names of the corpora that have a builder: the folders of `data_builders`."""
    try:
        package = importlib.import_module('data_builders')
    except ModuleNotFoundError:
        return ()
    names = [
        module.name
        for module in pkgutil.iter_modules(package.__path__)
        for root in package.__path__
        if (pathlib.Path(root) / module.name / f'{module.name}_dataset_builder.py').is_file()
    ]
    return tuple(sorted(set(names)))


def builder_module(name: str) -> ModuleType:
    """Imports the module that builds a corpus.

    Args:
        name: `<corpus>` or `<corpus>/<config>`.

    Returns:
        The module `data_builders.<corpus>.<corpus>_dataset_builder`.

    Raises:
        InputError: no such builder.
    """
    corpus = name.partition('/')[0]
    if corpus not in registered():
        close = difflib.get_close_matches(corpus, registered(), n=1)
        hint = f'; perhaps {close[0]!r} is meant' if close else ''
        raise InputError(
            f'there is no corpus {corpus!r}{hint}. Known: {", ".join(registered()) or "none"} '
            '(one folder each in data_builders; docs/adding_a_corpus.md says how to add one)'
        )
    return importlib.import_module(f'data_builders.{corpus}.{corpus}_dataset_builder')


def missing_message(name: str, data_dir: str | os.PathLike[str] | None = None) -> str:
    """Says which builder, which files, where to put them and which command prepares a corpus.

    Args:
        name: `<corpus>` or `<corpus>/<config>`.
        data_dir: where it should have been; None for `default_data_dir()`.

    Returns:
        One paragraph.

    Raises:
        InputError: there is no builder of that name.
    """
    needs = getattr(builder_module(name), 'NEEDS', '')
    folder, corpus = f'data_builders/{name.partition("/")[0]}', f'--corpus {name}'
    command = f'{python_command()} experiments/prepare.py {corpus}'
    command += (' --manual_dir DIR' if needs else '') + (
        f' --data_dir {data_dir}' if data_dir and str(data_dir) != str(default_data_dir()) else ''
    )
    files = f'It needs {needs}: put that in a folder DIR and run' if needs else 'Run'
    return (
        f'corpus {name!r} is not prepared in {data_dir or default_data_dir()}. {files}: {command} '
        f'(builder: {folder}; {folder}/README.md says where the files come from)'
    )

"""The programs that open 7z, rar and unusual zip archives: how they are called, what they say."""

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from data_builders.limits import LockedError
from dmsrl_jax.errors import InputError


class Program(NamedTuple):
    """A program that lists and unpacks; `{password}`, `{archive}` and `{folder}` are filled in.

    Attributes:
        name: what must be installed.
        kinds: suffixes of the archives that it opens.
        listing: command that lists.
        unpacking: command that unpacks.
        no_password: what stands for no password.
        names: turns the listing into names, those of folders with `/` at the end.
    """

    name: str
    kinds: tuple[str, ...]
    listing: tuple[str, ...]
    unpacking: tuple[str, ...]
    no_password: str
    names: Callable[[str, pathlib.Path], list[str]]

    def command(
        self, what: str, archive: pathlib.Path, password: str, folder: pathlib.Path | None
    ) -> list[str]:
        """The command to run.

        Args:
            what: `listing` or `unpacking`.
            archive: the archive.
            password: of its members; empty for none.
            folder: where to unpack to.

        Returns:
            Program and arguments.
        """
        password = password or self.no_password
        values = {'password': password, 'archive': str(archive), 'folder': str(folder)}
        words = self.listing if what == 'listing' else self.unpacking
        return [word.format(**values) for word in words]


def _seven(listing: str, path: pathlib.Path) -> list[str]:
    """Names in the listing of `7z l -slt`: blocks of `Key = value`."""
    names: list[str] = []
    for line in listing.splitlines():
        key, _, value = line.partition(' = ')
        if key == 'Path':
            names.append(value)
        elif key == 'Symbolic Link' and value:
            raise InputError(f'{path} holds a link, {names[-1]} to {value}; it is not opened')
        elif (key, value) == ('Folder', '+') or (key == 'Attributes' and value.startswith('D')):
            names[-1] = names[-1].rstrip('/') + '/'
    return names


def _plain(listing: str, path: pathlib.Path) -> list[str]:
    """Names, one a line; bsdtar gives the folders of a rar archive without `/` at the end."""
    del path
    names = listing.splitlines()
    folders = {name.rpartition('/')[0] for name in names}
    return [f'{name}/' if name in folders else name for name in names]


def _json(listing: str, path: pathlib.Path) -> list[str]:
    """Names in the listing of `lsar -j`."""
    names = []
    for entry in json.loads(listing)['lsarContents']:
        name: Any = entry['XADFileName']
        if entry.get('XADIsLink'):
            raise InputError(f'{path} holds a link, {name}; it is not opened')
        names.append(f'{name.rstrip("/")}/' if entry.get('XADIsDirectory') else name)
    return names


def _as_seven(name: str) -> Program:
    listing = (name, 'l', '-slt', '-ba', '-p{password}', '--', '{archive}')
    unpacking = (name, 'x', '-y', '-p{password}', '-o{folder}', '--', '{archive}')
    return Program(name, ('.7z', '.001', '.rar', '.zip'), listing, unpacking, '', _seven)


_UNRAR = Program(
    'unrar',
    ('.rar',),
    ('unrar', 'lb', '-p{password}', '--', '{archive}'),
    ('unrar', 'x', '-y', '-p{password}', '--', '{archive}', '{folder}/'),
    '-',
    _plain,
)
_UNAR = Program(
    'unar',
    ('.rar', '.7z', '.zip'),
    ('lsar', '-j', '-p', '{password}', '{archive}'),
    ('unar', '-q', '-f', '-D', '-p', '{password}', '-o', '{folder}', '{archive}'),
    '-',
    _json,
)
_BSDTAR = Program(
    'bsdtar',
    ('.7z', '.rar', '.zip'),
    ('bsdtar', '--passphrase', '{password}', '-tf', '{archive}'),
    ('bsdtar', '--passphrase', '{password}', '-xf', '{archive}', '-C', '{folder}'),
    '-',
    _plain,
)
PROGRAMS = (*map(_as_seven, ('7z', '7zz', '7za')), _UNRAR, _UNAR, _BSDTAR)


def installed(path: pathlib.Path) -> list[Program]:
    """The programs that are installed and read this kind of archive.

    Args:
        path: the archive.

    Returns:
        The programs, the likeliest first; none where the package py7zr reads it.

    Raises:
        InputError: nothing is there that reads it.
    """
    suffix = path.suffix.lower()
    fitting = [program for program in PROGRAMS if suffix in program.kinds]
    found = [program for program in fitting if _is_there(program)]
    if found or (suffix == '.7z' and _has_py7zr()):
        return found
    names = ', '.join(program.name for program in fitting)
    package = ', or `pip install py7zr`' if suffix == '.7z' else ''
    raise InputError(
        f'{path} needs a program to unpack it: install one of {names}{package}; or unpack it '
        'yourself and leave the files beside it'
    )


def _is_there(program: Program) -> bool:
    place = shutil.which(program.listing[0])
    # Debian calls its free one `unrar` too; it lists in another form, and bsdtar does as much.
    return place is not None and not os.path.realpath(place).endswith('unrar-free')


def _has_py7zr() -> bool:
    try:
        import py7zr  # noqa: F401
    except ImportError:
        return False
    return True


def failure(
    path: pathlib.Path, failures: Sequence[tuple[str, str]], *, with_password: bool
) -> InputError:
    """What to tell when no program could open an archive.

    Args:
        path: the archive.
        failures: program and its output.
        with_password: whether one was given.

    Returns:
        The error: the password, or what each program said.
    """
    words = ' '.join(text for _, text in failures).lower().replace('encrypted = -', '')
    if any(word in words for word in ('password', 'passphrase', 'encrypt')):
        hint = 'pass --set password=...'
        if with_password:
            names = ', '.join(name for name, _ in failures)
            hint = f'the password is wrong, or {names} cannot decrypt it'
        return LockedError(f'{path} is protected by a password: {hint}')
    said = [f'{name} could not open {path}: {_reason(text)}' for name, text in failures]
    if path.suffix.lower() == '.rar':
        others = ', '.join(p.name for p in PROGRAMS if '.rar' in p.kinds)
        said.append(f'not every program reads every rar; install another one of {others}')
    return InputError('; '.join(said))


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if 'error:' in line.lower()]
    return ' '.join(errors[:1] or lines[-3:])[:300] or 'no reason given'

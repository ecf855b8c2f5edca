"""Archives that cannot be read in place: unpacked into a scratch folder when first asked for."""

import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile
import time
import weakref
from collections.abc import Iterator
from typing import IO, NamedTuple

from data_builders.limits import MAX_RATIO, bomb, check_size, safe_name
from dmsrl_jax.errors import InputError


class Scratch:
    """Makes temporary folders below one place; all of them go when this object goes."""

    def __init__(self, parent: str | os.PathLike[str]):
        self._parent, self._folder = pathlib.Path(parent), ''

    def folder(self) -> pathlib.Path:
        """A new, empty folder."""
        if not self._folder:
            self._parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.mkdtemp(prefix='unpacked_', dir=self._parent)
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        return pathlib.Path(tempfile.mkdtemp(dir=self._folder))


class Unpacked:
    """What both kinds share: names at once, files only when one is asked for."""

    def __init__(self, path: pathlib.Path, scratch: Scratch):
        self.path, self._scratch = path, scratch
        self._folder: pathlib.Path | None = None
        self._names = list(self._list())

    def names(self) -> list[str]:
        """Names of the members."""
        return self._names

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream; unpacks the archive if that was not done yet."""
        folder = self.unpack()
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise InputError(f'{self.path}: {name} could not be unpacked; get the file again')
        return path.open('rb')

    def unpack(self) -> pathlib.Path:
        """Unpacks the archive if that was not done yet; its folder."""
        if self._folder is None:
            folder = self._scratch.folder()
            self._unpack(folder)
            self._folder = folder
        return self._folder

    def _list(self) -> Iterator[str]:
        raise NotImplementedError

    def _unpack(self, folder: pathlib.Path) -> None:
        raise NotImplementedError


class PackedTar(Unpacked):
    """A compressed tar archive: one member would cost to decompress all before it."""

    def _members(self) -> Iterator[tuple[str, tarfile.TarInfo, tarfile.TarFile]]:
        total, packed = 0, self.path.stat().st_size
        with tarfile.open(self.path, 'r|*') as archive:
            for member in archive:
                total += member.size
                check_size(self.path, member.name, member.size, packed)
                if total > _limit(packed):
                    raise bomb(self.path, 'all of it', total, packed)
                if member.isreg():
                    yield safe_name(member.name, self.path), member, archive

    def _list(self) -> Iterator[str]:
        return (name for name, _, _ in self._members())

    def _unpack(self, folder: pathlib.Path) -> None:
        for name, member, archive in self._members():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            source = archive.extractfile(member)
            assert source is not None  # only files are listed
            with source, (folder / name).open('wb') as target:
                shutil.copyfileobj(source, target)


class _Tool(NamedTuple):
    """A program that lists and unpacks; `{password}`, `{archive}` and `{folder}` are filled in."""

    command: str
    kinds: tuple[str, ...]
    listing: tuple[str, ...]
    unpack: tuple[str, ...]
    no_password: str


_SEVEN = (
    ('.7z', '.001', '.rar', '.zip'),
    ('l', '-slt', '-ba', '-p{password}', '--', '{archive}'),
    ('x', '-y', '-p{password}', '-o{folder}', '--', '{archive}'),
    '',
)
_TOOLS = (
    *(_Tool(command, *_SEVEN) for command in ('7z', '7zz', '7za')),
    _Tool(
        'unrar',
        ('.rar',),
        ('lb', '-p{password}', '--', '{archive}'),
        ('x', '-y', '-p{password}', '--', '{archive}', '{folder}/'),
        '-',
    ),
    _Tool(
        'bsdtar',
        ('.7z', '.rar', '.zip'),
        ('--passphrase', '{password}', '-tf', '{archive}'),
        ('--passphrase', '{password}', '-xf', '{archive}', '-C', '{folder}'),
        '-',
    ),
)


class Foreign(Unpacked):
    """An archive that needs a program: 7z, rar, or a zip with a method that Python lacks."""

    def __init__(self, path: pathlib.Path, scratch: Scratch, password: str = ''):
        self._password = password
        self._tool = _find_tool(path)
        super().__init__(path, scratch)

    def _run(self, arguments: tuple[str, ...], folder: pathlib.Path | None = None) -> str:
        assert self._tool is not None
        values = {
            'password': self._password or self._tool.no_password,
            'archive': str(self.path),
            'folder': str(folder),
        }
        command = [self._tool.command, *(text.format(**values) for text in arguments)]
        with tempfile.TemporaryFile('w+', errors='replace') as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )
            _wait(process, folder, self.path)
            out.seek(0)
            text = out.read()
        if process.returncode:
            raise InputError(_failure(self.path, command[0], text, bool(self._password)))
        return text

    def _list(self) -> Iterator[str]:
        if self._tool is None:
            import py7zr

            with py7zr.SevenZipFile(self.path, password=self._password or None) as archive:
                names = [info.filename for info in archive.list() if not info.is_directory]
        else:
            names = self._run(self._tool.listing).splitlines()
            if self._tool.command.startswith('7z'):
                names = _slt_names(names, self.path)
        return (safe_name(name, self.path) for name in names if not name.endswith('/'))

    def _unpack(self, folder: pathlib.Path) -> None:
        if self._tool is not None:
            self._run(self._tool.unpack, folder)
            return
        import py7zr

        with py7zr.SevenZipFile(self.path, password=self._password or None) as archive:
            total = sum(info.uncompressed for info in archive.list())
            if total > _limit(_volumes(self.path)):
                raise bomb(self.path, 'all of it', total, _volumes(self.path))
            archive.extractall(folder)


def _find_tool(path: pathlib.Path) -> _Tool | None:
    """The first program that is installed and reads this kind; None for the package py7zr."""
    suffix = path.suffix.lower()
    fitting = [tool for tool in _TOOLS if suffix in tool.kinds]
    for tool in fitting:
        if shutil.which(tool.command):
            return tool
    if suffix == '.7z':
        try:
            import py7zr  # noqa: F401
        except ImportError:
            pass
        else:
            return None
    names = ', '.join(tool.command for tool in fitting)
    package = ', or `pip install py7zr`' if suffix == '.7z' else ''
    raise InputError(
        f'{path} needs a program to unpack it: install one of {names}{package}; or unpack it '
        'yourself and leave the files beside it'
    )


def _slt_names(lines: list[str], path: pathlib.Path) -> list[str]:
    """Names of the files in the listing `7z l -slt`: blocks of `Key = value`."""
    names: list[str] = []
    for line in lines:
        key, _, value = line.partition(' = ')
        if key == 'Path':
            names.append(value)
        elif key == 'Symbolic Link' and value:
            raise InputError(f'{path} holds a link, {names[-1]} to {value}; it is not opened')
        elif (key, value) == ('Folder', '+') or (key == 'Attributes' and value.startswith('D')):
            names[-1] = names[-1].rstrip('/') + '/'
    return names


def _volumes(path: pathlib.Path) -> int:
    """Bytes of an archive with all its volumes."""
    stem = path.name.partition('.')[0] + '.'
    volumes = [other for other in path.parent.iterdir() if other.name.startswith(stem)]
    return sum(volume.stat().st_size for volume in volumes if volume.is_file())


def _limit(packed: int) -> int:
    """Bytes that an archive of so many bytes may unpack to."""
    return max(MAX_RATIO * packed, 2**24)


def _wait(process: subprocess.Popen, folder: pathlib.Path | None, path: pathlib.Path) -> None:
    """Waits for a program and ends it when the folder grows beyond the limit."""
    pause, packed = 0.1, _volumes(path)
    while True:
        try:
            process.wait(pause)
            return
        except subprocess.TimeoutExpired:
            start = time.perf_counter()
            used = _used(folder) if folder else 0
            if used > _limit(packed):
                process.kill()
                process.wait()
                raise bomb(path, 'all of it', used, packed) from None
            pause = max(0.5, 20 * (time.perf_counter() - start))


def _used(folder: pathlib.Path) -> int:
    return sum(
        os.lstat(os.path.join(place, name)).st_size
        for place, _, names in os.walk(folder)
        for name in names
    )


def _failure(path: pathlib.Path, command: str, text: str, with_password: bool) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    if 'password' in text.lower() or 'passphrase' in text.lower() or 'encrypted' in text.lower():
        hint = 'the password is wrong' if with_password else 'pass --set password=...'
        return f'{path} is protected by a password: {hint}'
    return f'{command} could not open {path}: {" ".join(lines[-3:])[:300] or "no reason given"}'

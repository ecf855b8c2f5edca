"""Archives as their owners sent them, read member by member; nothing of them can do harm.

A member's name never leads out of the archive, links and devices are passed over, and what claims
to unpack to far more than it should is refused (a decompression bomb).
"""

import contextlib
import io
import lzma
import pathlib
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, Protocol

from data_builders import foreign, unpacking
from data_builders.limits import LockedError, check_size, safe_name
from dmsrl_jax.errors import InputError

# Of an archive in several volumes, the first one is the archive and the others are none.
_KINDS = re.compile(
    r"""(?:(?P<zip>\.zip)|(?P<tar>\.tar)|(?P<packed>\.t(?:gz|bz2?|xz)|\.tar\.(?:gz|bz2|xz))
    |(?P<foreign>\.7z|\.7z\.001|(?<!\.part\d)(?<!\.part\d\d)\.rar|\.part0*1\.rar))$""",
    re.IGNORECASE | re.VERBOSE,
)
# End of the first volume (a split zip has it last) to the ends of the others.
_VOLUMES = {
    r'\.7z\.001$': r'\.7z\.\d{3}',
    r'\.part0*1\.rar$': r'\.part\d+\.rar',
    r'\.rar$': r'\.r\d\d',
    r'\.zip$': r'\.z\d\d',
}
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
# What the standard library raises on archives that are cut or overwritten.
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)


class Archive(Protocol):
    """Members by name; `path` is the archive."""

    path: pathlib.Path

    def names(self) -> list[str]:
        """Names of the members that are files, safe, with `/` between folders."""

    def open(self, name: str) -> IO[bytes]:
        """A member's bytes as a stream."""


def kind_of(name: str) -> str:
    """Tells from a file's name which archive it is: zip, tar, packed, foreign, or '' if none."""
    match = _KINDS.search(name)
    return match.lastgroup or '' if match else ''


def stem(name: str) -> str:
    """An archive's name without what says its kind: `faces` of `faces.tar.gz`."""
    return _KINDS.sub('', name)


def volumes(name: str, others: Iterable[str]) -> list[str]:
    """The further volumes of an archive, `faces.7z.002` of `faces.7z.001`.

    Args:
        name: of the archive, or of its first volume, with its folders.
        others: names among which to look.

    Returns:
        Those in the same folder that belong to it.
    """
    for first, further in _VOLUMES.items():
        if match := re.search(first, name, re.IGNORECASE):
            pattern = re.compile(re.escape(name[: match.start()]) + further, re.IGNORECASE)
            return [other for other in others if other != name and pattern.fullmatch(other)]
    return []


def open_archive(path: pathlib.Path, *, scratch: unpacking.Scratch, password: str = '') -> Archive:
    """Opens an archive.

    Args:
        path: the archive.
        scratch: gives folders for archives that must be unpacked before they can be read.
        password: of its members, where they have one.

    Returns:
        The archive; zip and plain tar are read where they lie, others are unpacked when the first
        member is asked for.

    Raises:
        InputError: it is damaged, has a member that leads out, is a bomb, or the tool is missing.
    """
    kind = kind_of(path.name)
    try:
        if kind == 'tar':
            return Tar(path)
        if kind == 'packed':
            return unpacking.PackedTar(path, scratch)
        if kind == 'zip' and not path.with_suffix('.z01').exists():
            archive = Zip(path, password)
            if archive.readable:
                return archive
        return foreign.Foreign(path, scratch, password)
    except (*_DAMAGE, NotImplementedError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} is damaged ({error}); get the file again') from error


class Zip:
    """A zip archive, read in place."""

    def __init__(self, path: pathlib.Path, password: str = ''):
        self.path, self._password = path, password
        self._file: zipfile.ZipFile | None = None
        members = [info for info in self._opened().infolist() if not _no_file(info)]
        for info in members:
            check_size(path, info.filename, info.file_size, info.compress_size)
        self._members = {safe_name(info.filename, path): info for info in members}
        self.readable = all(info.compress_type in _ZIP_METHODS for info in members)

    def _opened(self) -> zipfile.ZipFile:
        if self._file is None:
            self._file = zipfile.ZipFile(self.path)
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_file': None}

    def names(self) -> list[str]:
        """Names of the members that are files."""
        return list(self._members)

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream; it ends at the declared size at the latest."""
        info = self._members[name]
        if info.flag_bits & 1 and not self._password:
            raise LockedError(
                f'{self.path} is protected by a password: pass --set password=... '
                '(owners send it by e-mail)'
            )
        try:
            return self._opened().open(info, pwd=self._password.encode() or None)
        except RuntimeError as error:
            raise LockedError(
                f'{self.path}: the password (--set password=...) is wrong for {name}'
            ) from error


def _no_file(info: zipfile.ZipInfo) -> bool:
    kind = info.external_attr >> 28  # upper bits of the Unix mode: 8 is a file, 0 not given
    return info.is_dir() or kind not in (0, 8)


class Tar:
    """A tar archive without compression, read in place."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self._places: dict[str, tuple[int, int]] = {}
        with tarfile.open(path, 'r:') as file:
            for member in file:
                if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    check_size(path, member.name, member.size, member.size)
                    place = (member.offset_data, member.size)
                    self._places[safe_name(member.name, path)] = place
                file.members = []  # type: ignore[attr-defined] # it keeps all of them

    def names(self) -> list[str]:
        """Names of the members that are files."""
        return list(self._places)

    def open(self, name: str) -> IO[bytes]:
        """A member as a stream."""
        return io.BufferedReader(_Part(self.path, *self._places[name]))


class _Part(io.RawIOBase):
    """Some bytes of a file as a stream."""

    def __init__(self, path: pathlib.Path, start: int, size: int):
        self._file, self._left = path.open('rb'), size
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view)
        if self._left and len(view) and not count:
            raise EOFError('the file ends before its last member')
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def reading(path: pathlib.Path, name: str) -> Iterator[None]:
    """Turns what a damaged archive raises while `name` is read into an InputError."""
    try:
        yield
    except _DAMAGE as error:
        raise InputError(f'{path} is damaged at {name} ({error}); get the file again') from error

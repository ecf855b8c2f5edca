"""Archives that cannot be read in place: unpacked into a scratch folder when first asked for."""

import os
import pathlib
import shutil
import tarfile
import tempfile
import weakref
from collections.abc import Iterator
from typing import IO

from data_builders.limits import bomb, check_size, most_bytes, safe_name
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
                if total > most_bytes(packed):
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

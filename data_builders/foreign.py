"""Archives that need a program, 7z, rar and unusual zips: found, run, watched."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from data_builders import programs
from data_builders.limits import LockedError, bomb, most_bytes, safe_name
from data_builders.programs import Program
from data_builders.unpacking import Scratch, Unpacked
from dmsrl_jax.errors import InputError


class Foreign(Unpacked):
    """An archive that needs a program: 7z, rar, or a zip with a method that Python lacks.

    Where several programs are installed, the next one is asked when one fails: the 7z of some
    systems lists a rar archive, but cannot unpack it.
    """

    def __init__(self, path: pathlib.Path, scratch: Scratch, password: str = ''):
        self._password = password
        self._programs = programs.installed(path)
        super().__init__(path, scratch)

    def _list(self) -> Iterator[str]:
        if self._programs:
            program, text = self._first_that_can('listing')
            names = program.names(text, self.path)
        else:
            with _by_py7zr(self.path, self._password) as archive:
                names = [info.filename for info in archive.list() if not info.is_directory]
        return (safe_name(name, self.path) for name in names if not name.endswith('/'))

    def _unpack(self, folder: pathlib.Path) -> None:
        if self._programs:
            self._first_that_can('unpacking', folder)
            return
        with _by_py7zr(self.path, self._password) as archive:
            total = sum(info.uncompressed for info in archive.list())
            if total > most_bytes(_volumes(self.path)):
                raise bomb(self.path, 'all of it', total, _volumes(self.path))
            archive.extractall(folder)

    def _first_that_can(self, what: str, folder: pathlib.Path | None = None) -> tuple[Program, str]:
        failures = []
        for program in self._programs:
            command = program.command(what, self.path, self._password, folder)
            code, text = _run(command, folder, self.path)
            if not code:
                return program, text
            failures.append((command[0], text))
            if folder:
                shutil.rmtree(folder)
                folder.mkdir()
        raise programs.failure(self.path, failures, with_password=bool(self._password))


@contextlib.contextmanager
def _by_py7zr(path: pathlib.Path, password: str) -> Iterator[Any]:
    """The archive as a `py7zr.SevenZipFile`; what it raises becomes an InputError.

    With a wrong password it decrypts noise, of which reading can raise anything.
    """
    import py7zr

    try:
        with py7zr.SevenZipFile(path, password=password or None) as archive:
            yield archive
    except (InputError, OSError, MemoryError):
        raise
    except py7zr.exceptions.PasswordRequired as error:
        raise LockedError(f'{path} is protected by a password: pass --set password=...') from error
    except Exception as error:
        if password:
            raise LockedError(
                f'{path}: the password (--set password=...) is wrong, or the file is damaged '
                f'({error})'
            ) from error
        raise InputError(f'{path} is damaged ({error}); get the file again') from error


def _run(command: list[str], folder: pathlib.Path | None, path: pathlib.Path) -> tuple[int, str]:
    """Exit status and output of a program."""
    with tempfile.TemporaryFile('w+', errors='replace') as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
        )
        _wait(process, folder, path)
        out.seek(0)
        return process.returncode, out.read()


def _volumes(path: pathlib.Path) -> int:
    """Bytes of an archive with all its volumes."""
    stem = path.name.partition('.')[0] + '.'
    volumes = [other for other in path.parent.iterdir() if other.name.startswith(stem)]
    return sum(volume.stat().st_size for volume in volumes if volume.is_file())


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
            if used > most_bytes(packed):
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

"""The folder in which a corpus is built before it moves to its place; errors of writing there."""

import contextlib
import errno
import os
import pathlib
import shutil
from collections.abc import Iterator

from dmsrl_jax.data import folders
from dmsrl_jax.errors import InputError

_WORK = '.preparing'
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def folder(root: pathlib.Path, label: str) -> Iterator[pathlib.Path]:
    """A folder for a build, cleared of what a killed build left; one process at a time.

    Args:
        root: where prepared corpora lie.
        label: the corpus, as part of a file's name.

    Yields:
        The folder; it goes at the end.

    Raises:
        InputError: another process is building the same corpus.
    """
    root.mkdir(parents=True, exist_ok=True)
    work = root / _WORK
    work.mkdir(exist_ok=True)
    with (work / f'{label}.lock').open('w') as lock:
        if not folders.lock(lock):
            raise InputError(f'another process is preparing {label} in the same data_dir')
        place = work / label
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def write_errors(root: pathlib.Path) -> Iterator[None]:
    """Turns what the system says about files that cannot be written into an InputError.

    Args:
        root: where prepared corpora lie, for the message.

    Yields:
        Once.

    Raises:
        InputError: no space, no permission, or another error of the system.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _error_number(error)
        if code is None:
            raise
        if code in _FULL:
            hint = 'the disk is full: free some space or choose another --data_dir'
        elif code in _DENIED:
            hint = 'no permission: choose folders that you may read and write'
        else:
            hint = 'check --data_dir and --manual_dir'
        raise InputError(f'cannot prepare the corpus in {root}: {error}; {hint}') from error


def _error_number(error: Exception) -> int | None:
    """The system's number of an error; the record writer passes it on as text only."""
    if str(error).startswith('Not enough disk space'):  # TFDS looks before it begins
        return errno.ENOSPC
    if isinstance(error, OSError):
        return error.errno or 0
    return next((code for code in (*_FULL, *_DENIED) if os.strerror(code) in str(error)), None)

"""Going through folders, and keeping one for oneself (no jax here)."""

import os
from collections.abc import Callable, Iterator
from typing import IO


def walk(
    root: str | os.PathLike[str], *, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` through linked folders, too; each folder once, whatever links lead to it.

    Args:
        root: where to begin.
        onerror: told of a folder that cannot be listed; None passes over it.

    Yields:
        (folder, names of folders in it, names of files in it); the first list may be cut.
    """
    seen = set()
    for place, folders, names in os.walk(root, followlinks=True, onerror=onerror):
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield place, folders, names


def lock(file: IO[str]) -> bool:
    """Locks an open file until it is closed.

    Args:
        file: open, for reading or writing.

    Returns:
        False where another process has it; on Windows always True: that is the user's business.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

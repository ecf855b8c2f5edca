"""Going through folders, and keeping one for oneself (no jax here)."""

import os
from collections.abc import Callable, Iterator
from typing import IO


def walk(
    root: str | os.PathLike[str], *, onerror: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` through linked folders, too; each folder once, under its own name if it has one.

    Args:
        root: where to begin.
        onerror: told of a folder that cannot be listed; None passes over it.

    Yields:
        (folder, names of folders in it, names of files in it); the first list may be cut. Linked
        folders come after all others.
    """
    seen, waiting = set(), [os.fspath(root)]
    while waiting:
        for place, folders, names in os.walk(waiting.pop(0), onerror=onerror):
            if (real := os.path.realpath(place)) in seen:
                folders.clear()
                continue
            seen.add(real)
            yield place, folders, names
            inner = (os.path.join(place, name) for name in folders)
            waiting.extend(path for path in inner if os.path.islink(path))


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

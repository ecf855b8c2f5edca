"""Finding files in a user's folder: without junk, and through folders that wrap the corpus."""

import contextlib
import pathlib
from collections.abc import Callable, Iterable

from dmsrl_jax import expressions
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

_JUNK = (
    'Thumbs.db',
    'desktop.ini',
    '__MACOSX',
    '@eaDir',
    '$RECYCLE.BIN',
    'System Volume Information',
    'lost+found',
)
_SHORTEST = 4  # letters of a name that is no abbreviation


def is_junk(name: str) -> bool:
    """Whether a file or folder is hidden, or litter of an operating system or an archiver."""
    return name in _JUNK or (name.startswith('.') and name not in ('.', '..'))


def listing(folder: pathlib.Path) -> list[pathlib.Path]:
    """Content of a folder, sorted, without junk."""
    return sorted(path for path in folder.iterdir() if not is_junk(path.name))


def find_files(
    root: pathlib.Path, wanted: Callable[[str], bool], *, depth: int = 2
) -> list[pathlib.Path]:
    """Finds files by name in the shallowest folder level that has any.

    Args:
        root: where to begin.
        wanted: tells from a file's name whether it is looked for.
        depth: how many folders deep corpora may be wrapped.

    Returns:
        The files, all of the same level, sorted; empty if there are none.
    """
    level = [root]
    for _ in range(depth + 1):
        content = [path for folder in level for path in listing(folder)]
        if found := [path for path in content if wanted(path.name) and path.is_file()]:
            return found
        level = [path for path in content if path.is_dir()]
    return []


def class_folders(names: Iterable[str]) -> str:
    """How to read images that lie in folders named after expressions, to end a message with.

    Args:
        names: all files, with `/` between folders.

    Returns:
        A sentence; empty where no image lies so.
    """
    parts = (name.rsplit('/', 2) for name in names if name.lower().endswith(images.SUFFIXES))
    for word in sorted({part[-2] for part in parts if len(part) > 1}):
        # Abbreviations are often initials.
        with contextlib.suppress(InputError):
            if len(word) >= _SHORTEST and expressions.parse(word) is not None:
                return (
                    f'. Images in folders named after expressions, such as {word}/, are read by '
                    '--corpus image_list/NAME --set labels=folders'
                )
    return ''


def describe(folder: pathlib.Path, *, most: int = 8) -> str:
    """What lies in a folder, for messages."""
    names = [path.name + ('/' if path.is_dir() else '') for path in listing(folder)]
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return f'{folder} holds {", ".join(names[:most]) or "nothing"}{more}'

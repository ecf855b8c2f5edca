"""What is refused in archives: names that lead out of them, bombs, and a wrong password."""

import os
import re

from dmsrl_jax.errors import InputError

# One member: a CSV of a large corpus has some hundred megabytes, an image a few.
MAX_MEMBER = 4 * 2**30
# Pixels written as text shrink to a quarter; only a bomb shrinks to less than a two-hundredth.
MAX_RATIO = 200
_SMALL = 16 * 2**20
_DRIVE = re.compile(r'[A-Za-z]:')


class LockedError(InputError):
    """An archive needs another password: no image is at fault, none may be left out for it."""


def safe_name(name: str, where: str | os.PathLike[str]) -> str:
    """Checks a member's name.

    Args:
        name: as the archive says it.
        where: the archive, for messages.

    Returns:
        The name with `/` between folders and without empty parts.

    Raises:
        InputError: it is absolute or has `..` in it: unpacked, it would lie outside.
    """
    parts = name.replace('\\', '/').split('/')
    absolute = name[:1] in ('/', '\\') or _DRIVE.match(name)
    if absolute or '..' in parts or '\0' in name:
        raise InputError(
            f'{where} holds {name!r}, which leads out of the archive; it is not opened: '
            'get the file from its owners'
        )
    return '/'.join(part for part in parts if part not in ('', '.'))


def check_size(where: str | os.PathLike[str], name: str, size: int, packed: int) -> None:
    """Refuses a decompression bomb.

    Args:
        where: the archive, for messages.
        name: the member, or what else is looked at.
        size: bytes when unpacked.
        packed: bytes in the archive.

    Raises:
        InputError: more than `MAX_MEMBER` bytes, or more than `MAX_RATIO` times the packed ones.
    """
    if size > min(MAX_MEMBER, most_bytes(packed)):
        raise bomb(where, name, size, packed)


def bomb(where: str | os.PathLike[str], name: str, size: int, packed: int) -> InputError:
    """The error that refuses a decompression bomb; see `check_size`."""
    return InputError(
        f'{where}: {name} would unpack from {packed} to {size} bytes; this looks like a '
        'decompression bomb and is not opened. If it is genuine, unpack it yourself'
    )


def most_bytes(packed: int) -> int:
    """Bytes that an archive of so many bytes may unpack to."""
    return max(MAX_RATIO * packed, _SMALL)

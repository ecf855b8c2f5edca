"""Where the images of a list lie: below which of the folders that its paths may be relative to."""

import filecmp
import os
import pathlib
from collections.abc import Sequence

from data_builders import trees
from dmsrl_jax.errors import InputError


class Places:
    """Finds listed images below some folders."""

    def __init__(self, folders: Sequence[pathlib.Path]):
        """Takes the folders, the likeliest first."""
        self._folders = list(map(os.fspath, folders))

    def find(self, name: str) -> str | None:
        """The file of a listed path.

        Args:
            name: as the list has it.

        Returns:
            The file, or None if there is none.

        Raises:
            InputError: two folders have different files of that name.
        """
        files = dict.fromkeys(os.path.join(folder, name) for folder in self._folders)
        found = list(filter(os.path.isfile, files))
        for other in found[1:]:
            if not _same(found[0], other):
                folders = [file.removesuffix(name).rstrip('/') for file in (found[0], other)]
                raise InputError(
                    f'the image {name} of the list may be {found[0]} or {other}, and they differ: '
                    f'say which is meant with --set images={folders[0]} or images={folders[1]}'
                )
        return found[0] if found else None


def _same(first: str, other: str) -> bool:
    """Whether two files have the same content."""
    try:
        return filecmp.cmp(first, other, shallow=False)
    except OSError as error:
        raise InputError(trees.unreadable(error.filename, error)) from error

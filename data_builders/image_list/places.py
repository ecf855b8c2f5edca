"""Where the images of a list lie: below which of the folders that its paths may be relative to."""

import filecmp
import functools
import os
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from data_builders import trees
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError


class _Place(NamedTuple):
    folder: str
    name: str

    @property
    def file(self) -> str:
        return os.path.join(self.folder, self.name)


class Places:
    """Finds listed images below some folders.

    A path that leads nowhere may be written in another way there: in the other form of Unicode (a
    Mac takes letters and accents apart), in another case, or with an extension.
    """

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
            InputError: there are several, and they differ.
        """
        exact = [_Place(folder, name) for folder in self._folders]
        places = [place for place in exact if os.path.isfile(place.file)]
        places = places or self._nearly(name)
        for other in places[1:]:
            if not _same(places[0].file, other.file):
                raise InputError(_which(name, places[0], other))
        return places[0].file if places else None

    def _nearly(self, name: str) -> list[_Place]:
        composed, folded = _forms(name)
        index = self._index
        return index.get(composed) or index.get(folded) or index.get(_bare(folded)) or []

    @functools.cached_property
    def _index(self) -> dict[str, list[_Place]]:
        """All files by each form of their names."""
        index: dict[str, list[_Place]] = {}
        for folder in self._folders:
            for name in trees.walk(pathlib.Path(folder)):
                composed, folded = _forms(name)
                keys = {composed, folded}
                if folded.endswith(images.SUFFIXES):
                    keys.add(_bare(folded.rpartition('.')[0]))
                for key in keys:
                    index.setdefault(key, []).append(_Place(folder, name))
        return index


def _forms(name: str) -> tuple[str, str]:
    """A name in one form of Unicode, and that without upper case."""
    composed = unicodedata.normalize('NFC', name)
    return composed, unicodedata.normalize('NFC', composed.casefold())


def _bare(name: str) -> str:
    """The key of an image's name without its extension, which is like no key of a file."""
    return f'{name}/'


def _which(name: str, first: _Place, other: _Place) -> str:
    files = f'the image {name} of the list may be {first.file} or {other.file}, and they differ: '
    if first.folder == other.folder:
        return f'{files}write in the list which is meant'
    return (
        f'{files}say which is meant with --set images={first.folder} or --set images={other.folder}'
    )


def _same(first: str, other: str) -> bool:
    """Whether two files have the same content."""
    try:
        return filecmp.cmp(first, other, shallow=False)
    except OSError as error:
        raise InputError(trees.unreadable(error.filename, error)) from error

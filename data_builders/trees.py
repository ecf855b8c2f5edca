"""A user's folder as one tree of files, whether archives in it are unpacked or not."""

import contextlib
import functools
import io
import os
import pathlib
import pickle
import re
import shutil
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

from data_builders import archives, unpacking
from data_builders.folders import describe, is_junk
from dmsrl_jax.errors import InputError

_DEEPEST_ARCHIVE = 2  # an archive in an archive, and no further


class Found(NamedTuple):
    """A file that fits a pattern: its name in the tree and what the pattern's groups caught."""

    path: str
    groups: dict[str, str]


class Tree:
    """All files below a folder, those inside archives too; junk is left out.

    The content of an archive appears where the archive lies, as if it had been unpacked there; in a
    folder of the archive's name where another archive has some of the same names. A file that lies
    there unpacked goes before its copy in an archive. Names are relative to the root and have `/`
    between folders. Can be pickled (for worker processes).

    Attributes:
        root: the user's folder.
        unopened: why archives could not be opened, one message each.
    """

    def __init__(self, root: pathlib.Path, *, scratch: str | os.PathLike[str], password: str = ''):
        self.root, self.unopened = root, list[str]()
        self._scratch, self._password = unpacking.Scratch(scratch), password
        self._archives: list[archives.Archive] = []
        self._places: dict[str, tuple[int, str]] = {}  # number of the archive, -1 for none
        self._kept = ''  # the file with which it travels
        plain = list(walk(root))
        self._places.update((name, (-1, name)) for name in plain)
        for name in plain:
            if archives.kind_of(name.rpartition('/')[2]):
                self._mount(root / name, name, 1)

    def _mount(self, path: pathlib.Path, name: str, depth: int) -> None:
        try:
            archive = archives.open_archive(path, scratch=self._scratch, password=self._password)
        except InputError as error:
            self.unopened.append(str(error))
            return
        number = len(self._archives)
        self._archives.append(archive)
        members = [member for member in archive.names() if not _junk(member)]
        where, inner = self._where(name, members), []
        for member in members:
            if (full := f'{where}{member}') not in self._places:
                self._places[full] = (number, member)
                inner.append(full)
        for full in inner:
            if archives.kind_of(full.rpartition('/')[2]) and depth < _DEEPEST_ARCHIVE:
                path = self._copy(full)
                for other in archives.volumes(full, inner):
                    self._copy(other, path.parent)
                self._mount(path, full, depth + 1)

    def _where(self, name: str, members: Iterable[str]) -> str:
        """The folder, empty or with `/` at its end, in which the content of an archive appears."""
        folder, slash, file = name.rpartition('/')
        where = folder + slash
        if any(self._places.get(f'{where}{member}', (-1, ''))[0] >= 0 for member in members):
            return f'{where}{archives.stem(file)}/'
        return where

    def _copy(self, name: str, folder: pathlib.Path | None = None) -> pathlib.Path:
        """Copies a member into a folder, by default a new scratch folder."""
        path = (folder or self._scratch.folder()) / name.rpartition('/')[2]
        with self.open(name) as source, path.open('wb') as target:
            shutil.copyfileobj(source, target)
        return path

    def __reduce__(self) -> Any:
        # All names of a large corpus are too much to travel with every item: they go once, by file.
        if not self._kept:
            state = {name: value for name, value in self.__dict__.items() if name != '_kept'}
            path = self._scratch.folder() / 'tree.pickle'
            path.write_bytes(pickle.dumps(state))
            self._kept = str(path)
        return _kept_tree, (self._kept,)

    def unpack(self, names: Iterable[str]) -> None:
        """Unpacks the archives of some files that cannot be read in place, ahead of reading."""
        self._kept = ''
        for number in {self._places[name][0] for name in names} - {-1}:
            archive = self._archives[number]
            if isinstance(archive, unpacking.Unpacked):
                with archives.reading(archive.path, ''):
                    archive.unpack()

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return name in self._places

    def files(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._places)

    def find(self, pattern: str, *, without: str = '') -> dict[str, Found]:
        """Finds files by the end of their names, so that wrapping folders do not matter.

        Args:
            pattern: regular expression for the last parts of a name, `basic/aligned/(?P<id>.*)`;
                case does not matter.
            without: regular expression of names of folders that are not looked into.

        Returns:
            What fits the pattern to the file, sorted. Of several files with the same end the one
            in the fewest folders counts, and unpacked ones before those in archives.
        """
        expression = re.compile(f'(?:.*/)?(?P<_tail>{pattern})', re.IGNORECASE)
        other = re.compile(f'(?:.*/)?(?:{without})/.*' if without else r'(?!)', re.IGNORECASE)
        order = sorted(self._places, key=lambda name: (name.count('/'), self._places[name], name))
        found: dict[str, Found] = {}
        for name in order:
            if (match := expression.fullmatch(name)) and not other.match(name):
                groups = {key: value or '' for key, value in match.groupdict().items()}
                found.setdefault(groups.pop('_tail'), Found(name, groups))
        return dict(sorted(found.items()))

    def index(self, pattern: str, *, without: str = '') -> dict[str, str]:
        """Files by the group `id` of the pattern, in lower case; see `find`."""
        found = self.find(pattern, without=without)
        return {file.groups['id'].lower(): file.path for file in found.values()}

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Opens a file for reading.

        Args:
            name: as `files` and `find` say it.

        Yields:
            A binary stream.

        Raises:
            InputError: the archive is damaged, or needs a password.
        """
        number, member = self._places[name]
        if number < 0:
            with (self.root / member).open('rb') as file:
                yield file
            return
        archive = self._archives[number]
        with archives.reading(archive.path, member), archive.open(member) as file:
            yield file

    def read(self, name: str) -> bytes:
        """All bytes of a file; see `open`."""
        with self.open(name) as file:
            return file.read()

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """Lines of a text file with their numbers from 1, stripped, empty ones left out.

        Line ends of any system and a byte-order mark are forgiven.

        Args:
            name: as `files` and `find` say it.

        Yields:
            (number, text).

        Raises:
            InputError: it is no text.
        """
        with self.open(name) as file, io.TextIOWrapper(file, 'utf-8-sig') as lines:
            try:
                for number, line in enumerate(lines, start=1):
                    if text := line.strip():
                        yield number, text
            except UnicodeDecodeError as error:
                raise InputError(f'{self.root / name} is not a text file ({error})') from error

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[pathlib.Path]:
        """A path that other programs can open; a copy, for a while, of what is in an archive."""
        if self._places[name][0] < 0:
            yield self.root / name
            return
        path = self._copy(name)
        try:
            yield path
        finally:
            shutil.rmtree(path.parent)

    def describe(self) -> str:
        """What lies in the folder and which archives could not be opened, for messages."""
        return '; '.join([describe(self.root), *self.unopened])


@functools.lru_cache(maxsize=2)
def _kept_tree(path: str) -> Tree:
    tree = object.__new__(Tree)
    tree.__dict__.update(pickle.loads(pathlib.Path(path).read_bytes()), _kept=path)
    return tree


def readable(pattern: str) -> str:
    """A pattern of `Tree.find` for people: groups become `<name>`, and escapes go."""
    simple = re.sub(r'\(\?:([^()]*)\)', r'\1', pattern)
    return re.sub(r'\(\?P<(\w+)>[^()]*\)', r'<\1>', simple).replace('\\', '')


def _junk(name: str) -> bool:
    return any(map(is_junk, name.split('/')))


def walk(root: pathlib.Path) -> Iterator[str]:
    """Names of the files below a folder, without junk; linked folders are followed, once each."""
    seen = set()
    for place, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not is_junk(name))
        below = pathlib.Path(place).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted(names) if not is_junk(name))

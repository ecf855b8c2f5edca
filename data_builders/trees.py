"""A user's folder as one tree of files, whether archives in it are unpacked or not."""

import contextlib
import functools
import io
import math
import os
import pathlib
import pickle
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from data_builders import archives, unpacking
from data_builders.folders import describe, is_junk
from dmsrl_jax.data import folders, images
from dmsrl_jax.errors import InputError

_COMPARED = 20  # at least so many of the pictures that lie there twice; all of other files
_DEEPEST_ARCHIVE = 2  # an archive in an archive, and no further
# A group of a regular expression that has no other in it.
_GROUP = re.compile(r'\((?:\?P<(?P<name>\w+)>|\?:)?(?P<content>[^()]*)\)(?P<repeat>[?*+]?)')


class Found(NamedTuple):
    """A file that fits a pattern: its name in the tree and what the pattern's groups caught."""

    path: str
    groups: dict[str, str]


class Index(dict[str, str]):
    """Files by their `id` in lower case, of several the one in the fewest folders."""

    def __init__(self, found: Iterable[Found]):
        """Takes what `Tree.find` found with a group `id`."""
        super().__init__()
        self._exact: dict[str, str] = {}
        for file in sorted(found, key=lambda file: (file.path.count('/'), file.path)):
            self._exact.setdefault(file.groups['id'], file.path)
            self.setdefault(file.groups['id'].lower(), file.path)

    def named(self, name: str) -> str | None:
        """The file of that name, or, if there is none, of that name in another case."""
        return self._exact.get(name) or self.get(name.lower())


class Tree:
    """All files below a folder, those inside archives too; junk is left out.

    The content of an archive appears where the archive lies, as if it had been unpacked there; in a
    folder of the archive's name where another archive has some of the same names, and so do single
    files that lie there unpacked. `find` looks for it in either place. Names are relative to the
    root and have `/` between folders. Can be pickled (for worker processes).

    Attributes:
        root: the user's folder.
        unopened: why archives could not be opened, one message each.
    """

    def __init__(self, root: pathlib.Path, *, scratch: str | os.PathLike[str], password: str = ''):
        self.root, self.unopened = root, list[str]()
        self._scratch, self._password = unpacking.Scratch(scratch), password
        self._archives: list[archives.Archive] = []
        self._folders: list[list[str]] = []  # for each archive: where its content could appear
        self._places: dict[str, tuple[int, str]] = {}  # number of the archive, -1 for none
        self._kept = ''  # the file with which it travels
        plain = list(walk(root))
        self._places.update((name, (-1, name)) for name in plain)
        for link, folder in _links_inside(root):  # both names may be what a builder looks for
            for name in plain:
                if name.startswith(f'{folder}/'):
                    self._places[link + name[len(folder) :]] = (-1, name)
        for name in plain:
            if archives.kind_of(name.rpartition('/')[2]):
                self._mount(root / name, name, 1)

    def _mount(self, path: pathlib.Path, name: str, depth: int) -> None:
        try:
            _opened(path).close()
            archive = archives.open_archive(path, scratch=self._scratch, password=self._password)
        except InputError as error:
            self.unopened.append(str(error))
            return
        number = len(self._archives)
        self._archives.append(archive)
        members = [member for member in archive.names() if not _junk(member)]
        where, own, inner = self._where(name, members), _own_folder(name), list[str]()
        self._folders.append(
            [place for other in self._names(name) for place in (_folder(other), _own_folder(other))]
        )
        for member in members:
            if (full := f'{where}{member}') not in self._places:
                self._places[full] = (number, member)
                inner.append(full)
            else:
                self._places.setdefault(f'{own}{member}', (number, member))
        for full in inner:
            if archives.kind_of(full.rpartition('/')[2]) and depth < _DEEPEST_ARCHIVE:
                path = self._copy(full)
                for other in archives.volumes(full, inner):
                    self._copy(other, path.parent)
                self._mount(path, full, depth + 1)

    def _where(self, name: str, members: Iterable[str]) -> str:
        """The folder, empty or with `/` at its end, in which the content of an archive appears."""
        where = _folder(name)
        if any(self._places.get(f'{where}{member}', (-1, ''))[0] >= 0 for member in members):
            return _own_folder(name)
        return where

    def _names(self, name: str) -> Iterator[str]:
        """The name of a file, and those that it could have, since it comes from an archive."""
        yield name
        number, member = self._places[name]
        for folder in self._folders[number] if number >= 0 else ():
            if folder + member != name:
                yield folder + member

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

    def find(self, pattern: str, *, without: str = '', alike: bool = True) -> dict[str, Found]:
        """Finds files by the end of their names, so that wrapping folders do not matter.

        The name of an archive is as good as a folder around its content: `images/1.jpg` in
        `train_set.zip` fits `train_set/images/1.jpg`, too.

        Args:
            pattern: regular expression for the last parts of a name, `basic/aligned/(?P<id>.*)`;
                case does not matter.
            without: regular expression of names of folders that are not looked into.
            alike: whether several files with the same end must have the same content.

        Returns:
            What fits the pattern to the file, sorted. Of several files with the same end the one
            in the fewest folders counts, and unpacked ones before those in archives.

        Raises:
            InputError: two files with the same end differ. Of many some are compared.
        """
        expression = re.compile(f'(?:.*/)?(?P<_tail>{pattern})', re.IGNORECASE)
        other = re.compile(f'(?:.*/)?(?:{without})/.*' if without else r'(?!)', re.IGNORECASE)
        fitting = []
        for name, place in self._places.items():
            match = next(filter(None, map(expression.fullmatch, self._names(name))), None)
            if match and not any(map(other.match, self._names(name))):
                fitting.append((match.string.count('/'), place, name, match))
        found: dict[str, Found] = {}
        seen: dict[tuple[str, str], Found] = {}
        twins = []
        for _, _, name, match in sorted(fitting, key=lambda fit: fit[:3]):
            groups = {key: value or '' for key, value in match.groupdict().items()}
            folder, _, file = (tail := groups.pop('_tail')).rpartition('/')
            # Case tells pictures apart in some corpora, but nowhere folders or lists.
            file = file if _is_picture(file) else file.lower()
            first = seen.setdefault((folder.lower(), file), Found(name, groups))
            if first.path == name:
                found[tail] = first
            else:
                twins.append((first.path, name))
        if alike:
            self._compare(twins)
        return dict(sorted(found.items()))

    def _compare(self, twins: Sequence[tuple[str, str]]) -> None:
        pictures = [pair for pair in twins if _is_picture(pair[0])]
        some = pictures[:: math.ceil(len(pictures) / _COMPARED) or 1]
        for first, other in [*some, *(pair for pair in twins if not _is_picture(pair[0]))]:
            if self._content(first) != self._content(other):
                raise InputError(
                    f'{first} and {other} in {self.root} have one name and differ, so that nobody '
                    'can tell which is meant: move one of them, or its folder, out of there'
                )

    def _content(self, name: str) -> bytes:
        """What two files are compared by: line ends of a text do not matter."""
        data = self.read(name)
        return data.replace(b'\r\n', b'\n') if name.lower().endswith('.txt') else data

    def index(self, pattern: str, *, without: str = '') -> 'Index':
        """Files by the group `id` of the pattern; see `find`, and `Index` for upper case."""
        return Index(self.find(pattern, without=without).values())

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Opens a file for reading.

        Args:
            name: as `files` and `find` say it.

        Yields:
            A binary stream.

        Raises:
            InputError: the file cannot be read; the archive is damaged, or needs a password.
        """
        number, member = self._places[name]
        if number < 0:
            with _opened(self.root / member) as file:
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
    """A pattern of `Tree.find` for people, `<part>_set/*/S###_<id>.jpg`.

    Groups become their names, digits `#`, what may be anything `*`; of several texts the first is
    shown, and what may be left out is.
    """
    text = re.sub(r'\[\^/\][*+]|\\w[*+]|(?<!\\)\.[*+]', '*', pattern)
    text = re.sub(r'\\d(?:\{(\d+)\}|\+)?', lambda match: '#' * int(match[1] or 1), text)
    text = re.sub(r'\w\?', '', text)
    while (shorter := _GROUP.sub(_group, text)) != text:
        text = shorter
    return text.replace('\\', '')


def _group(match: re.Match[str]) -> str:
    if not match['content'] or match['repeat'] in ('?', '*'):
        return ''
    if match['name'] and '<' not in match['content']:
        return f'<{match["name"]}>'
    return match['content'].partition('|')[0]


def _folder(name: str) -> str:
    """The folder of a file: empty, or with `/` at its end."""
    return name[: name.rfind('/') + 1]


def _own_folder(name: str) -> str:
    """A folder of an archive's name, beside it."""
    return f'{_folder(name)}{archives.stem(name.rpartition("/")[2])}/'


def _opened(path: pathlib.Path) -> IO[bytes]:
    try:
        return path.open('rb')
    except OSError as error:
        raise InputError(unreadable(path, error)) from error


def unreadable(path: str | os.PathLike[str], error: OSError) -> str:
    """Says that a file of the user's cannot be opened; most often a link that leads nowhere."""
    place = os.readlink(path) if os.path.islink(path) else ''
    link = f', a link to {place}' if place else ''
    return f'cannot read {os.fspath(path)}{link}: {error.strerror or error}; mend or remove it'


def _not_listed(error: OSError) -> None:
    raise InputError(unreadable(error.filename, error)) from error


def _is_picture(name: str) -> bool:
    return name.lower().endswith(images.SUFFIXES)


def _junk(name: str) -> bool:
    return any(map(is_junk, name.split('/')))


def _links_inside(root: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Linked folders of a folder whose content lies in it, too: the link, and where it leads."""
    top = os.path.realpath(root)
    for place, inner, _ in os.walk(root):
        for link in (os.path.join(place, name) for name in inner if not is_junk(name)):
            if os.path.islink(link):
                real = os.path.realpath(link)
                at = os.path.join(os.path.realpath(place), '')
                if real.startswith(f'{top}{os.sep}') and not at.startswith(f'{real}{os.sep}'):
                    below = pathlib.Path(link).relative_to(root).as_posix()
                    yield below, pathlib.Path(real).relative_to(top).as_posix()


def walk(root: pathlib.Path) -> Iterator[str]:
    """Names of the files below a folder, without junk; linked folders are followed, once each.

    Prepared corpora that lie there are not looked into. A folder that cannot be listed is an
    InputError: a class or a split may lie in it.
    """
    for place, inner, names in folders.walk(root, onerror=_not_listed):
        if {'dataset_info.json', 'features.json'} <= set(names):
            inner.clear()
            continue
        inner[:] = sorted(name for name in inner if not is_junk(name))
        below = pathlib.Path(place).relative_to(root)
        yield from ((below / name).as_posix() for name in sorted(names) if not is_junk(name))

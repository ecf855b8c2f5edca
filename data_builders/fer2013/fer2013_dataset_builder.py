"""TFDS builder of FER2013, from either of its CSV forms."""

import collections
import contextlib
import csv
import io
import os
import pathlib
import tarfile
from collections.abc import Iterator
from typing import Any, NamedTuple

from PIL import Image

from data_builders import common, label_codes
from dmsrl_jax.errors import InputError

NEEDS = 'fer2013.csv, icml_face_data.csv, or fer2013.tar.gz with one of them inside'
SIDE = 48
SPLITS = {'train': 'Training', 'validation': 'PublicTest', 'test': 'PrivateTest'}
_FILES = ('fer2013.csv', 'icml_face_data.csv')
_ARCHIVES = ('fer2013.tar.gz', 'fer2013.tgz', 'fer2013.tar')
_COLUMNS = ('emotion', 'pixels', 'usage')


class Row(NamedTuple):
    """One line of the CSV file; `line` counts the header as line 1."""

    line: int
    emotion: str
    pixels: str
    usage: str


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: nothing."""
    return {}


def make_builder(
    config_name: str | None,
    *,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    **values: Any,
) -> 'Builder':
    """The builder.

    Args:
        config_name: must be None, there are no configs.
        data_dir: where prepared corpora lie.
        manual_dir: folder with one of the files of `NEEDS`.
        **values: no options are known.

    Returns:
        A builder ready for `download_and_prepare`.

    Raises:
        InputError: a config or an option was given.
    """
    if config_name:
        raise InputError(f'fer2013 has no configs, got fer2013/{config_name}')
    return common.make(Builder, options(), values, data_dir=data_dir, manual_dir=manual_dir)


class Builder(common.CorpusBuilder):
    """Writes train (Training), validation (PublicTest) and test (PrivateTest)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    IMAGE_SHAPE = (SIDE, SIDE, 1)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        path = find(self.source_folder(dl_manager))
        counts = collections.Counter(row.usage for row in rows(path))
        if not counts:
            raise InputError(f'{path} holds a header and no rows')
        self.total = counts.total()
        return {
            split: common.checked_examples(split, self._generate_examples(path, usage), self.drops)
            for split, usage in SPLITS.items()
            if counts[usage]
        }

    def _generate_examples(
        self, path: pathlib.Path, usage: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for row in rows(path):
            if row.usage != usage:
                continue
            label, values = parse(row, path)
            if not any(values):
                self.drops.add('all-black image', f'line {row.line}')
                continue
            image = common.png(Image.frombytes('L', (SIDE, SIDE), values))
            yield row.line, common.record(image, label, f'fer_{row.line}.png')


def find(root: pathlib.Path) -> pathlib.Path:
    """Finds the CSV file, or an archive of it, up to two folders deep.

    Args:
        root: the user's folder.

    Returns:
        The path; the plain CSV goes before the other form and before archives.

    Raises:
        InputError: there is none.
    """
    for name in (*_FILES, *_ARCHIVES):
        if found := common.find_files(root, name.__eq__):
            return found[0]
    raise InputError(f'fer2013 needs {NEEDS}, at most two folders deep; {common.describe(root)}')


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[io.TextIOBase]:
    if path.name not in _ARCHIVES:
        with path.open(newline='', encoding='utf-8-sig') as text:
            yield text
        return
    with tarfile.open(path) as archive:
        for member in archive:
            name = pathlib.PurePosixPath(member.name).name
            if member.isfile() and name in _FILES and (file := archive.extractfile(member)):
                yield io.TextIOWrapper(file, encoding='utf-8-sig', newline='')
                return
    raise InputError(f'{path} holds none of {", ".join(_FILES)}')


def rows(path: pathlib.Path) -> Iterator[Row]:
    """Reads the CSV file row by row; columns in any order, blanks around their names forgiven.

    Args:
        path: the CSV file or an archive of it.

    Yields:
        The rows.

    Raises:
        InputError: no such columns, an unknown usage, or a broken file.
    """
    try:
        with _opened(path) as text:
            reader = csv.reader(text)
            header = [name.strip().lower() for name in next(reader, [])]
            if missing := [name for name in _COLUMNS if name not in header]:
                raise InputError(
                    f'{path} has no column {", ".join(missing)}: expected emotion, pixels and '
                    f'Usage, found {", ".join(header)[:80] or "an empty file"}'
                )
            columns = [header.index(name) for name in _COLUMNS]
            for cells in filter(None, reader):
                yield _row(cells, columns, reader.line_num, path)
    except (csv.Error, UnicodeDecodeError, tarfile.TarError, EOFError) as error:
        raise InputError(f'{path} is damaged: {error}; get the file again') from error


def _row(cells: list[str], columns: list[int], line: int, path: pathlib.Path) -> Row:
    if len(cells) <= max(columns):
        raise InputError(f'{path} line {line}: {len(cells)} cells, expected 3; is the file cut?')
    emotion, pixels, usage = (cells[column].strip() for column in columns)
    if usage not in SPLITS.values():
        raise InputError(
            f'{path} line {line}: unknown Usage {usage!r}; expected {", ".join(SPLITS.values())}'
        )
    return Row(line, emotion, pixels, usage)


def parse(row: Row, path: pathlib.Path) -> tuple[int, bytes]:
    """Reads label and pixels of a row.

    Args:
        row: the row.
        path: its file, for messages.

    Returns:
        Canonical label and 48 * 48 grey values in row order.

    Raises:
        InputError: the label is out of range, a value is no number of 0..255, or not 2304 values.
    """
    where = f'{path} line {row.line}'
    try:
        label = label_codes.canonical(int(row.emotion), 'fer2013')
    except ValueError as error:  # not a number, or out of range
        raise InputError(f'{where}: {error}') from error
    try:
        values = bytes(map(int, row.pixels.split()))
    except ValueError as error:
        raise InputError(f'{where}: pixels must be numbers 0..255 ({error})') from error
    if len(values) != SIDE * SIDE:
        raise InputError(f'{where}: {len(values)} pixels, expected {SIDE * SIDE} (48 x 48)')
    assert label is not None  # all seven codes of fer2013 are kept
    return label, values

"""Rows of FER2013's CSV file, and what the builders that read it share."""

import csv
import io
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from PIL import Image

from data_builders import common, corpus, label_codes, trees
from dmsrl_jax.errors import InputError

SIDE = 48
SPLITS = {'Training': 'train', 'PublicTest': 'validation', 'PrivateTest': 'test'}
_FILES = (r'fer2013\.csv', r'icml_face_data\.csv')
_USAGES = {usage.lower(): usage for usage in SPLITS}
# Files that are taken for it, and what to do.
_OTHERS = {
    r'(?:fer2013|icml_face_data)\.csv\.(?:gz|bz2|xz)': 'must be unpacked (gunzip and the like)',
    r'train\.csv': 'has no labels of the test: icml_face_data.csv of the same download has',
    r'ckextended\.csv': 'is CK+, not FER2013, and not read: get CK+48 for --corpus ck_plus/ck48',
}
_COLUMNS = ('emotion', 'pixels', 'usage')


class Row(NamedTuple):
    """One face; `where` is file and line, `line` counts the header as line 1."""

    where: str
    line: int
    emotion: str
    pixels: str
    usage: str

    @property
    def file(self) -> str:
        """Name of the face: the file has none, and published lists call it so."""
        return f'fer_{self.line}.png'


class Builder(corpus.Builder, skip_registration=True):  # type: ignore[call-arg]
    """Base of builders whose items carry their grey values as `extra['pixels']`."""

    IMAGE_SHAPE = (SIDE, SIDE, 1)
    BY_CLASS = True

    def rows(self, tree: trees.Tree) -> Iterator[tuple[Row, int, bytes]]:
        """Rows with label and grey values; counts them.

        Args:
            tree: the user's files.

        Yields:
            Row, canonical label, 48 * 48 grey values in row order.

        Raises:
            InputError: there is no file, or a row is broken.
        """
        for row in read(tree, self.source(tree)):
            label, values = parse(row)
            self.found['rows'] += 1
            self.found[f'{SPLITS[row.usage]} rows'] += 1
            yield row, label, values

    def source(self, tree: trees.Tree) -> str:
        """Name of the CSV file."""
        for pattern in _FILES:
            if found := tree.find(pattern):
                return next(iter(found.values())).path
        raise InputError(
            f'{self.name} needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}; {self.describe(tree)}'
        )

    def describe(self, tree: trees.Tree) -> str:
        """What lies in the user's folder, and what to do with files that are taken for it."""
        hints = (
            f'{name} {text}; '
            for pattern, text in _OTHERS.items()
            for name in list(tree.find(pattern, alike=False))[:1]
        )
        return ''.join(hints) + super().describe(tree)

    def picture(self, tree: trees.Tree, item: corpus.Item) -> bytes:
        """The face as PNG."""
        return common.png(Image.frombytes('L', (SIDE, SIDE), item.extra['pixels']))

    def example(self, tree: trees.Tree, item: corpus.Item) -> dict[str, Any]:
        """The record, without what the picture was made of."""
        record = super().example(tree, item)
        del record['pixels']
        return record


def table(tree: trees.Tree, path: str) -> Iterator[tuple[int, list[str]]]:
    """Lines of a CSV file with their numbers, cells stripped, empty lines left out.

    Between the cells are commas, or semicolons as some programs write them.

    Args:
        tree: the user's files.
        path: the file.

    Yields:
        (number, cells).

    Raises:
        InputError: it is damaged.
    """
    with tree.open(path) as file, io.TextIOWrapper(file, 'utf-8-sig', newline='') as text:
        try:
            first = text.readline()
            delimiter = ';' if ';' in first and ',' not in first else ','
            reader = csv.reader(itertools.chain([first], text), delimiter=delimiter)
            for cells in filter(None, reader):
                yield reader.line_num, [cell.strip() for cell in cells]
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f'{path} is damaged: {error}; get the file again') from error


def columns(header: list[str], wanted: tuple[str, ...], path: str) -> list[int]:
    """Where the wanted columns are; case does not matter.

    Raises:
        InputError: one is missing.
    """
    names = [name.lower() for name in header]
    if missing := [name for name in wanted if name not in names]:
        raise InputError(
            f'{path} has no column {", ".join(missing)}: expected {", ".join(wanted)}, found '
            f'{", ".join(names)[:80] or "an empty file"}'
        )
    return [names.index(name) for name in wanted]


def read(tree: trees.Tree, path: str) -> Iterator[Row]:
    """Reads the CSV file row by row; columns in any order, blanks around names and case forgiven.

    Args:
        tree: the user's files.
        path: the file.

    Yields:
        The rows, at least one.

    Raises:
        InputError: no such columns, no rows, an unknown usage, or a broken file.
    """
    lines = table(tree, path)
    places = columns(next(lines, (0, []))[1], _COLUMNS, path)
    empty = True
    for line, cells in lines:
        empty, where = False, f'{path} line {line}'
        if len(cells) <= max(places):
            raise InputError(f'{where}: {len(cells)} cells, expected 3; is the file cut?')
        emotion, pixels, usage = (cells[place] for place in places)
        if usage.lower() not in _USAGES:
            raise InputError(f'{where}: unknown Usage {usage!r}; expected {", ".join(SPLITS)}')
        yield Row(where, line, emotion, pixels, _USAGES[usage.lower()])
    if empty:
        raise InputError(f'{path} holds a header and no rows')


def parse(row: Row) -> tuple[int, bytes]:
    """Reads label and pixels of a row.

    Args:
        row: the row.

    Returns:
        Canonical label and 48 * 48 grey values in row order.

    Raises:
        InputError: the label is out of range, a value is no number of 0..255, or not 2304 values.
    """
    try:
        label = label_codes.canonical(int(row.emotion.removesuffix('.0')), 'fer2013')
    except InputError as error:  # out of range
        raise InputError(f'{row.where}: {error}') from error
    except ValueError as error:
        raise InputError(
            f'{row.where}: the column emotion must hold a code 0..6, not {row.emotion!r}'
        ) from error
    try:
        values = bytes(map(int, row.pixels.split()))
    except ValueError as error:
        raise InputError(f'{row.where}: pixels must be numbers 0..255 ({error})') from error
    if len(values) != SIDE * SIDE:
        raise InputError(f'{row.where}: {len(values)} pixels, expected {SIDE * SIDE} (48 x 48)')
    assert label is not None  # all seven codes of fer2013 are kept
    return label, values

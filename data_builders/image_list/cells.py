"""The cells of a list that count: of `path code` lines, or of CSV with a header."""

import codecs
import csv
import io
import operator
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_builders.image_list import columns
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

_EXCEL = re.compile(r'\A"?sep=."?(?=\r?\n)')  # names the delimiter


class Row(NamedTuple):
    """One line of a list: its number from 1 and its cells; empty where the list has none."""

    line: int
    path: str
    word: str
    subject: str = ''
    split: str = ''


def read(path: pathlib.Path, options: Mapping[str, Any]) -> Iterator[Row]:
    """Reads the lines of a list.

    Args:
        path: the list.
        options: `path_column`, `label_column`, `subject_column`.

    Yields:
        Its rows, whatever they say.

    Raises:
        InputError: not text, no such column, too few cells.
    """
    text = _EXCEL.sub('', _text(path))
    first = next((line for line in text.splitlines() if line.strip()), '')
    delimiter = max('\t;,', key=first.count)
    header = {columns.key(cell) for cell in first.split(delimiter)}
    known = header & set(map(columns.key, columns.PATH_COLUMNS))
    tabular = path.suffix.lower() in ('.csv', '.tsv') or known
    if tabular and delimiter in first:
        yield from _csv_rows(path, text, delimiter, options)
    else:
        named = first.rpartition(delimiter)[0].strip().lower().endswith(images.SUFFIXES)
        yield from _line_rows(path, text, delimiter if named else None)


def _text(path: pathlib.Path) -> str:
    data = path.read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode('utf-16' if wide else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise InputError(
            f'{path} is not a text file in UTF-8 ({error}): save it as UTF-8, or name another with '
            '--set list=FILE'
        ) from error


def _line_rows(path: pathlib.Path, text: str, delimiter: str | None) -> Iterator[Row]:
    start = True
    for number, line in enumerate(text.splitlines(), start=1):
        parts = [part.strip() for part in line.strip().rsplit(delimiter, maxsplit=1)]
        header, start = start and _is_header(parts), start and not line.strip()
        if len(parts) == 2 and not header:
            yield Row(number, *parts)
        elif line.strip() and not header:
            raise InputError(
                f'{path} line {number}: expected `path label` (or CSV with a header that names '
                f'the columns), found {line.strip()[:80]!r}'
            )


def _is_header(parts: Sequence[str]) -> bool:
    """Whether a line `path label` is the names of two columns."""
    known = [[*map(columns.key, columns.PATH_COLUMNS)], [*map(columns.key, columns.LABEL_COLUMNS)]]
    return len(parts) == 2 and all(map(operator.contains, known, map(columns.key, parts)))


def _csv_rows(
    path: pathlib.Path, text: str, delimiter: str, options: Mapping[str, Any]
) -> Iterator[Row]:
    def below_header() -> Iterator[list[str]]:
        return (row for _, row in lines(path, text, delimiter, skip=1))

    _, header = next(lines(path, text, delimiter))
    header = [cell.strip() for cell in header]
    given, label = options['path_column'], options['label_column']
    words = columns.words_of(below_header(), len(header))
    places = {
        'path': columns.find(path, header, given, columns.PATH_COLUMNS, 'path_column')[0],
        'word': columns.label(path, header, label, words, below_header),
    }
    if subject := options['subject_column']:
        places['subject'] = columns.find(path, header, subject, (), 'subject_column')[0]
    if (split := columns.split(header, words, places.values())) is not None:
        places['split'] = split
    for line, row in lines(path, text, delimiter, skip=1):
        if len(row) <= max(places.values()):
            raise InputError(f'{path} line {line}: {len(row)} cells, the header has {len(header)}')
        yield Row(line, **{name: row[place].strip() for name, place in places.items()})


def lines(
    path: pathlib.Path, text: str, delimiter: str, skip: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """Rows of CSV text that are not empty.

    Args:
        path: the list, for messages.
        text: all of it.
        delimiter: between cells.
        skip: how many of the rows are passed over.

    Yields:
        The number of the row's last line, and the row.

    Raises:
        InputError: a cell is far too long.
    """
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True)
    start = 0
    try:
        for row in reader:
            start = reader.line_num
            if any(row):
                if skip <= 0:
                    yield start, row
                skip -= 1
    except csv.Error as error:
        raise InputError(
            f'{path} line {start + 1}: {error}; perhaps a quotation mark is not closed'
        ) from error

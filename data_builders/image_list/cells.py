"""The cells of a list that count: of `path code` lines, or of CSV with a header."""

import csv
import io
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from data_builders.image_list import columns
from dmsrl_jax.errors import InputError


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
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), '')
    delimiter = max('\t;,', key=first.count)
    header = {columns.key(cell) for cell in first.split(delimiter)}
    known = header & set(map(columns.key, columns.PATH_COLUMNS))
    tabular = path.suffix.lower() in ('.csv', '.tsv') or known
    if tabular and delimiter in first:
        yield from _csv_rows(path, text, delimiter, options)
    else:
        yield from _line_rows(path, text)


def _text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not a text file ({error}); --set list=FILE') from error


def _line_rows(path: pathlib.Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.rsplit(maxsplit=1)
        if len(parts) == 2:
            yield Row(number, parts[0].strip(), parts[1])
        elif parts:
            raise InputError(
                f'{path} line {number}: expected `path label` (or CSV with a header that names '
                f'the columns), found {line.strip()[:80]!r}'
            )


def _csv_rows(
    path: pathlib.Path, text: str, delimiter: str, options: Mapping[str, Any]
) -> Iterator[Row]:
    def below_header() -> Iterator[list[str]]:
        return (row for _, row in lines(path, text, delimiter, skip=1))

    _, header = next(lines(path, text, delimiter))
    header = [cell.strip() for cell in header]
    given, label = options['path_column'], options['label_column']
    places = {
        'path': columns.find(path, header, given, columns.PATH_COLUMNS, 'path_column')[0],
        'word': columns.label(path, header, label, below_header),
    }
    if subject := options['subject_column']:
        places['subject'] = columns.find(path, header, subject, (), 'subject_column')[0]
    if (split := columns.split(header)) is not None:
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
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
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

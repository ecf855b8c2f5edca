"""Reads lists of images: `path code` lines, or CSV with a header."""

import csv
import io
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from data_builders import archives, common, label_codes
from dmsrl_jax import expressions
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

PATH_COLUMNS = (
    'image',
    'file',
    'path',
    'filename',
    'file_name',
    'image_name',
    'image_path',
    'file_path',
    'name',
)
LABEL_COLUMNS = ('emotion', 'label', 'expression', 'class', 'emotion_label', 'expression_label')
_CODE = re.compile(r'[+-]?\d+')


class Entry(NamedTuple):
    """One line: `word` is its label as listed, `label` the canonical one, None for none of ours.

    `path` is as `normal` gives it; `subject` is empty where the list does not name it.
    """

    line: int
    path: str
    label: int | None
    word: str
    subject: str


def find_list(root: pathlib.Path, name: str) -> pathlib.Path:
    """Finds the list file.

    Args:
        root: the user's folder.
        name: path of the list below `root`; empty to look for the only `*.csv`, `*.tsv`, `*.lst`
            or `*list*.txt`, at most two folders deep.

    Returns:
        The path of the list.

    Raises:
        InputError: there is none, or several to choose from.
    """
    if name:
        if (root / name).is_file():
            return root / name
        raise InputError(f'list={name}: no such file; {common.describe(root)}')
    found = common.find_files(root, _is_list)
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            'no list found (looked for *.csv, *.tsv, *.lst, *list*.txt, at most two folders deep; '
            '--set list=FILE names another, --set labels=folders reads labels off the names of '
            f'folders); {common.describe(root)}{packed(root)}'
        )
    names = ', '.join(path.relative_to(root).as_posix() for path in found[:8])
    raise InputError(f'several lists found: {names}; choose with --set list=FILE')


def packed(root: pathlib.Path) -> str:
    """What to add to a message where archives lie in a folder: they are not opened here."""
    names = [path.name for path in common.listing(root) if archives.kind_of(path.name)]
    return f'. Archives are not opened for image_list: unpack {", ".join(names)}' if names else ''


def _is_list(name: str) -> bool:
    name = name.lower()
    return name.endswith(('.csv', '.tsv', '.lst')) or ('list' in name and name.endswith('.txt'))


def read(path: pathlib.Path, options: Mapping[str, Any]) -> list[Entry]:
    """Reads all lines of a list.

    Args:
        path: the list.
        options: `codes`, `path_column`, `label_column`, `subject_column`.

    Returns:
        The entries in the order of the list.

    Raises:
        InputError: not text, no such column, an unknown label or a code out of range (with the
            number of the line).
    """
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise InputError(f'{path} is not a text file ({error}); --set list=FILE') from error
    entries = []
    for line, name, word, subject in _cells(path, text, options):
        try:
            label = parse_label(word, options['codes'])
        except InputError as error:
            raise InputError(f'{path} line {line}: {error}') from error
        entries.append(Entry(line, normal(name), label, word, subject))
    if not entries:
        raise InputError(f'{path} names no image')
    return entries


def normal(path: str) -> str:
    """A listed path with `/` between folders and without empty parts, so that it has one form."""
    path = path.replace('\\', '/')
    parts = (part for part in path.split('/') if part not in ('', '.'))
    return ('/' if path.startswith('/') else '') + '/'.join(parts)


def is_code(word: str) -> bool:
    """Whether a label is a number, not a name."""
    return _CODE.fullmatch(word) is not None


def parse_label(word: str, codes: str) -> int | None:
    """Turns a code or a name into the canonical label; None for one that is not of the seven.

    Args:
        word: the cell of the list.
        codes: what numbers mean, a key of `label_codes.ORDERS`.

    Returns:
        The canonical label or None.

    Raises:
        InputError: unknown word or code.
    """
    if is_code(word):
        return label_codes.canonical(int(word), codes)
    return expressions.parse(word)


def _cells(
    path: pathlib.Path, text: str, options: Mapping[str, Any]
) -> Iterator[tuple[int, str, str, str]]:
    """Yields (line, path, label, subject) of either form."""
    first = next((line for line in text.splitlines() if line.strip()), '')
    delimiter = max('\t;,', key=first.count)
    header = [cell.strip().strip('"').lower() for cell in first.split(delimiter)]
    tabular = path.suffix.lower() in ('.csv', '.tsv') or set(header) & set(PATH_COLUMNS)
    if tabular and delimiter in first:
        yield from _csv_cells(path, text, delimiter, options)
    else:
        yield from _line_cells(path, text)


def _line_cells(path: pathlib.Path, text: str) -> Iterator[tuple[int, str, str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.rsplit(maxsplit=1)
        if len(parts) == 2:
            yield number, parts[0].strip(), parts[1], ''
        elif parts:
            raise InputError(
                f'{path} line {number}: expected `path label` (or CSV with a header that names '
                f'the columns), found {line.strip()[:80]!r}'
            )


def _csv_cells(
    path: pathlib.Path, text: str, delimiter: str, options: Mapping[str, Any]
) -> Iterator[tuple[int, str, str, str]]:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter)
    header = [cell.strip() for cell in next(row for row in reader if any(row))]
    columns = [
        _column(path, header, options['path_column'], PATH_COLUMNS, 'path_column'),
        _column(path, header, options['label_column'], LABEL_COLUMNS, 'label_column'),
    ]
    if options['subject_column']:
        columns.append(_column(path, header, options['subject_column'], (), 'subject_column'))
    for row in _rows(path, reader):
        if len(row) <= max(columns):
            raise InputError(
                f'{path} line {reader.line_num}: {len(row)} cells, the header has {len(header)}'
            )
        name, word, *subject = (row[column].strip() for column in columns)
        yield reader.line_num, name, word, subject[0] if subject else ''


def _rows(path: pathlib.Path, reader: Any) -> Iterator[list[str]]:
    """Rows of a CSV file that are not empty."""
    start = reader.line_num
    try:
        for row in reader:
            start = reader.line_num
            if any(row):
                yield row
    except csv.Error as error:
        raise InputError(
            f'{path} line {start + 1}: {error}; perhaps a quotation mark is not closed'
        ) from error


def _column(
    path: pathlib.Path, header: list[str], given: str, known: tuple[str, ...], option: str
) -> int:
    lower = [name.lower() for name in header]
    for name in [given.lower()] if given else known:
        if name in lower:
            return lower.index(name)
    if any(name.endswith(images.SUFFIXES) for name in lower):
        raise InputError(
            f'{path} has no header: its first line, {", ".join(header)[:200]!r}, is that of an '
            'image. Put a line with the names of the columns above it, such as image,label'
        )
    expected = repr(given) if given else f'one of {", ".join(known)}'
    raise InputError(
        f'{path} has no column {expected}; its header is {", ".join(header)[:200]!r}. '
        f'Name the column with --set {option}=NAME'
    )

"""Reads lists of images: `path code` lines, or CSV with a header."""

import pathlib
import re
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from data_builders import archives, common, label_codes
from data_builders.image_list import cells, split_words
from dmsrl_jax import expressions
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

_FLOAT = re.compile(r'(?<=\d)\.0*$')  # pandas writes whole numbers so where one is missing
_CODE = re.compile(r'[+-]?\d+')


class Entry(NamedTuple):
    """One line: `word` is its label as listed, `label` the canonical one, None for none of ours.

    `path` is as `normal` gives it; `subject` and `split` are empty where the list names none.
    """

    line: int
    path: str
    label: int | None
    word: str
    subject: str
    split: str = ''


_EMPTY = ('', 'nan', 'null', 'n/a')  # as tables write a label that is missing


def find_lists(root: pathlib.Path, name: str) -> dict[pathlib.Path, str]:
    """Finds the list file, or one for each split, as `train.csv` and `test.csv` are.

    Args:
        root: the user's folder.
        name: path of the list below `root`; empty to look for it, see `find_list`.

    Returns:
        Path to the word for its split, which is empty for a single list.

    Raises:
        InputError: there is none, or several of which nothing tells what they are for.
    """
    found = [] if name else common.find_files(root, _is_list)
    named = [split_words.within(path.stem) for path in found]
    apart = len(set(named)) == len(named) > 1 and None not in named
    if apart and 'train' in named and len({path.parent for path in found}) == 1:
        return {path: path.stem for path in found}
    return {find_list(root, name): ''}


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
    raise InputError(
        f'several lists found: {names}; choose with --set list=FILE (one for each split, such as '
        'train.csv and test.csv in one folder, are read together)'
    )


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
    entries = []
    for row in cells.read(path, options):
        word = _FLOAT.sub('', row.word)
        word = 'none' if word.lower() in _EMPTY else word
        try:
            label = parse_label(word, options['codes'])
        except InputError as error:
            hint = _turned(row.word)
            raise InputError(f'{path} line {row.line}: {hint or error}') from error
        split = sys.intern(row.split)
        entries.append(Entry(row.line, normal(row.path), label, word, row.subject, split))
    if not entries:
        raise InputError(f'{path} names no image')
    return entries


def _turned(word: str) -> str:
    """What to say of a label that is called like an image."""
    if not word.lower().endswith(images.SUFFIXES):
        return ''
    return f'{word!r} stands where the label should: each line is `path label`, the path first'


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

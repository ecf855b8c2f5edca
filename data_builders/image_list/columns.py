"""Which columns of a list count, by the names in its header."""

import pathlib
import re
from collections.abc import Callable, Iterable, Sequence

from data_builders.image_list import split_words
from dmsrl_jax import expressions
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

# Case, blanks and signs in names do not matter. Those that say path come first: others may be ids.
PATH_COLUMNS = (
    'image_path',
    'img_path',
    'file_path',
    'file_paths',
    'path',
    'paths',
    'pth',
    'filename',
    'image_name',
    'img_name',
    'image',
    'img',
    'file',
    'name',
)
LABEL_COLUMNS = (
    'emotion',
    'label',
    'expression',
    'facial_expression',
    'class',
    'emotions',
    'labels',
    'expressions',
    'emotion_label',
    'expression_label',
    'emotion_name',
    'label_name',
    'expression_name',
    'class_name',
)
SPLIT_COLUMNS = ('split', 'usage', 'subset', 'set', 'partition')
_NUMBER = re.compile(r'[+-]?\d+(?:\.0*)?')
_MOST_WORDS = 40  # that a column of expressions or splits has


def key(name: str) -> str:
    """A column's name as it is compared: `image_path` is `ImagePath`."""
    return re.sub(r'[\W_]', '', name.lower())


def find(
    path: pathlib.Path, header: Sequence[str], given: str, known: Sequence[str], option: str
) -> list[int]:
    """Finds the columns that may be meant.

    Args:
        path: the list, for messages.
        header: names of the columns.
        given: the name that the user gives; empty for none.
        known: names to look for otherwise.
        option: the option that names the column.

    Returns:
        Their numbers, in the order of `known`.

    Raises:
        InputError: there is none.
    """
    names = [name.lower() if given else key(name) for name in header]
    wanted = [given.lower()] if given else list(dict.fromkeys(map(key, known)))
    if found := [number for name in wanted for number, other in enumerate(names) if other == name]:
        return found[:1] if given else found
    if any(name.lower().endswith(images.SUFFIXES) for name in header):
        raise InputError(
            f'{path} has no header: its first line, {", ".join(header)[:200]!r}, is that of an '
            'image. Put a line with the names of the columns above it, such as image,label'
        )
    expected = repr(given) if given else f'one of {", ".join(known)}'
    raise InputError(
        f'{path} has no column {expected}; its header is {", ".join(header)[:200]!r}. '
        f'Name the column with --set {option}=NAME'
    )


def label(
    path: pathlib.Path,
    header: Sequence[str],
    given: str,
    words: Sequence[set[str]],
    rows: Callable[[], Iterable[Sequence[str]]],
) -> int:
    """Finds the column of the label: of several the one with words, since numbers need a meaning.

    Args:
        path: the list, for messages.
        header: names of the columns.
        given: the name that the user gives; empty for none.
        words: what stands in each column, as `words_of` gives it.
        rows: gives the cells below the header, where they are needed.

    Returns:
        Its number.

    Raises:
        InputError: there is none; there are several, and not just one of them has words only, or
            the others say something else.
    """
    found = find(path, header, given, LABEL_COLUMNS, 'label_column')
    if given:
        return found[0]
    found = _candidates(found, words)
    if len(found) == 1:
        return found[0]
    seen = {tuple(row[n].strip() for n in found) for row in rows() if len(row) > max(found)}
    if not seen:
        return found[0]
    columns = dict(zip(found, zip(*seen, strict=True), strict=False))
    worded = [number for number, cells in columns.items() if all(map(expressions.is_label, cells))]
    if len(worded) == 1:
        meant = [_meaning(word) for word in columns[worded[0]]]
        if all(_one_to_one(meant, cells) for cells in columns.values()):
            return worded[0]
    names = ' and '.join(header[number] for number in found)
    raise InputError(
        f'{path} has several columns that may be the label, {names}, and they do not say the same '
        'in names and in numbers: choose with --set label_column=NAME'
    )


def _candidates(found: Sequence[int], words: Sequence[set[str]]) -> list[int]:
    """Those columns that say an expression at all, and others that hold nothing else."""
    says = lambda n: any(expressions.is_label(word) or _NUMBER.fullmatch(word) for word in words[n])
    if all(map(expressions.is_label, words[found[0]])):
        return [n for n in found if says(n)] or list(found)
    others = [n for n in range(len(words)) if n not in found and _only_expressions(words[n])]
    return ([n for n in found if says(n)] or list(found)) + others


def _only_expressions(words: set[str]) -> bool:
    return all(map(expressions.is_label, words)) and len(set(map(_meaning, words))) > 1


def words_of(rows: Iterable[Sequence[str]], count: int) -> list[set[str]]:
    """What stands in each column; of a column of very many words only some.

    Args:
        rows: the cells below the header.
        count: number of columns.

    Returns:
        A set of words for each column.
    """
    words: list[set[str]] = [set() for _ in range(count)]
    for row in rows:
        for seen, cell in zip(words, row, strict=False):
            if len(seen) <= _MOST_WORDS:
                seen.add(cell.strip())
    return words


def split(header: Sequence[str], words: Sequence[set[str]], taken: Iterable[int]) -> int | None:
    """Finds the column that names the split.

    Args:
        header: names of the columns.
        words: what stands in each, as `words_of` gives it.
        taken: columns that say something else.

    Returns:
        Its number: the first called so that names several splits, else the first that holds nothing
        else; None where there is none. A column that names one split divides nothing.
    """
    names = list(map(key, header))
    free = [n for n in range(len(names)) if n not in set(taken) and len(words[n]) <= _MOST_WORDS]
    called = [n for name in SPLIT_COLUMNS for n in free if names[n] == name]
    pure = [n for n in free if all(map(split_words.within, words[n]))]
    return next(filter(lambda n: split_words.divides(words[n]), [*called, *pure]), None)


def _meaning(word: str) -> str:
    """One text for all words of one expression."""
    label = expressions.parse(word)
    return word.lower() if label is None else expressions.EXPRESSIONS[label]


def _one_to_one(words: Sequence[str], cells: Sequence[str]) -> bool:
    others = [_meaning(cell) if expressions.is_label(cell) else cell for cell in cells]
    pairs = set(zip(words, others, strict=True))
    return len(pairs) == len(set(words)) == len(set(others))

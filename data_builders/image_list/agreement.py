"""Whether the numbers of a list say the same as the folders in which its images lie."""

import collections
import functools
import pathlib
from collections.abc import Mapping, Sequence

from data_builders import label_codes
from data_builders.image_list import class_folders, lists
from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError


def check(entries: Sequence[lists.Entry], codes: str, path: pathlib.Path) -> None:
    """Refuses numbers that were taken for something else than most folders of theirs are called.

    A few labels that differ are the user's corrections; only full names of expressions count, and
    only where most images lie so, in folders of several: one may be a person, or an album.

    Args:
        entries: the lines.
        codes: what numbers were taken for.
        path: the list, for messages.

    Raises:
        InputError: most images with some number lie in folders of another expression.
    """
    seen: dict[int, collections.Counter[int]] = {}
    folder_label = functools.cache(class_folders.named)
    for entry in entries:
        if lists.is_code(entry.word):
            label = folder_label(entry.path.rpartition('/')[0])
            if label is not None:
                seen.setdefault(int(entry.word), collections.Counter())[label] += 1
    if 2 * sum(labels.total() for labels in seen.values()) < len(entries):
        return
    said = {code: labels.most_common(1)[0][0] for code, labels in sorted(seen.items())}
    if len(set(said.values())) < 2:
        return
    for code, label in said.items():
        if label_codes.canonical(code, codes) != label:
            raise InputError(
                f'{path}: {code} means {label_codes.ORDERS[codes][code]} with codes={codes}, but '
                f'most of its images lie in folders named after {expressions.EXPRESSIONS[label]}; '
                f'{_advice(said)}'
            )


def _advice(said: Mapping[int, int]) -> str:
    fitting = [
        f'--set codes={order}'
        for order, words in label_codes.ORDERS.items()
        if said.keys() <= words.keys()
        and all(expressions.parse(words[code]) == label for code, label in said.items())
    ]
    if fitting:
        return f'{" or ".join(fitting)} fits the folders'
    return (
        'no order of codes fits the folders: if the list is right, write names instead of numbers '
        'in it; if the folders are, --set labels=folders'
    )

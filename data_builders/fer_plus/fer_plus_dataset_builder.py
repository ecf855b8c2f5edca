"""TFDS builder of FER+: pictures of FER2013, labels from the votes of ten people."""

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import corpus, counts, trees
from data_builders.fer2013 import rows
from data_builders.fer_plus import votes
from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError

NEEDS = (
    'fer2013.csv (or icml_face_data.csv, or an archive with one of them) and fer2013new.csv of '
    'FER+, which has the votes and no pictures'
)
PROTOCOLS = {
    'majority': "the owners' rule: more than half of the votes, single votes not counted",
    'argmax': 'the expression with the most votes',
}
# As the owners' script writes them.
_PICTURES = r'FER2013(?:Train|Valid|Test)/(?:label\.csv|fer\d+\.png)'
_RULES = {'majority': votes.majority, 'argmax': votes.argmax}
_ROWS = (
    counts.Count('rows', 35_887, True),
    counts.Count('train rows', 28_709, True),
    counts.Count('validation rows', 3_589, True),
    counts.Count('test rows', 3_589, True),
    counts.Count('train rows without a name', 148, True),
    counts.Count('validation rows without a name', 10, True),
    counts.Count('test rows without a name', 15, True),
)
# Counted from the owners' lists per set, whose votes differ in some rows from fer2013new.csv.
_KEPT = {'majority': (25_045, 3_191, 3_137), 'argmax': (28_385, 3_555, 3_545)}
_CLASSES = (3_941, 682, 157, 9_038, 3_752, 2_656, 10_996)


def _counts(protocol: str) -> tuple[counts.Count, ...]:
    kept = zip(rows.SPLITS.values(), _KEPT[protocol], strict=True)
    return (
        *_ROWS,
        *(counts.Count(f'{split} kept, with contempt', number, False) for split, number in kept),
        *(counts.per_class('all', _CLASSES, certain=False) if protocol == 'majority' else ()),
    )


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS


class Builder(rows.Builder):
    """Writes train (Training), validation (PublicTest) and test (PrivateTest)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {protocol: _counts(protocol) for protocol in PROTOCOLS}
    EXTRA: ClassVar = {
        'votes': tfds.features.Tensor(shape=(len(votes.WORDS),), dtype=np.int32),
        'ferplus_name': tfds.features.Text(),
    }

    def describe(self, tree: trees.Tree) -> str:
        """What lies in the user's folder, and that pictures in it are not read."""
        for found in list(tree.find(_PICTURES, alike=False).values())[:1]:
            return (
                f'{found.path} and the like, and label.csv, are not read: the faces are read out '
                'of fer2013.csv only, and their votes out of fer2013new.csv; '
                f'{super().describe(tree)}'
            )
        return super().describe(tree)

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Rows of both files side by side: the position joins them, the names do not."""
        found, *_ = self.need(tree, r'fer2013new\.csv').values()
        path = self.source(tree)
        pairs = itertools.zip_longest(self.rows(tree), votes.read(tree, found.path))
        for number, (face, voted) in enumerate(pairs, start=1):
            if face is None or voted is None:
                shorter = path if face is None else found.path
                raise InputError(
                    f'{shorter} ends before row {number}, the other one goes on: both must be '
                    'complete, since row n of one belongs to row n of the other'
                )
            row, _, values = face
            check(row, voted, black=not any(values))
            split = rows.SPLITS[row.usage]
            self.found[f'{split} rows without a name'] += not voted.name
            label = self._label(split, row.file, voted)
            if label is not None:
                extra = {
                    'pixels': values,
                    'votes': np.asarray(voted.numbers, np.int32),
                    'ferplus_name': voted.name,
                }
                yield corpus.Item(row.file, label, path, split=split, extra=extra)

    def _label(self, split: str, file: str, voted: votes.Votes) -> int | None:
        word = _RULES[self.protocol](voted.numbers)
        if word in (votes.NO_MAJORITY, votes.NO_VOTES, 'unknown', 'nf'):
            reasons = {'unknown': 'label unknown', 'nf': 'not a face'}
            self.drops.add(reasons.get(word, word), file)
            return None
        self.found[f'{split} kept, with contempt'] += 1
        label = expressions.parse(word)
        if label is None:
            self.drops.add(f'label {word}', file)
        return label


def check(row: rows.Row, voted: votes.Votes, *, black: bool) -> None:
    """Refuses two rows that do not belong together.

    Args:
        row: the picture's row.
        voted: the votes' row.
        black: whether the picture is black; nobody takes such a one for a face.

    Raises:
        InputError: the sets differ, or a black picture has a face.
    """
    hint = 'the two files are not in the same order: get both from their owners'
    if row.usage.lower() != voted.usage.lower():
        raise InputError(
            f'{row.where} is of {row.usage}, but {voted.where} of {voted.usage!r}; {hint}'
        )
    if black and votes.argmax(voted.numbers) not in ('nf', votes.NO_VOTES):
        raise InputError(f'{row.where} is black, but has a face by {voted.where}; {hint}')


make_builder = corpus.maker(Builder, options)

"""TFDS builder of FER2013, from either of its CSV forms."""

from collections.abc import Iterator
from typing import Any, ClassVar

from data_builders import corpus, counts, trees
from data_builders.fer2013 import rows
from dmsrl_jax.expressions import EXPRESSIONS

NEEDS = 'fer2013.csv, icml_face_data.csv, or an archive (fer2013.tar.gz) with one of them inside'
PROTOCOLS = {'default': 'train is Training, validation PublicTest, test PrivateTest'}
_CLASSES = (4_002, 5_121, 547, 8_989, 6_077, 4_953, 6_198)
_PARTS = {
    'train': (28_709, (3_171, 4_097, 436, 7_215, 4_830, 3_995, 4_965)),
    'validation': (3_589, (415, 496, 56, 895, 653, 467, 607)),
    'test': (3_589, (416, 528, 55, 879, 594, 491, 626)),
}
_COUNTS = (
    counts.Count('rows', 35_887, True),
    *(counts.Count(f'rows {w}', n, True) for w, n in zip(EXPRESSIONS, _CLASSES, strict=True)),
    counts.Count('all-black rows', 11, True),
    *(counts.Count(f'{split} rows', total, True) for split, (total, _) in _PARTS.items()),
    *(
        counts.Count(f'{split} rows {word}', number, False)
        for split, (_, numbers) in _PARTS.items()
        for word, number in zip(EXPRESSIONS, numbers, strict=True)
    ),
)


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS


class Builder(rows.Builder):
    """Writes train (Training), validation (PublicTest) and test (PrivateTest)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    COUNTS: ClassVar = {'default': _COUNTS}

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Rows of the file in its order, without the black ones."""
        path = self.source(tree)
        for row, label, values in self.rows(tree):
            split = rows.SPLITS[row.usage]
            self.found[f'rows {EXPRESSIONS[label]}'] += 1
            self.found[f'{split} rows {EXPRESSIONS[label]}'] += 1
            if not any(values):
                self.found['all-black rows'] += 1
                self.drops.add('all-black image', f'line {row.line}')
                continue
            yield corpus.Item(row.file, label, path, split=split, extra={'pixels': values})


make_builder = corpus.maker(Builder, options)

"""Forms of SFEW that are not the owners': a copy with one CSV, and the AGRA benchmark's boxes."""

import csv
from collections.abc import Iterator

from data_builders import annotations, corpus, splits, trees
from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError

_CSV = r'sfew_2\.0_labels\.csv'
_COLUMNS = ('image_name', 'emotion', 'original_split')
_FRAME = r'(?P<part>Train|Val)/{folder}/(?P<word>[^/]+)/(?P<name>[^/]+)\.(?P<kind>{kinds})'
_BOXES = _FRAME.format(folder='Annotations/Bboxs', kinds='txt')
_MARKS = _FRAME.format(folder='Annotations/Landmarks_5', kinds='txt')
_IMAGES = _FRAME.format(folder='imgs', kinds='png|jpe?g')


def listed(builder: corpus.Builder, tree: trees.Tree) -> Iterator[corpus.Item]:
    """Aligned faces of the copy with one CSV; the name of the owners' archive says the split.

    Args:
        builder: told the rows that are left out.
        tree: the user's files.

    Yields:
        The images, named as those of the owners' archives.

    Raises:
        InputError: no list, a column that is missing, or a word that is no expression.
    """
    found, *_ = builder.need(tree, _CSV).values()
    pictures = tree.index(r'(?P<id>[^/]+\.(?:png|jpe?g))')
    lines = (text for _, text in tree.lines(found.path))
    for row in csv.DictReader(lines, skipinitialspace=True):
        if missing := [column for column in _COLUMNS if row.get(column) is None]:
            raise InputError(f'{found.path}: no {", ".join(missing)} in {row}')
        name, word, archive = (row[column].strip() for column in _COLUMNS)
        part, name = archive.partition('_')[0], name.replace('\\', '/').rpartition('/')[2]
        if part.lower() not in splits.PARTS:
            builder.drops.add('test set, no labels', name)
        elif (path := pictures.get(name.lower())) is None:
            builder.drops.add(corpus.MISSING, name)
        elif (label := expressions.parse(word)) is None:
            builder.drops.add(f'label {word}', name)
        else:
            yield _item(part, word, name, label, path)


def boxed(builder: corpus.Builder, tree: trees.Tree) -> Iterator[corpus.Item]:
    """Whole frames that have a box and landmarks of the AGRA benchmark.

    Args:
        builder: told the frames that are left out.
        tree: the user's files.

    Yields:
        The images.

    Raises:
        InputError: no boxes, or a file that does not hold the numbers that it should.
    """
    boxes = builder.need(tree, _BOXES).values()
    marks = {_key(found): found.path for found in tree.find(_MARKS).values()}
    frames = {_key(found): found for found in tree.find(_IMAGES).values()}
    for found in boxes:
        part, word, name = (found.groups[key] for key in ('part', 'word', 'name'))
        frame, label = frames.get(_key(found)), expressions.parse(word)
        if frame is None:
            builder.drops.add(corpus.MISSING, f'{part}/{word}/{name}')
        elif _key(found) not in marks:
            builder.drops.add('no landmarks', f'{part}/{word}/{name}')
        elif label is not None:
            item = _item(part, word, f'{name}.{frame.groups["kind"]}', label, frame.path)
            box = annotations.read_box(tree, found.path)
            yield item._replace(box=box, points=annotations.read_points(tree, marks[_key(found)]))


def _key(found: trees.Found) -> str:
    return '/'.join(found.groups[key] for key in ('part', 'word', 'name')).lower()


def _item(part: str, word: str, name: str, label: int, path: str) -> corpus.Item:
    file = f'{part.capitalize()}/{word.capitalize()}/{name}'
    return corpus.Item(file, label, path, split=splits.PARTS[part.lower()])

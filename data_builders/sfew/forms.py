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
    for where, row in _rows(tree, found.path):
        name, word, archive = (row[column].strip() for column in _COLUMNS)
        part, name = archive.partition('_')[0], name.replace('\\', '/').rpartition('/')[2]
        if part.lower() not in splits.PARTS:
            builder.drops.add('test set, no labels', name)
        elif (path := pictures.named(name)) is None:
            builder.drops.add(corpus.MISSING, name)
        elif (label := _label(word, where)) is None:
            builder.drops.add(f'label {word}', name)
        else:
            yield _item(part, word, name, label, path)


def _rows(tree: trees.Tree, path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of the CSV, each with its file and line."""
    header: list[str] = []
    for number, text in tree.lines(path):
        cells = next(csv.reader([text], skipinitialspace=True))
        row = dict(zip(header or cells, cells, strict=False))
        if missing := [column for column in _COLUMNS if column not in row]:
            raise InputError(f'{path} line {number}: no {", ".join(missing)} in {text[:80]!r}')
        if header:
            yield f'{path} line {number}', row
        header = header or cells


def _label(word: str, where: str) -> int | None:
    try:
        return expressions.parse(word)
    except InputError as error:
        raise InputError(f'{where}: {error}') from error


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
            place = marks[_key(found)]
            box = builder.beside(found.path, annotations.read_box, tree, found.path)
            points = builder.beside(place, annotations.read_points, tree, place)
            if box is not None and points is not None:
                yield item._replace(box=box, points=points)


def _key(found: trees.Found) -> str:
    return '/'.join(found.groups[key] for key in ('part', 'word', 'name')).lower()


def _item(part: str, word: str, name: str, label: int, path: str) -> corpus.Item:
    file = f'{part.capitalize()}/{word.capitalize()}/{name}'
    return corpus.Item(file, label, path, split=splits.PARTS[part.lower()])

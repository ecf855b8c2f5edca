"""TFDS builder of AFE (Asian Facial Expression): two forms, which have different codes."""

from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from data_builders import annotations, corpus, counts, faces, trees
from dmsrl_jax.errors import InputError

NEEDS = (
    'list/train_list.txt, list/val_list.txt and images/ (older form), or '
    'annos/TrainTest/Train.csv, annos/TrainTest/Test.csv and src/image/ (newer form)'
)
PROTOCOLS = {
    'default': "faces cut by the owners' boxes; the form is told by the names of the lists"
}


class Form(NamedTuple):
    """One of the two forms.

    Attributes:
        lists: pattern of the lists, with the group `part`.
        splits: part to split, in the order of reading.
        order: key of `label_codes.ORDERS`.
        pictures: pattern of the pictures; `id` is the listed name without extension.
    """

    lists: str
    splits: dict[str, str]
    order: str
    pictures: str


class Line(NamedTuple):
    """One face of a list."""

    name: str
    box: faces.Box
    code: int


_KIND = r'\.(?:jpe?g|png|bmp)'
FORMS = {
    # What is in the list of all and in neither of the others is the test part.
    'older': Form(
        r'(?P<part>train_list|val_list|total)\.txt',
        {'train_list': 'train', 'val_list': 'validation', 'total': 'test'},
        'afe',
        rf'images/(?P<id>.+){_KIND}',
    ),
    'newer': Form(
        r'TrainTest/(?P<part>Train|Test)\.csv',
        {'train': 'train', 'test': 'test'},
        'alphabetical',
        rf'src/image/(?P<id>.+){_KIND}',
    ),
}
_COUNTS = {
    'older': (
        counts.Count('train rows', 32_757, True),
        counts.Count('validation rows', 5_464, False),
        counts.Count('test rows', 16_380, False),
        counts.Count('rows', 54_601, False),
    ),
    'newer': (counts.Count('rows', 54_601, False),),
}


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return corpus.OPTIONS | faces.OPTIONS


class Builder(corpus.Builder):
    """Writes the owners' parts: train and validation (older form), train and test (newer form)."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = corpus.configs(PROTOCOLS)
    PICTURES: ClassVar = {'default': 'images/NAME.jpg (newer form: src/image/NAME.jpg)'}
    ADVICE = 'If you have the pictures of one list only, move the other lists away'

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._form = ''

    def expected(self) -> tuple[counts.Count, ...]:
        """The counts of the form that was found."""
        return _COUNTS[self._form]

    def items(self, tree: trees.Tree) -> Iterator[corpus.Item]:
        """Faces of the lists in their order; what a list before had already is passed over."""
        self._form, lists = find_lists(tree, f'{self.name} needs {NEEDS}')
        form = FORMS[self._form]
        pictures = tree.index(form.pictures)
        landmarks = tree.index(r'landmark_5/(?P<id>.+)\.txt')
        earlier: dict[str, list[Line]] = {}  # by picture
        boxes: dict[str, faces.Box] = {}
        for part, split in form.splits.items():
            here = []
            for line, where in self._lines(tree, lists.get(part, '')):
                key = stem(line.name).lower()
                here.append((key, line))
                twins = [other for other in earlier.get(key, ()) if same_face(other.box, line.box)]
                if twins:
                    if twins[0].code != line.code:
                        self.drops.add('listed again', line.name)
                    continue
                self.found['rows'] += 1
                self.found[f'{split} rows'] += 1
                label = self.keep(line.code, form.order, line.name, where)
                if label is None:
                    continue
                if key not in pictures:
                    self.drops.add(corpus.MISSING, line.name)
                    continue
                marks = landmarks.get(key, '')
                first = boxes.setdefault(key, line.box) == line.box
                yield corpus.Item(
                    line.name if first else f'{line.name}#{as_text(line.box)}',
                    label,
                    pictures[key],
                    split=split,
                    box=line.box,
                    points=self.beside(marks, annotations.read_points, tree, marks, without=()),
                )
            for key, line in here:
                earlier.setdefault(key, []).append(line)

    @staticmethod
    def _lines(tree: trees.Tree, path: str) -> Iterator[tuple[Line, str]]:
        for number, text in tree.lines(path) if path else ():
            where = f'{path} line {number}'
            yield read_line(text, where), where


def find_lists(tree: trees.Tree, needs: str) -> tuple[str, dict[str, str]]:
    """Tells the form by the names of the lists.

    Args:
        tree: the user's files.
        needs: what the message begins with if there are none.

    Returns:
        Name of the form, and its lists by part.

    Raises:
        InputError: there are no lists, or those of both forms.
    """
    found = {name: tree.find(form.lists).values() for name, form in FORMS.items()}
    forms = [name for name, lists in found.items() if lists]
    if not forms:
        raise InputError(f'{needs}; {tree.describe()}')
    if len(forms) > 1:
        names = ', '.join(file.path for lists in found.values() for file in lists)
        raise InputError(
            f'these are lists of both forms, whose codes differ: {names}. Give a folder with one'
        )
    return forms[0], {file.groups['part'].lower(): file.path for file in found[forms[0]]}


def same_face(box: faces.Box, other: faces.Box) -> bool:
    """Whether two boxes of a picture are of one face: lists round them differently.

    Args:
        box: left, top, right, bottom in pixels.
        other: likewise.

    Returns:
        Whether they are equal, or share more than half of the area that they cover together.
    """
    left, top, right, bottom = (
        max(box[0], other[0]),
        max(box[1], other[1]),
        min(box[2], other[2]),
        min(box[3], other[3]),
    )
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return box == other or 2 * shared > sum(areas) - shared


def as_text(box: faces.Box) -> str:
    """A box as part of a name, for further faces of the same frame."""
    return ','.join(f'{side:g}' for side in box)


def stem(name: str) -> str:
    """A listed name as `Form.pictures` has it: without the extension of a picture."""
    before, _, kind = name.rpartition('.')
    return before if kind.lower() in ('jpg', 'jpeg', 'png', 'bmp') else name


def read_line(text: str, where: str) -> Line:
    """Reads a line `name left top right bottom code`.

    Args:
        text: the line; between its parts any white space, or commas, whatever the file is called.
        where: file and line, for messages.

    Returns:
        The face.

    Raises:
        InputError: other columns, or no numbers.
    """
    parts = text.rsplit(maxsplit=5)
    if any(',' in part for part in parts[1:] or parts):
        parts = text.rsplit(',', maxsplit=5)
    try:
        name, left, top, right, bottom, code = parts
        box = (float(left), float(top), float(right), float(bottom))
        return Line(name.strip().replace('\\', '/').removeprefix('./'), box, int(code))
    except ValueError as error:
        raise InputError(
            f'{where}: expected `name left top right bottom code` with blanks or commas between, '
            f'got {text[:80]!r} ({error})'
        ) from error


make_builder = corpus.maker(Builder, options)

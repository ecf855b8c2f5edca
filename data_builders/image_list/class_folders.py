"""Images sorted into folders of expressions: `happy/1.jpg`, `train/angry/2.png`, `test/3/4.jpg`."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence

from data_builders import common
from data_builders.image_list import lists, photos
from dmsrl_jax.errors import InputError

_ABBREVIATED = 3  # letters at most
_SHORT_NAMES = ('sad', 'joy')
_CONTEMPT = ('contempt', 'contemptuous')  # an expression, though none of the seven


def read(root: pathlib.Path, codes: str, drops: common.Drops) -> list[lists.Entry]:
    """Finds the images of a folder and reads each one's label off the folders it lies in.

    Args:
        root: the folder.
        codes: what numbers mean, a key of `label_codes.ORDERS`.
        drops: told the files that are no images by their names.

    Returns:
        An entry for each image, sorted by path. The folder named after an expression counts; where
        there is none, the one with an abbreviation of a name (`AN`), and then the one that is a
        code.

    Raises:
        InputError: there is no image, or an archive; an image lies in no such folder, or below two
            that mean different expressions in the same way; some lie in folders with names and some
            in numbered ones.
    """
    entries: list[lists.Entry] = []
    for name in photos.find(root, drops, unpacked=True):
        labels = _labels(name.split('/')[-2::-1], codes)
        if not labels:
            raise InputError(
                f'{root / name} lies in no folder named after an expression (happy, anger, ...) or '
                f'after one of its codes (codes={codes}; --set codes=NAME for others): rename the '
                'folder, or move it out of manual_dir'
            )
        word = _only(labels, root / name)
        entries.append(lists.Entry(0, name, labels[word], word, ''))
    named, numbered = (
        next((entry for entry in entries if lists.is_code(entry.word) == is_code), None)
        for is_code in (False, True)
    )
    if named and numbered:
        raise InputError(
            f'{root / named.path} has its label by a name, {root / numbered.path} by a number, '
            f'{numbered.word}, which may be none: name all folders, or number all'
        )
    return entries


def named(folders: str) -> int | None:
    """The label of the only expression after which some folders, `train/happy/2`, are named.

    Args:
        folders: their names, with `/` between them.

    Returns:
        Its label; None where there is none of the seven, or several. Abbreviations do not count.
    """
    found = _labels(folders.split('/'), 'canonical')
    labels = {label for word, label in found.items() if _rank(word) == 0} - {None}
    return labels.pop() if len(labels) == 1 else None


def _labels(folders: Sequence[str], codes: str) -> dict[str, int | None]:
    """Those of some folders that mean a label, in their order."""
    labels = {}
    for word in folders:
        with contextlib.suppress(InputError):
            labels[word] = lists.parse_label(word, codes)
    return labels


def _only(labels: Mapping[str, int | None], path: pathlib.Path) -> str:
    """The folder that counts: names before abbreviations, these before codes.

    Below a name, words such as `other` or `unknown` say something else; contempt does not.
    """
    best = min(map(_rank, labels))
    words = [word for word in labels if _rank(word) == best]
    if best == 0:
        said = [word for word in words if labels[word] is not None or word.lower() in _CONTEMPT]
        words = said or words
    if best == 1:  # someone's initials above a code, or a person's number below a class
        words = list(labels)
    if len({labels[word] for word in words}) > 1:
        raise InputError(
            f'{path} lies in folders of different expressions, {" and ".join(words)}: rename those '
            'that are not its label (if they are persons, 3 as p3 or AN as p_AN)'
        )
    return words[0]


def _rank(word: str) -> int:
    """0 for a name, 1 for an abbreviation, which is often someone's initials, 2 for a code."""
    if lists.is_code(word):
        return 2
    return int(len(word) <= _ABBREVIATED and word.lower() not in _SHORT_NAMES)

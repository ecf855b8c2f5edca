"""Images sorted into folders of expressions: `happy/1.jpg`, `train/angry/2.png`, `test/3/4.jpg`."""

import contextlib
import pathlib
from collections.abc import Sequence

from data_builders import common
from data_builders.image_list import found, lists, photos
from dmsrl_jax.errors import InputError

_ABBREVIATED = 3  # letters at most
_SHORT_NAMES = ('sad', 'joy')
_SPLITS = {
    **dict.fromkeys(('train', 'training'), 'train'),
    **dict.fromkeys(('val', 'valid', 'validation'), 'validation'),
    **dict.fromkeys(('test', 'testing'), 'test'),
}


def read(root: pathlib.Path, codes: str, drops: common.Drops) -> list[lists.Entry]:
    """Finds the images of a folder and reads each one's label off the folders it lies in.

    Args:
        root: the folder.
        codes: what numbers mean, a key of `label_codes.ORDERS`.
        drops: told the files that are no images by their names.

    Returns:
        An entry for each image, sorted by path. The folder named after an expression counts; where
        there is none, the nearest one with an abbreviation of a name (`AN`), and then the nearest
        one that is a code.

    Raises:
        InputError: there is no image, or one lies in no such folder, or below two that name
            different expressions.
    """
    entries = []
    for name in photos.find(root, drops):
        labels = _labels(name.split('/')[-2::-1], codes)
        names = [word for word in labels if _rank(word) == 0 and labels[word] is not None]
        if len({labels[word] for word in names}) > 1:
            raise InputError(
                f'{root / name} lies in folders of different expressions, {" and ".join(names)}: '
                'rename those that are not its label'
            )
        if not labels:
            raise InputError(
                f'{root / name} lies in no folder named after an expression (happy, anger, ...) or '
                f'after one of its codes (codes={codes}; --set codes=NAME for others): rename the '
                'folder, or move it out of manual_dir'
            )
        word = min(labels, key=_rank)
        entries.append(lists.Entry(0, name, labels[word], word, ''))
    return entries


def _labels(folders: Sequence[str], codes: str) -> dict[str, int | None]:
    """Those of some folders that mean a label, in their order."""
    labels = {}
    for word in folders:
        with contextlib.suppress(InputError):
            labels[word] = lists.parse_label(word, codes)
    return labels


def _rank(word: str) -> int:
    """0 for a name, 1 for an abbreviation, which is often someone's initials, 2 for a code."""
    if lists.is_code(word):
        return 2
    return int(len(word) <= _ABBREVIATED and word.lower() not in _SHORT_NAMES)


def divide(items: Sequence[found.Item]) -> dict[str, list[found.Item]]:
    """The splits, if every image lies below a folder named after one.

    Args:
        items: images with their paths below the root as names.

    Returns:
        Images by split, `train` first; empty if folders name none.

    Raises:
        InputError: some images lie below such a folder and some do not.
    """
    divided: dict[str, list[found.Item]] = {name: [] for name in _SPLITS.values()}
    outside: list[found.Item] = []
    for item in items:
        words = (word.lower() for word in item.name.split('/')[:-1])
        split = next((_SPLITS[word] for word in words if word in _SPLITS), None)
        (outside if split is None else divided[split]).append(item)
    divided = {name: part for name, part in divided.items() if part}
    if divided and outside:
        raise InputError(
            f'{outside[0].path} lies in none of the folders {", ".join(divided)}, and other images '
            'do: move it into one of them, or out of manual_dir'
        )
    return divided

"""Images sorted into folders of expressions: `happy/1.jpg`, `train/angry/2.png`, `test/3/4.jpg`."""

import pathlib
from collections.abc import Sequence

from data_builders import common
from data_builders.image_list import found, lists, photos
from dmsrl_jax.errors import InputError

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
        An entry for each image, sorted by path. The nearest folder named after an expression
        counts; where there is none, the nearest one that is a code.

    Raises:
        InputError: there is no image, or one lies in no such folder.
    """
    entries = []
    for name in photos.find(root, drops):
        folders = name.split('/')[-2::-1]  # the nearest first
        words = [word for word in folders if not lists.is_code(word)]
        words += [word for word in folders if lists.is_code(word)]
        for word in words:
            try:
                label = lists.parse_label(word, codes)
            except InputError:
                continue
            entries.append(lists.Entry(0, name, label, word, ''))
            break
        else:
            raise InputError(
                f'{root / name} lies in no folder named after an expression (happy, anger, ...) or '
                f'after one of its codes (codes={codes}; --set codes=NAME for others): rename the '
                'folder, or move it out of manual_dir'
            )
    return entries


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

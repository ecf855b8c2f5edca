"""A folder of images without a list: every image in it, whatever it is called."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from data_builders import archives, common, trees
from data_builders.image_list import lists
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

_OF_LISTS = ('list', 'images', 'path_column', 'label_column', 'subject_column')
_UNUSED = {
    'list': (),
    'folders': _OF_LISTS,
    'none': (*_OF_LISTS, 'codes', 'splits', 'test_fraction', 'split_seed'),
}
_INSTEAD = {
    'folders': 'which reads labels off the folders that images lie in',
    'none': 'which takes every image below manual_dir into the split train',
}


def check(values: Mapping[str, Any], table: Mapping[str, tuple[type, Any, str]]) -> None:
    """Checks the option `labels` and that none stands beside it which would do nothing.

    Args:
        values: options by name.
        table: all options: (type, default, help) by name.

    Raises:
        InputError: `labels` is not `list`, `folders` or `none`, or an option has no use beside it.
    """
    labels = values['labels']
    if labels not in _UNUSED:
        raise InputError(f'labels={labels!r} must be list, folders or none')
    refuse(values, table, _UNUSED[labels], f'labels={labels}, {_INSTEAD.get(labels)}')


def refuse(
    values: Mapping[str, Any],
    table: Mapping[str, tuple[type, Any, str]],
    names: Sequence[str],
    beside: str,
) -> None:
    """Raises InputError if one of the options `names` is set, which does nothing `beside` that."""
    for name in names:
        if values[name] != table[name][1]:
            raise InputError(
                f'{name}={values[name]!r} does nothing with {beside}; leave one of them out'
            )


def find(root: pathlib.Path, drops: common.Drops, *, unpacked: bool = False) -> list[str]:
    """Finds the images of a folder, however deep; hidden files and folders are not looked at.

    Args:
        root: the folder.
        drops: told the files that are no images by their names.
        unpacked: whether an archive beside the images is refused.

    Returns:
        Paths below `root`, sorted.

    Raises:
        InputError: there is no image, or an archive that should have been unpacked.
    """
    found, packed = [], []
    for name in sorted(trees.walk(root)):
        if name.lower().endswith(images.SUFFIXES):
            found.append(name)
        elif name.lower().endswith(images.HEIC):
            drops.add('HEIC, which is not read: convert it to JPEG', name)
        elif archives.kind_of(name):
            packed.append(name)
            drops.add('archive that was not opened: unpack it', name)
        else:
            drops.add('no image by its name', name)
    if not found:
        raise InputError(
            f'no image below {root} (looked for {" ".join(images.SUFFIXES)}); '
            f'{common.describe(root)}{lists.packed(root)}'
        )
    if packed and unpacked:
        raise InputError(
            f'{root / packed[0]} is not opened for image_list, and a split or a class may lie in '
            'it: unpack it, and move it out of manual_dir'
        )
    return found

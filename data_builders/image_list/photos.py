"""A folder of photographs that nobody labelled: every image in it, whatever it is called."""

import pathlib
from collections.abc import Mapping
from typing import Any

from data_builders import common, trees
from data_builders.image_list import lists
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError

_OF_LISTS = (
    'list',
    'images',
    'codes',
    'path_column',
    'label_column',
    'subject_column',
    'test_fraction',
    'split_seed',
)


def check(values: Mapping[str, Any], table: Mapping[str, tuple[type, Any, str]]) -> None:
    """Checks the option `labels` and that none stands beside it which would do nothing.

    Args:
        values: options by name.
        table: all options: (type, default, help) by name.

    Raises:
        InputError: it is neither `list` nor `none`, or `none` with an option about lists or splits.
    """
    if values['labels'] not in ('list', 'none'):
        raise InputError(f'labels={values["labels"]!r} must be list or none')
    if values['labels'] == 'list':
        return
    for name in _OF_LISTS:
        if values[name] != table[name][1]:
            raise InputError(
                f'{name}={values[name]!r} does nothing with labels=none, which takes every image '
                'below manual_dir into the split train; leave one of them out'
            )


def find(root: pathlib.Path, drops: common.Drops) -> list[str]:
    """Finds the images of a folder, however deep; hidden files and folders are not looked at.

    Args:
        root: the folder.
        drops: told the files that are no images by their names.

    Returns:
        Paths below `root`, sorted.

    Raises:
        InputError: there is no image.
    """
    found = []
    for name in sorted(trees.walk(root)):
        if any(part.startswith('.') for part in name.split('/')):
            continue
        if name.lower().endswith(images.SUFFIXES):
            found.append(name)
        else:
            drops.add('no image by its name', name)
    if not found:
        raise InputError(
            f'no image below {root} (looked for {" ".join(images.SUFFIXES)}); '
            f'{common.describe(root)}{lists.packed(root)}'
        )
    return found

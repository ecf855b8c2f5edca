"""Images of a list: found, one line for each, those without a use left out."""

import os
import pathlib
import re
import sys
from typing import NamedTuple

from data_builders import common, trees
from data_builders.image_list import lists, places
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NO_LABEL


class Item(NamedTuple):
    """One image that is kept: where it lies, its name in the list, label, subject and split.

    Without a list the name is the path below the folder, and the label is `NO_LABEL`.
    """

    path: str | pathlib.Path
    name: str
    label: int
    subject: str
    split: str = ''


def read(item: Item) -> bytes:
    """Bytes of an image file; InputError if it cannot be read."""
    try:
        with open(item.path, 'rb') as file:  # a Path for each would keep its parts in memory
            return file.read()
    except OSError as error:
        raise InputError(trees.unreadable(item.path, error)) from error


def keep_known(entries: list[lists.Entry], drops: common.Drops) -> list[lists.Entry]:
    """Leaves out labels that are none of the seven."""
    for entry in entries:
        if entry.label is None:
            drops.add(f'label {entry.word.lower()}', entry.path)
    return [entry for entry in entries if entry.label is not None]


def merge(entries: list[lists.Entry], drops: common.Drops) -> list[lists.Entry]:
    """Keeps the first line of a path; none where the lines contradict each other."""
    first: dict[str, lists.Entry] = {}
    contradicted = set()
    for entry in entries:
        if first.setdefault(entry.path, entry).label != entry.label:
            contradicted.add(entry.path)
    kept = []
    for entry in entries:
        if entry.path in contradicted:
            drops.add('listed with different labels', entry.path)
        elif first[entry.path] is entry:
            kept.append(entry)
        elif first[entry.path].split != entry.split:
            drops.add('listed again with the same label for another split', entry.path)
        else:
            drops.add('listed again with the same label', entry.path)
    return kept


def image_folders(root: pathlib.Path, path: pathlib.Path, images: str) -> list[pathlib.Path]:
    """Folders that the paths of a list may be relative to, the likeliest first.

    Args:
        root: the user's folder.
        path: the list.
        images: the option; empty to try the list's folder, `root`, `images/` in either, and the
            only subfolder.

    Returns:
        The folders that exist.

    Raises:
        InputError: the option names no folder.
    """
    if images:
        for folder in (root / images, path.parent / images):
            if folder.is_dir():
                return [folder]
        raise InputError(f'images={images}: no such folder; {common.describe(root)}')
    folders = [path.parent, root]
    for parent in dict.fromkeys((path.parent, root)):
        below = [folder for folder in common.listing(parent) if folder.is_dir()]
        folders += [folder for folder in below if folder.name.lower() == 'images']
        folders += below if len(below) == 1 else []
    return list(dict.fromkeys(folders))


def locate(
    entries: list[lists.Entry],
    folders: list[pathlib.Path],
    path: pathlib.Path,
    drops: common.Drops,
) -> list[Item]:
    """Finds the images of a list; a few may be missing, not most of them.

    Args:
        entries: the lines.
        folders: where to look, see `image_folders`.
        path: the list, for messages.
        drops: told the missing ones.

    Returns:
        The images that exist.

    Raises:
        InputError: more than half are missing: the layout is not what it should be; two folders
            have different images of one path.
    """
    if not entries:
        reasons = ', '.join(f'{drop["count"]} x {why}' for why, drop in drops.as_dict().items())
        raise InputError(f'nothing of {path} is left, all are dropped: {reasons or "it is empty"}')
    items, missing, where = [], [], places.Places(folders)
    for entry in entries:
        if (found := where.find(entry.path)) is None:
            missing.append(entry.path)
        else:
            label = int(entry.label or 0)
            items.append(Item(found, entry.path, label, entry.subject, entry.split))
    if not items or len(missing) > len(entries) / 2:
        looked = ', '.join(map(str, folders))
        raise InputError(
            f'{len(missing)} of {len(entries)} images of {path} are missing, the first is '
            f'{(missing or ["none"])[0]!r}; looked in {looked}; {common.describe(folders[-1])}. '
            'Name the folder that the paths are relative to with --set images=DIR'
        )
    for name in missing:
        drops.add('listed, but there is no such file', name)
    return items


def with_subjects(items: list[Item], pattern: str, path: pathlib.Path) -> list[Item]:
    """Reads the person out of the image's name; names without one stand for themselves."""
    if not pattern:
        return items
    search = re.compile(pattern).search
    if not any(search(item.name) for item in items):
        raise InputError(f'subject_pattern={pattern!r} fits no image of {path}')
    return [
        item._replace(subject=sys.intern(match.group(match.re.groups and 1)))
        if (match := search(item.name))
        else item
        for item in items
    ]


def same_pictures(items: list[Item], drops: common.Drops) -> list[Item]:
    """Keeps one of several byte-identical files, none where their labels differ.

    A picture under two names could otherwise be in both splits.
    """
    sizes: dict[int, list[Item]] = {}
    for item in items:
        if os.path.isfile(item.path):  # a link may lead nowhere, which is told when it is read
            sizes.setdefault(os.path.getsize(item.path), []).append(item)
    groups: dict[bytes, list[Item]] = {}
    for same_size in sizes.values():
        for item in same_size if len(same_size) > 1 else ():
            groups.setdefault(common.digest(read(item)), []).append(item)
    left_out = set()
    for same in groups.values():
        differ = len({item.label for item in same}) > 1
        label = ' with other labels' if differ else ' with the same label'
        reason = f'same picture as another file{label if same[0].label != NO_LABEL else ""}'
        for item in same if differ else same[1:]:
            drops.add(reason, item.name)
            left_out.add(item.name)
    return [item for item in items if item.name not in left_out]

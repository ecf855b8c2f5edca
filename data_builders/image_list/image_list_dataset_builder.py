"""TFDS builder of any folder of images with a list of labels; configs are names users choose."""

import os
import pathlib
import re
import sys
from typing import Any, ClassVar, NamedTuple

import tensorflow_datasets as tfds

from data_builders import common, distributing, label_codes
from data_builders.image_list import lists, photos
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NO_LABEL

NEEDS = (
    'images and a list of them (CSV with a header, or lines `path label`); with --set labels=none '
    'images alone'
)
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')


class Item(NamedTuple):
    """One image that is kept: where it lies, its name in the list, label and subject.

    Without a list the name is the path below the folder, and the label is `NO_LABEL`.
    """

    path: str | pathlib.Path
    name: str
    label: int
    subject: str


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return {
        'labels': (str, 'list', 'list, or none: take every image of the folder, without a label'),
        'list': (str, '', 'list file below manual_dir; default: the only one that is found'),
        'images': (str, '', 'folder that the paths of the list are relative to; default: found'),
        'codes': (str, 'canonical', f'what numbers mean: {", ".join(label_codes.ORDERS)}'),
        'path_column': (str, '', f'default: {", ".join(lists.PATH_COLUMNS)}'),
        'label_column': (str, '', f'default: {", ".join(lists.LABEL_COLUMNS)}'),
        'subject_column': (str, '', 'column that names the person; no person in both splits'),
        'subject_pattern': (str, '', 'regular expression whose first group in the path names it'),
        'test_fraction': (float, 0.2, 'share of the persons, or else images, in the test split'),
        'split_seed': (int, 0, 'another number gives another split'),
        'on_corrupt': (str, 'error', 'error, or drop: leave corrupt images out and count them'),
    }


def make_builder(
    config_name: str | None,
    *,
    data_dir: str | os.PathLike[str],
    manual_dir: str | os.PathLike[str] | None = None,
    **values: Any,
) -> 'Builder':
    """The builder of one list.

    Args:
        config_name: a name of the user's choice, to keep several lists apart; None for `default`.
        data_dir: where prepared corpora lie.
        manual_dir: folder with the list and the images.
        **values: options by name, see `options`.

    Returns:
        A builder ready for `download_and_prepare`.

    Raises:
        InputError: a bad name, an unknown option, or a value out of range.
    """
    name = config_name or 'default'
    if not _NAME.fullmatch(name):
        raise InputError(f'image_list/{name}: a name is made of letters, digits, _ and -')
    known = {config.name: config for config in Builder.BUILDER_CONFIGS}
    config = known.get(name) or tfds.core.BuilderConfig(name=name, description=f'the list {name}')
    folders = {'data_dir': data_dir, 'manual_dir': manual_dir}
    builder = common.make(Builder, options(), values, config=config, **folders)
    _check(builder.options)
    return builder


def _check(values: dict[str, Any]) -> None:
    photos.check(values, options())
    if not 0.0 <= values['test_fraction'] <= 1.0:
        raise InputError(f'test_fraction={values["test_fraction"]} must be in 0..1')
    if values['on_corrupt'] not in ('error', 'drop'):
        raise InputError(f'on_corrupt={values["on_corrupt"]!r} must be error or drop')
    if values['codes'] not in label_codes.ORDERS:
        known = ', '.join(label_codes.ORDERS)
        raise InputError(f'codes={values["codes"]!r} is unknown; known: {known}')
    try:
        re.compile(values['subject_pattern'])
    except re.error as error:
        raise InputError(f'subject_pattern={values["subject_pattern"]!r}: {error}') from error


class Builder(common.CorpusBuilder):
    """Writes train and test, a fixed split of our own; all into train where there are no labels."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name='default', description='a list of images')
    ]

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        values = {name: default for name, (_, default, _) in options().items()} | self.options
        items = self._items(self.source_folder(dl_manager), values)
        self.total = len(items)
        if values['labels'] == 'none':
            return {'train': self._generate_examples('train', items)}
        test = [common.hash_fraction(i.subject or i.name, values['split_seed']) for i in items]
        splits: dict[str, list[Item]] = {'train': [], 'test': []}
        for item, fraction in zip(items, test, strict=True):
            splits['test' if fraction < values['test_fraction'] else 'train'].append(item)
        return {
            split: self._generate_examples(split, part) for split, part in splits.items() if part
        }

    def _items(self, root: pathlib.Path, values: dict[str, Any]) -> list[Item]:
        if values['labels'] == 'none':
            path, names = root, photos.find(root, self.drops)
            items = [Item(root / name, name, NO_LABEL, '') for name in names]
        else:
            path = lists.find_list(root, values['list'])
            entries = keep_known(merge(lists.read(path, values), self.drops), self.drops)
            items = locate(entries, image_folders(root, path, values['images']), path, self.drops)
        return same_pictures(with_subjects(items, values['subject_pattern'], path), self.drops)

    def _generate_examples(self, split: str, items: list[Item]) -> Any:
        return distributing.examples(self, split, items, _example, name=lambda item: item.name)


def _example(item: Item) -> tuple[str, dict[str, Any]]:
    image = common.stored_bytes(_read(item), str(item.path))
    return item.name, common.record(image, item.label, item.name, item.subject)


def _read(item: Item) -> bytes:
    with open(item.path, 'rb') as file:  # a Path for each would keep its parts in memory
        return file.read()


def keep_known(entries: list[lists.Entry], drops: common.Drops) -> list[lists.Entry]:
    """Leaves out labels that are none of the seven."""
    for entry in entries:
        if entry.label is None:
            drops.add(f'label {entry.word.lower()}', entry.path)
    return [entry for entry in entries if entry.label is not None]


def merge(entries: list[lists.Entry], drops: common.Drops) -> list[lists.Entry]:
    """Keeps one line per path; none where the lines contradict each other."""
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
        InputError: more than half are missing: the layout is not what it should be.
    """
    if not entries:
        reasons = ', '.join(f'{drop["count"]} x {why}' for why, drop in drops.as_dict().items())
        raise InputError(f'no line of {path} is left, all are dropped: {reasons or "it is empty"}')
    items, missing = [], []
    for entry in entries:
        places = (os.path.join(folder, entry.path) for folder in folders)
        if (found := next(filter(os.path.isfile, places), None)) is None:
            missing.append(entry.path)
        else:
            items.append(Item(found, entry.path, int(entry.label or 0), entry.subject))
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
        sizes.setdefault(os.path.getsize(item.path), []).append(item)
    groups: dict[bytes, list[Item]] = {}
    for same_size in sizes.values():
        for item in same_size if len(same_size) > 1 else ():
            groups.setdefault(common.digest(_read(item)), []).append(item)
    left_out = set()
    for same in groups.values():
        differ = len({item.label for item in same}) > 1
        label = ' with other labels' if differ else ' with the same label'
        reason = f'same picture as another file{label if same[0].label != NO_LABEL else ""}'
        for item in same if differ else same[1:]:
            drops.add(reason, item.name)
            left_out.add(item.name)
    return [item for item in items if item.name not in left_out]

"""TFDS builder of any folder of images; configs are names users choose."""

import os
import pathlib
import re
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders import common, distributing, label_codes
from data_builders.image_list import (
    agreement,
    class_folders,
    columns,
    found,
    lists,
    photos,
    splitting,
)
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NO_LABEL

NEEDS = (
    'images and a list of them (CSV with a header, or lines `path label`); with --set '
    'labels=folders images in folders named after expressions, with labels=none images alone'
)
_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_-]*')


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return {
        'labels': (str, 'list', 'list, folders (happy/1.jpg), or none: every image, no labels'),
        'list': (str, '', 'list file below manual_dir; default: the only one that is found'),
        'images': (str, '', 'folder that the paths of the list are relative to; default: found'),
        'codes': (str, 'canonical', f'what numbers mean: {", ".join(label_codes.ORDERS)}'),
        'path_column': (str, '', f'default: {", ".join(columns.PATH_COLUMNS)}'),
        'label_column': (str, '', f'default: {", ".join(columns.LABEL_COLUMNS)}'),
        'subject_column': (str, '', 'column that names the person; no person in both splits'),
        'subject_pattern': (str, '', 'regular expression whose first group in the path names it'),
        'splits': (str, 'found', 'found: as the list or folders name them; ours: none of theirs'),
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
    if values['splits'] not in ('found', 'ours'):
        raise InputError(f'splits={values["splits"]!r} must be found or ours')
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
    """Writes the splits of the list or folders, or our own; without labels all into train."""

    MANUAL_DOWNLOAD_INSTRUCTIONS = NEEDS
    label_note = split_note = ''
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name='default', description='a list of images')
    ]

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        values = {name: default for name, (_, default, _) in options().items()} | self.options
        items = self._items(self.source_folder(dl_manager), values)
        common.check_names((item.name, item.path) for item in items)
        self.total = len(items)
        if values['labels'] == 'none':
            self.split_note = 'none: with labels=none all images are in train'
            return {'train': self._generate_examples('train', items)}
        parts, self.split_note = splitting.divide(items, values, options())
        return {
            split: self._generate_examples(split, part) for split, part in parts.items() if part
        }

    def _items(self, root: pathlib.Path, values: dict[str, Any]) -> list[found.Item]:
        path = root
        if values['labels'] == 'none':
            names = photos.find(root, self.drops)
            items = [found.Item(os.path.join(root, name), name, NO_LABEL, '') for name in names]
        elif values['labels'] == 'folders':
            entries = class_folders.read(root, values['codes'], self.drops)
            self.label_note = _meaning(entries, values['codes'])
            items = found.locate(found.keep_known(entries, self.drops), [root], root, self.drops)
        else:
            entries = []
            for path, split in lists.find_lists(root, values['list']).items():
                part = lists.read(path, values)
                agreement.check(part, values['codes'], path)
                entries += [entry._replace(split=entry.split or split) for entry in part]
            self.label_note = _meaning(entries, values['codes'])
            entries = found.keep_known(found.merge(entries, self.drops), self.drops)
            items = found.locate(
                entries, found.image_folders(root, path, values['images']), path, self.drops
            )
        return found.same_pictures(
            found.with_subjects(items, values['subject_pattern'], path), self.drops
        )

    def _generate_examples(self, split: str, items: list[found.Item]) -> Any:
        return distributing.examples(self, split, items, _example, name=lambda item: item.name)


def _example(item: found.Item) -> tuple[str, dict[str, Any]]:
    image = common.stored_bytes(found.read(item), str(item.path))
    return item.name, common.record(image, item.label, item.name, item.subject)


def _meaning(entries: list[lists.Entry], codes: str) -> str:
    """What the numbers among the labels were taken for, since other corpora count otherwise."""
    if not any(lists.is_code(entry.word) for entry in entries):
        return ''
    meaning = ', '.join(f'{number} {word}' for number, word in label_codes.ORDERS[codes].items())
    return f'numbers read as codes={codes}: {meaning} (--set codes=NAME for others)'

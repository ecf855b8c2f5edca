"""Which split an image belongs to: by a column of the list, by folders, or by a hash."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from data_builders import common, splits
from data_builders.image_list import found, photos, split_words
from dmsrl_jax.errors import InputError

_SHOWN = 6


class _Reading(NamedTuple):
    """Images by split, the words that say it, and images without a split or with two."""

    parts: dict[str, list[found.Item]]
    words: dict[str, str]
    without: list[found.Item]
    torn: list[found.Item]


def divide(
    items: Sequence[found.Item],
    values: Mapping[str, Any],
    table: Mapping[str, tuple[type, Any, str]],
) -> tuple[dict[str, list[found.Item]], str]:
    """The splits that a list or folders name if they do so for every image, or else our own.

    Folders that all images share say nothing, unless no other folder does and labels are read off
    folders, too: a list of images in `train/` alone has no other to test on. Longer names such as
    `train_set`, `testdata` or `PublicTest` (which is for validation) count where there are several
    of them, one of train among them.

    Args:
        items: images, with the list's word for the split, if it has one, and paths as names.
        values: options by name.
        table: all options, as `photos.refuse` takes them.

    Returns:
        Images by split, `train` first, and where the splits come from, for the report.

    Raises:
        InputError: some images have a split and some do not; folders name two for one image; an
            option for our own split is given beside others.
    """
    readings = ((_by_list(items), 'the list'), (_by_folders(items), 'folders'))
    for reading, what in readings if values['splits'] == 'found' else ():
        single = what == 'folders' and len(reading.parts) == 1 and not reading.without
        if reading.parts and not (single and values['labels'] == 'list'):
            _check(reading, what)
            photos.refuse(values, table, tuple(splits.OPTIONS), f'{what} that name the splits')
            parts = {
                name: reading.parts[name] for name in split_words.ORDER if name in reading.parts
            }
            return parts, f'named by {what}: {_words(reading)}'
    note = splits.NOTE if all(item.subject for item in items) else splits.NOTE_IMAGES
    hashed = _hashed(items, values['test_fraction'], values['split_seed'])
    return hashed, note.format(**values)


def _by_list(items: Sequence[found.Item]) -> _Reading:
    return _read(items, lambda item: [item.split], split_words.within)


def _by_folders(items: Sequence[found.Item]) -> _Reading:
    folders = [name.split('/') for name in {item.name.rpartition('/')[0] for item in items}]
    shared = len(os.path.commonprefix(folders))
    levels = range(shared, min(map(len, folders)))
    whole = [n for n in levels if all(split_words.exact(names[n]) for names in folders)]
    if len(whole) == 1:  # it divides all; below it, somebody may be called Val
        return _read(items, lambda item: [item.name.split('/')[whole[0]]], split_words.exact)
    exact = _read(items, lambda item: item.name.split('/')[shared:-1], split_words.exact)
    if exact.without:
        longer = _read(items, lambda item: item.name.split('/')[shared:-1], split_words.within)
        if {'train'} < set(longer.parts):  # else it is a word in the name of some folder
            return longer
        if exact.parts and 'train' not in exact.parts:  # or a person, or a session
            return _Reading({}, {}, [], [])
    if exact.parts or any(item.name.startswith('/') for item in items[:1]):
        return exact  # what is above the user's folder says nothing
    return _read(items, lambda item: item.name.split('/')[:-1], split_words.exact)


def _read(
    items: Iterable[found.Item],
    words_of: Callable[[found.Item], Iterable[str]],
    split_of: Callable[[str], str | None],
) -> _Reading:
    reading = _Reading({}, {}, [], [])
    for item in items:
        named = {word: split for word in words_of(item) if (split := split_of(word))}
        for split in list(named.values())[-1:]:
            reading.parts.setdefault(split, []).append(item)
        if len(set(named.values())) != 1:
            (reading.torn if named else reading.without).append(item)
        reading.words.update(named)
    return reading


def _check(reading: _Reading, what: str) -> None:
    for item in reading.torn[:1]:
        raise InputError(
            f'{item.path} lies in folders of different splits ({_words(reading)}): rename those '
            'that are not its split, or take our own split with --set splits=ours'
        )
    for item in reading.without[:1]:
        if what == 'folders':
            raise InputError(
                f'{item.path} lies in none of the folders {", ".join(reading.words)}, and other '
                'images do: move it into one of them, or out of manual_dir, or take '
                'our own split with --set splits=ours'
            )
        raise InputError(
            f'the list has the split {item.split!r} for {item.name}, and others have '
            f'{_words(reading)}: mend it, or take our own split with --set splits=ours'
        )


def _words(reading: _Reading) -> str:
    words = [
        word if word.lower() == split else f'{word} as {split}'
        for word, split in sorted(reading.words.items())
    ]
    return ', '.join(words[:_SHOWN]) + (', ...' if len(words) > _SHOWN else '')


def _hashed(
    items: Iterable[found.Item], test_fraction: float, seed: int
) -> dict[str, list[found.Item]]:
    """A fixed split by the hash of the person's name, or of the image's where there is none."""
    parts: dict[str, list[found.Item]] = {'train': [], 'test': []}
    for item in items:
        fraction = common.hash_fraction(item.subject or item.name, seed)
        parts['test' if fraction < test_fraction else 'train'].append(item)
    return parts

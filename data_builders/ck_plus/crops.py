"""Crops of CK+ that circulate in folders by class: CK+48, and those of the AGRA benchmark."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from data_builders import corpus, counts, splits, trees
from dmsrl_jax.expressions import EXPRESSIONS

UNITS = 100  # action units by their number
_IMAGE = r'\.(?:png|jpe?g|bmp|tiff?)'
_NAME = re.compile(r'(?P<subject>S\d{3})_(?P<number>\d{3})_\d{8}\.\w+', re.IGNORECASE)
# surprise, fear, disgust, happiness, sadness, anger, neutral
_CK48 = (249, 75, 177, 207, 84, 135, 0)


class Form(NamedTuple):
    """A form of the crops: what it is, its files with the group `word`, its numbers."""

    text: str
    files: str
    counts: tuple[counts.Count, ...]


FORMS = {
    'ck48': Form(
        'CK+48: crops of 48x48 of the last 3 frames in folders by class: 927 images',
        rf'(?P<part>)(?P<word>[^/]+)/(?P<name>S\d{{3}}_\d{{3}}_\d{{8}}{_IMAGE})',
        (
            counts.Count('all images', 927, True),
            counts.Count('images of contempt', 54, True),
            *counts.per_class('all', _CK48, certain=True),
        ),
    ),
    'agra': Form(
        'the crops of the AGRA benchmark in folders by part and class',
        rf'CK\+_(?P<part>Train|Val)_crop/(?P<word>[^/]+)/(?P<name>[^/]+{_IMAGE})',
        (counts.Count('validation images', 129, False),),
    ),
}


def no_units() -> np.ndarray:
    """The action units, int32 [100], of an image that is not coded: -1 for each."""
    return np.full(UNITS, -1, np.int32)


def items(builder: corpus.Builder, tree: trees.Tree) -> Iterator[corpus.Item]:
    """The crops of the builder's protocol, PNG before others, in the order of their names.

    Args:
        builder: told the crops that are left out, and how many are of contempt.
        tree: the user's files.

    Yields:
        The images, named like the frames that they were cut from where the files say that.

    Raises:
        InputError: there are none.
    """
    seen: set[str] = set()
    names: dict[str, str] = {}  # of two crops of one name and different classes none is kept
    for found in sorted(builder.need(tree, FORMS[builder.protocol].files).values(), key=_copied):
        part, word, name = (found.groups[key] for key in ('part', 'word', 'name'))
        stem = name.rpartition('.')[0]
        if (again := f'{part}/{word}/{stem}'.lower()) in seen:
            continue  # in another format
        seen.add(again)
        label = builder.word(word, found.path)
        if label is None:
            builder.found[f'images of {word.lower()}'] += 1
            continue
        frame = _NAME.fullmatch(name)
        subject = frame['subject'].upper() if frame else ''
        sequence = f'{subject}/{frame["number"]}' if frame else ''
        folder = f'{part.capitalize()}/{EXPRESSIONS[label]}' if part else sequence
        yield corpus.Item(
            names.setdefault(f'{folder}/{stem}'.lower(), f'{folder}/{name}'),
            label,
            found.path,
            split=splits.PARTS.get(part.lower(), ''),
            subject=subject,
            extra={'sequence': sequence, 'action_units': no_units()},
        )


def _copied(found: trees.Found) -> bool:
    """Whether it is in another format than the one that circulates."""
    return not found.path.lower().endswith('.png')

"""Base of the builders of licensed corpora: a builder names items, the rest is the same for all."""

import collections
import functools
import math
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from data_builders import (
    archives,
    common,
    distributing,
    faces,
    folders,
    label_codes,
    limits,
    splits,
    trees,
)
from data_builders.counts import Count
from data_builders.items import Item as Item
from dmsrl_jax import expressions
from dmsrl_jax.errors import InputError

OPTIONS: dict[str, tuple[type, Any, str]] = {
    'password': (str, '', 'password of the archives; it is not kept'),
    'on_corrupt': (str, 'error', 'error, or drop: leave what is corrupt out and count it'),
}
_SPLITS = ('train', 'validation', 'test')
_NAMES = {'train': 'train', 'validation': 'val', 'test': 'test'}  # how their files begin
_NUMBERED = re.compile(r'(?:train|test|val)(?:id|idation|ing)?_?\d', re.IGNORECASE)
MISSING = 'listed, but there is no such file'
CONTRADICTED = 'listed with different labels'


def configs(protocols: Mapping[str, str]) -> list[tfds.core.BuilderConfig]:
    """Builder configs of a table of protocols, name to description."""
    return [
        tfds.core.BuilderConfig(name=name, description=text) for name, text in protocols.items()
    ]


def chosen(
    builder: type[tfds.core.DatasetBuilder], protocol: str | None
) -> tfds.core.BuilderConfig:
    """The config of a protocol.

    Args:
        builder: the class.
        protocol: its name, None for the first one.

    Returns:
        One of the builder's configs.

    Raises:
        InputError: no such protocol; the message tells what there is.
    """
    known = {config.name: config for config in builder.BUILDER_CONFIGS}
    name = protocol or next(iter(known))
    if name not in known:
        texts = '\n'.join(f'  {key}: {config.description}' for key, config in known.items())
        raise InputError(f'{builder.name} has no protocol {name!r}; it has\n{texts}')
    return known[name]


def make(
    builder: type['Builder'],
    config_name: str | None,
    options: dict[str, tuple[type, Any, str]],
    values: dict[str, Any],
    **folders: str | os.PathLike[str] | None,
) -> 'Builder':
    """Builds a builder; what every `make_builder` calls.

    Args:
        builder: the class.
        config_name: a protocol, None for the first one.
        options: its table of options.
        values: values given by the user.
        **folders: `data_dir` and `manual_dir`.

    Returns:
        The builder.

    Raises:
        InputError: no such protocol, an unknown option, or a value out of range.
    """
    config = chosen(builder, config_name)
    if values.get('on_corrupt', 'error') not in ('error', 'drop'):
        raise InputError(f'on_corrupt={values["on_corrupt"]!r} must be error or drop')
    if not -0.5 < values.get('margin', 0.0) <= faces.MOST_MARGIN:
        raise InputError(
            f'margin={values["margin"]} must be a finite number above -0.5, at most '
            f'{faces.MOST_MARGIN:g}; 0.1 adds a tenth of the box on each side'
        )
    made = common.make(builder, options, values, config=config, **folders)
    assert isinstance(made, Builder)
    return made


def maker(
    builder: type['Builder'], options: Callable[[], dict[str, tuple[type, Any, str]]]
) -> Callable[..., 'Builder']:
    """The `make_builder` of a builder's module.

    Args:
        builder: the class.
        options: the module's function of that name.

    Returns:
        `(config_name, *, data_dir, manual_dir=None, **values) -> Builder`, see `make`.
    """

    def make_builder(
        config_name: str | None,
        *,
        data_dir: str | os.PathLike[str],
        manual_dir: str | os.PathLike[str] | None = None,
        **values: Any,
    ) -> 'Builder':
        folders = {'data_dir': data_dir, 'manual_dir': manual_dir}
        return make(builder, config_name, options(), values, **folders)

    return make_builder


class Builder(common.CorpusBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base class; a builder gives `items`, and `picture` where an image is not simply a file.

    Attributes:
        COUNTS: protocol to the numbers that the complete corpus should give.
        SPLITS: protocol to the owners' splits, which say in the names of files what is theirs.
        PICTURES: protocol to what its pictures are called, for messages.
        BY_CLASS: whether copies in folders by class are about, which `image_list` reads.
        ADVICE: what to try where most listed pictures are missing, for messages.
        STATE: names of further attributes that `picture` reads.
        found: what is counted beside images: `subjects`, and what `items` counts.
        split_note: where the splits come from, if not from the owners; for the report.
    """

    COUNTS: ClassVar[Mapping[str, tuple[Count, ...]]] = {}
    SPLITS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    PICTURES: ClassVar[Mapping[str, str]] = {}
    BY_CLASS: ClassVar[bool] = False
    ADVICE: ClassVar[str] = ''
    STATE: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.found: collections.Counter[str] = collections.Counter()
        self.split_note = ''

    @property
    def protocol(self) -> str:
        """Name of the config."""
        return self.builder_config.name

    def expected(self) -> tuple[Count, ...]:
        """The counts of this protocol."""
        return self.COUNTS.get(self.protocol, ())

    def items(self, tree: trees.Tree) -> Iterable[Item]:
        """Names the images, in a fixed order; what is left out goes to `drops`."""
        raise NotImplementedError

    def picture(self, tree: trees.Tree, item: Item) -> bytes:
        """Bytes of an item's image file, whole, before the face is cut out."""
        return tree.read(item.path)

    def need(
        self, tree: trees.Tree, pattern: str, *, without: str = '', alike: bool = True
    ) -> dict[str, trees.Found]:
        """`tree.find`, but finding nothing is an InputError that says what was expected."""
        if found := tree.find(pattern, without=without, alike=alike):
            return found
        raise InputError(
            f'{self.name} needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}; found no file like '
            f'{trees.readable(pattern)}; {self.describe(tree)}'
        )

    def describe(self, tree: trees.Tree) -> str:
        """What lies in the user's folder, and whether another builder reads that; for messages."""
        return tree.describe() + (folders.class_folders(tree.files()) if self.BY_CLASS else '')

    def beside(self, where: str, read: Callable[..., Any], *args: Any, without: Any = None) -> Any:
        """Reads what lies beside an image: a box, landmarks, a label in a file of its own.

        Args:
            where: the file, for the list of drops.
            read: reads it; is called with `args`.
            *args: what it needs.
            without: what stands for it where it is left out.

        Returns:
            What it gives; `without` where the file is broken and `on_corrupt=drop` leaves it out.

        Raises:
            InputError: it is broken.
        """
        try:
            return read(*args)
        except limits.LockedError:
            raise
        except InputError as error:
            if self.options.get('on_corrupt') != 'drop':
                raise InputError(f'{error} {distributing.HINT}') from error
            self.drops.add(distributing.BESIDE, where)
            return without

    def keep(self, code: int, order: str, name: str, where: str = '') -> int | None:
        """The canonical label of a corpus's code; notes those that are none of the seven.

        Args:
            code: the owners' number.
            order: a key of `label_codes.ORDERS`.
            name: the image, for the list of drops.
            where: file and line, for messages.

        Returns:
            The label, or None for a known code that is not kept.

        Raises:
            InputError: the order does not have the code.
        """
        try:
            label = label_codes.canonical(code, order)
        except InputError as error:
            raise InputError(f'{where or name}: {error}') from error
        if label is None:
            self.drops.add(f'label {label_codes.ORDERS[order][code]}', name)
        return label

    def word(self, word: str, name: str) -> int | None:
        """The label of a folder's name; notes those that are none of the seven.

        Args:
            word: the name of the folder.
            name: the image, for the list of drops.

        Returns:
            The label, or None.
        """
        try:
            label = expressions.parse(word)
        except InputError:
            self.drops.add(f'in a folder {word!r}, which is no expression', name)
            return None
        if label is None:
            self.drops.add(f'label {word.lower()}', name)
        return label

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        values = {name: default for name, (_, default, _) in OPTIONS.items()} | self.options
        tree = trees.Tree(
            self.source_folder(dl_manager),
            scratch=pathlib.Path(self._data_dir_root),
            password=values['password'],
        )
        items = self._unique(self.items(tree))
        for message in tree.unopened:
            self.drops.add('archive that could not be opened', message)
        missing = self.drops.count(MISSING)
        if not items or missing > len(items):
            advice = f'. {self.ADVICE}' if missing and self.ADVICE else ''
            raise InputError(
                f'{self.name}/{self.protocol} needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}; '
                f'{len(items)} images were found and {self._missing()}; '
                f'left out: {self.drops.summary()}; {self.describe(tree)}{advice}'
            )
        common.check_names((item.file, item.path) for item in items)
        self.total = len(items)
        self.found.setdefault('subjects', len({item.subject for item in items if item.subject}))
        parts, self.split_note = splits.divide(items, self.options)
        self._check_splits(tree, parts)
        if self.workers or self.beam:
            tree.unpack(item.path for item in items)
        return {
            split: self._generate_examples(split, tree, parts[split])
            for split in sorted(parts, key=lambda s: (*_SPLITS, s).index(s))
        }

    def _missing(self) -> str:
        """Which listed images are not there, and what was looked for."""
        count = self.drops.count(MISSING)
        text = f'{count} are listed, but not there'
        if count:
            text += f', the first of them {self.drops.as_dict()[MISSING]["examples"][0]}'
        if pictures := self.PICTURES.get(self.protocol):
            text += f'; files like {pictures} were looked for in all folders'
        return text

    def _check_splits(self, tree: trees.Tree, parts: Mapping[str, Any]) -> None:
        """A split that the user does not have is none; one that is there must not be overlooked."""
        for split in self.SPLITS.get(self.protocol, ()):
            if split in parts:
                continue
            there = tree.find(rf'{_NAMES[split]}[^/]*(?:/.*)?', alike=False)
            for found in filter(_is_of_split, there):
                raise InputError(
                    f'{self.name}/{self.protocol}: no image of the split {split} was found, though '
                    f'there is {found}; it needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}; left out: '
                    f'{self.drops.summary()}; {tree.describe()}. Name folders and archives as '
                    'their owners do, or move what belongs to no split away'
                )

    def _unique(self, items: Iterable[Item]) -> list[Item]:
        """One item of each name; none where a split names it with different labels."""
        listed, first, contradicted = list(items), dict[str, Item](), set[str]()
        for item in listed:
            earlier = first.setdefault(item.file, item)
            if item.split == earlier.split and item.label != earlier.label:
                contradicted.add(item.file)
        kept = []
        for item in listed:
            if item.file in contradicted:
                self.drops.add(CONTRADICTED, item.file)
            elif first[item.file] is item:
                kept.append(item)
            else:
                self.drops.add('listed again', item.file)
        return kept

    def _generate_examples(self, split: str, tree: trees.Tree, items: list[Item]) -> Any:
        make = functools.partial(_keyed, self, tree)
        return distributing.examples(self, split, items, make, name=lambda item: item.file)

    def __getstate__(self) -> dict[str, Any]:
        """What reading an item needs: builders travel to the processes that read."""
        names = ('options', 'whole_pictures', '_builder_config', *self.STATE)
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def example(self, tree: trees.Tree, item: Item) -> dict[str, Any]:
        """Reads one item, perhaps in another process: `STATE` names the attributes there are.

        Args:
            tree: the user's files.
            item: the image.

        Returns:
            The record; with `whole_pictures`, its box and landmarks beside the whole picture.

        Raises:
            InputError: the image is corrupt, or its box is not finite or lies outside of it.
            common.LeftOut: the builder does not want it.
        """
        if item.box is not None and not all(map(math.isfinite, item.box)):
            raise InputError(f'{item.file}: the box {item.box} is not made of finite numbers')
        data, extra = self.picture(tree, item), dict(item.extra)
        if self.whole_pictures:
            extra |= {'box': item.box} if item.box is not None else {}
            extra |= {'landmarks': item.points} if item.points else {}
        elif item.box is not None:
            margin = self.options.get('margin', faces.OPTIONS['margin'][1])
            data = faces.cut(data, item.box, margin, name=item.path)
        data = common.stored_bytes(data, item.path)
        return common.record(data, item.label, item.file, item.subject, **extra)


def _is_of_split(name: str) -> bool:
    """Whether what begins like a split is its own: a folder, an archive or a numbered picture."""
    return '/' in name or bool(archives.kind_of(name) or _NUMBERED.match(name))


def _keyed(builder: Builder, tree: trees.Tree, item: Item) -> tuple[str, dict[str, Any]]:
    return item.file, builder.example(tree, item)

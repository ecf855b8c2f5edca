"""What the builders share: the record, drops that are counted, checking images."""

import collections
import hashlib
import io
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from PIL import Image, ImageOps

from data_builders.folders import describe as describe
from data_builders.folders import find_files as find_files
from data_builders.folders import is_junk as is_junk
from data_builders.folders import listing as listing
from dmsrl_jax.data import images
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS

_EXAMPLES = 5
# Formats that every reader of the prepared corpus knows; MPO is a JPEG with a second picture.
_KEPT = ('JPEG', 'MPO', 'PNG')
_PNG_MODES = ('1', 'L', 'LA', 'P', 'RGB', 'RGBA', 'I;16')  # of others Pillow clips or fails


class LeftOut(Exception):
    """Raised while an item is read: it is left out, and counted under the message as reason."""


class Drops:
    """Counts what a builder leaves out, by reason, with a few names each."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}
        self._counts: collections.Counter[str] = collections.Counter()

    def add(self, reason: str, name: str) -> None:
        """Notes that the image or row `name` is left out; names that are not UTF-8 are escaped."""
        self._counts[reason] += 1
        if self._counts[reason] <= _EXAMPLES:
            text = name.encode(errors='backslashreplace').decode()
            self._names.setdefault(reason, []).append(text)

    def __len__(self) -> int:
        return self._counts.total()

    def count(self, reason: str) -> int:
        """How many were left out for a reason."""
        return self._counts[reason]

    def summary(self) -> str:
        """Numbers and reasons in one line, for messages."""
        return ', '.join(f'{n} {reason}' for reason, n in self._counts.most_common()) or 'none'

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """`{reason: {'count': n, 'examples': up to five names}}`, most frequent first."""
        return {
            reason: {'count': count, 'examples': self._names[reason]}
            for reason, count in self._counts.most_common()
        }


class CorpusBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Base of the builders: `array_record` files, the common record, options and drops.

    Attributes:
        options: option name to value, see each builder's `options()`.
        manual_dir: the folder with the user's files, or None to take TFDS's own manual folder.
        drops: what was left out so far.
        total: number of images to come at most, once known (for progress bars).
        EXTRA: features of the corpus beside the common record; training never looks at them.
        workers, beam: where examples are made, see `distributing.examples`.
        whole_pictures: whether faces are cut out afterwards: examples then hold the owners' whole
            picture and, where they ship them, `box` and `landmarks` (see `aligning.Aligner`).
    """

    VERSION = tfds.core.Version('1.0.0')
    RELEASE_NOTES: ClassVar = {'1.0.0': 'First release.'}
    IMAGE_SHAPE: tuple[int | None, int | None, int] = (None, None, 3)
    EXTRA: ClassVar[dict[str, Any]] = {}

    def __init__(
        self,
        *,
        options: dict[str, Any] | None = None,
        manual_dir: str | os.PathLike[str] | None = None,
        file_format: Any = None,
        **kwargs: Any,
    ):
        super().__init__(file_format=file_format or 'array_record', **kwargs)
        self.options = options or {}
        self.manual_dir = manual_dir
        self.drops = Drops()
        self.total: int | None = None
        self.workers, self.beam = 0, False
        self.whole_pictures = False

    def _create_builder_config(self, builder_config: Any, version: Any) -> Any:
        # The library warns of configs that it does not know; here they are names that users choose.
        if isinstance(builder_config, tfds.core.BuilderConfig):
            return builder_config
        return super()._create_builder_config(builder_config, version)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    'image': tfds.features.Image(shape=self.IMAGE_SHAPE),
                    'label': tfds.features.ClassLabel(names=EXPRESSIONS),
                    'file': tfds.features.Text(),
                    'subject': tfds.features.Text(),
                    **self.EXTRA,
                }
            ),
            supervised_keys=('image', 'label'),
        )

    def source_folder(self, dl_manager: Any) -> pathlib.Path:
        """The folder with the user's files, checked.

        Args:
            dl_manager: TFDS's download manager, asked where no `manual_dir` was given.

        Returns:
            The folder.

        Raises:
            InputError: it does not exist, is no folder or is empty.
        """
        needs = f'{self.name} needs {self.MANUAL_DOWNLOAD_INSTRUCTIONS}'
        if self.manual_dir is None:
            try:
                return pathlib.Path(dl_manager.manual_dir)
            except AssertionError as error:
                raise InputError(f'{needs}; say where with --manual_dir DIR') from error
        folder = pathlib.Path(self.manual_dir).expanduser()
        if not folder.is_dir():
            what = 'is a file; give the folder it is in' if folder.exists() else 'does not exist'
            raise InputError(f'--manual_dir {folder} {what}. {needs}')
        if not listing(folder):
            raise InputError(f'--manual_dir {folder} is empty. {needs}')
        return folder


def hash_fraction(key: str, seed: int) -> float:
    """A number in [0, 1) that depends on `key` and `seed` alone: the same on every machine."""
    digest = hashlib.blake2b(f'{seed}:{key}'.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'big') / 2**64


def check_names(names: Iterable[tuple[str, str | os.PathLike[str]]]) -> None:
    """Refuses images whose names are no text: a record could not hold them.

    Args:
        names: for each image its name in the record and its file.

    Raises:
        InputError: a name is not UTF-8.
    """
    for name, path in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f'the name of the image {os.fspath(path)!r} is not UTF-8: rename it (if it is in '
                'an archive, unpack that first)'
            ) from error


def digest(data: bytes) -> bytes:
    """A fingerprint of some bytes."""
    return hashlib.blake2b(data, digest_size=16).digest()


def stored_bytes(data: bytes, name: str) -> bytes:
    """Checks an image by decoding it; JPEG and PNG stay as they are, all others become PNG.

    Args:
        data: the bytes of an image file.
        name: its path, for messages.

    Returns:
        The bytes to store.

    Raises:
        InputError: not an image, cut short, or a decompression bomb.
    """
    images.decode(data, 8, name=name)
    with images.opened(data) as image:
        if image.format in _KEPT:
            return data
        return png(ImageOps.exif_transpose(image))


def png(image: Image.Image) -> bytes:
    """Encodes an image as PNG, with 8 bits where PNG does not know its mode (CMYK, I;16B, ...).

    Without compression: it would save a half of the bytes at best, and cost half of the time that
    training takes to decode them.
    """
    out = io.BytesIO()
    png_mode(image).save(out, 'PNG', compress_level=0)
    return out.getvalue()


def png_mode(image: Image.Image) -> Image.Image:
    """The image itself if PNG knows its mode, else with 8 bits."""
    return image if image.mode in _PNG_MODES else images.eight_bits(image)


def record(image: bytes, label: int, file: str, subject: str = '', **extra: Any) -> dict[str, Any]:
    """One example of the common form, and the corpus's own values beside it.

    Args:
        image: bytes of an image file.
        label: canonical label 0..6, or `expressions.NO_LABEL`.
        file: the owners' name of the image.
        subject: the person; empty where not known.
        **extra: values of the builder's `EXTRA` features.

    Returns:
        The example.
    """
    return {'image': image, 'label': label, 'file': file, 'subject': subject, **extra}


def make(
    builder: type[CorpusBuilder],
    options: dict[str, tuple[type, Any, str]],
    values: dict[str, Any],
    **kwargs: Any,
) -> CorpusBuilder:
    """Builds a builder from its table of options; what `make_builder` functions call.

    Args:
        builder: the class.
        options: its table of options: (type, default, help) by name.
        values: values given by the user.
        **kwargs: passed to the class.

    Returns:
        The builder, with `options` filled up by the defaults.

    Raises:
        InputError: an option that the builder does not have.
    """
    for name in values:
        if name not in options:
            known = ', '.join(f'{key} ({text})' for key, (_, _, text) in options.items())
            raise InputError(f'unknown option {name!r}; this builder knows: {known or "none"}')
    defaults = {name: default for name, (_, default, _) in options.items()}
    return builder(options=defaults | values, **kwargs)


def checked_examples(
    split: str, examples: Iterator[tuple[Any, dict[str, Any]]], drops: Drops
) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Passes examples on and refuses a split from which nothing is left."""
    empty = True
    for example in examples:
        empty = False
        yield example
    if empty:
        raise InputError(f'no image is left in split {split!r}; left out: {drops.summary()}')

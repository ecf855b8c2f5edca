"""Prepared corpora: where they lie, and random access to their records.

`experiments/prepare.py` writes them, TensorFlow Datasets' `array_record` files without TensorFlow;
images come back as the encoded bytes that were stored.
"""

import json
import logging
import os
import pathlib
import re
from typing import Any

import numpy as np

from dmsrl_jax.data.registry import builder_module as builder_module
from dmsrl_jax.data.registry import default_data_dir as default_data_dir
from dmsrl_jax.data.registry import missing_message as missing_message
from dmsrl_jax.data.registry import registered as registered
from dmsrl_jax.errors import InputError

REPORT, LABELS = 'report.json', 'labels.npz'
_LOG = logging.getLogger(__name__)
_REPAIR = '%s is damaged (%s): %s; prepare the corpus again with --overwrite'
_VERSION = re.compile(r'\d+\.\d+\.\d+')


def import_readers() -> None:
    """Imports what reads records; several threads that do so at once may wait for each other."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    del tf_example_pb2
    assert tfds.builder_from_directory  # a lazy module loads at its first use


def _latest(folder: pathlib.Path) -> pathlib.Path | None:
    """The newest complete version below a corpus's folder."""
    if not folder.is_dir():
        return None
    versions = [
        path
        for path in folder.iterdir()
        if _VERSION.fullmatch(path.name) and (path / 'dataset_info.json').is_file()
    ]
    return max(versions, key=lambda p: [int(n) for n in p.name.split('.')], default=None)


def prepared(data_dir: str | os.PathLike[str] | None = None) -> dict[str, pathlib.Path]:
    """Finds the corpora that are ready to use.

    Args:
        data_dir: where prepared corpora lie; None for `default_data_dir()`.

    Returns:
        Name (`<corpus>` or `<corpus>/<config>`) to folder, sorted by name.
    """
    root = pathlib.Path(data_dir).expanduser() if data_dir else default_data_dir()
    found = {}
    for folder in sorted([*root.glob('[!.]*'), *root.glob('[!.]*/[!.]*')]):
        if not _VERSION.fullmatch(folder.name) and (latest := _latest(folder)):
            found[folder.relative_to(root).as_posix()] = latest
    return found


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> tuple[str, pathlib.Path]:
    """Finds one prepared corpus.

    Args:
        name: `<corpus>/<config>`, or `<corpus>` where it has no configs, one prepared config, or
            one called `default`.
        data_dir: where prepared corpora lie; None for `default_data_dir()`.

    Returns:
        The full name and the folder.

    Raises:
        InputError: it is not prepared (the message says how to), or the name is ambiguous.
    """
    corpora = prepared(data_dir)
    configs = [other for other in corpora if other.startswith(f'{name}/')]
    for full in (name, f'{name}/default', *(configs if len(configs) == 1 else ())):
        if full in corpora:
            return full, corpora[full]
    if configs:
        raise InputError(f'corpus {name!r} is prepared several times: say {" or ".join(configs)}')
    raise InputError(missing_message(name, data_dir))


def splits(folder: str | os.PathLike[str]) -> dict[str, int]:
    """Splits of a prepared corpus and their numbers of images.

    Args:
        folder: its folder, see `find`.

    Raises:
        InputError: it is damaged.
    """
    info = _builder(pathlib.Path(folder)).info
    return {name: split.num_examples for name, split in info.splits.items()}


def report(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads what the builder found: options, images and classes per split, drops.

    Args:
        folder: a prepared corpus's folder, see `find`.

    Returns:
        The content of its `report.json`; empty if there is none, or a damaged one (a warning
        says so: the corpus itself can be used).
    """
    path = pathlib.Path(folder) / REPORT
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
        return dict(found)
    except (ValueError, TypeError) as error:  # no JSON, no text, or another kind of JSON
        _LOG.warning(_REPAIR, path, error, 'it is left out')
        return {}


def load(name: str, split: str, *, data_dir: str | os.PathLike[str] | None = None) -> 'Corpus':
    """Opens one split of a prepared corpus.

    Args:
        name: `<corpus>` or `<corpus>/<config>`, see `find`.
        split: `train`, `test`, ..., `all` for all of them, sums such as `train+test`, slices such
            as `train[:90%]`. `test` is `validation` where the owners keep the test labels to
            themselves and there is no `test`.
        data_dir: where prepared corpora lie; None for `default_data_dir()`.

    Returns:
        The corpus; its `split` says what was taken.

    Raises:
        InputError: it is not prepared, damaged, has no such split, or the split is empty.
    """
    full, folder = find(name, data_dir)
    if split == 'test' and 'validation' in (splits := _builder(folder).info.splits):
        split = 'test' if 'test' in splits else 'validation'
    return Corpus(full, split, folder)


class Corpus:
    """Random access to the records of one split; can be pickled (for worker processes).

    Attributes:
        name: full name, `<corpus>` or `<corpus>/<config>`.
        split: as given to `load`.
        folder: where the files lie.
    """

    def __init__(self, name: str, split: str, folder: str | os.PathLike[str]):
        self.name, self.split, self.folder = name, split, pathlib.Path(folder)
        self._source: Any = None
        self._labels: np.ndarray | None = None
        self._length = len(self._open())

    def __len__(self) -> int:
        """Number of images."""
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One record: `image` (encoded bytes), `label`, `file`, `subject`, and what else there is.

        A label is 0..6, or `expressions.NO_LABEL` in a corpus without labels. The corpus's own
        values, such as `valence` or `votes`, are numbers, texts or arrays.
        """
        record = self._read(self._open(), index)
        return {key: value if key == 'image' else _plain(value) for key, value in record.items()}

    def encoded(self, index: int) -> bytes:
        """The image file of one record alone: a third of the time that the whole record takes."""
        from tensorflow_datasets.proto import tf_example_pb2

        example = tf_example_pb2.Example.FromString(self._read(self._open().data_source, index))
        return example.features.feature['image'].bytes_list.value[0]

    def __repr__(self) -> str:
        return f'Corpus({self.name!r}, {self.split!r})'

    def __getstate__(self) -> dict[str, Any]:
        """Leaves open files out."""
        return self.__dict__ | {'_source': None}

    def labels(self) -> np.ndarray:
        """All labels, int32 [N], in the order of the records (stored: no image is read)."""
        if self._labels is None:
            stored = self._stored_labels()
            if stored is None or len(stored) != len(self):
                stored = np.asarray([self[i]['label'] for i in range(len(self))], np.int32)
            self._labels = stored
        return self._labels

    def _read(self, source: Any, index: int) -> Any:
        index = int(index)
        if not -self._length <= index < self._length:
            raise IndexError(f'{self!r} has {self._length} images, asked for number {index}')
        try:
            return source[index % self._length]
        except Exception as error:  # a cut or overwritten file: the record reader's own kinds
            raise _damaged(self.folder, error) from error

    def _open(self) -> Any:
        if self._source is None:
            import_readers()
            import tensorflow_datasets as tfds

            builder = _builder(self.folder)
            _check_split(self.split, builder.info.splits, self.name)
            decoders = {'image': tfds.decode.SkipDecoding()}
            try:
                self._source = builder.as_data_source(split=self.split, decoders=decoders)
            except Exception as error:  # the record reader's own kinds
                raise _damaged(self.folder, error) from error
        return self._source

    def _stored_labels(self) -> np.ndarray | None:
        path = self.folder / LABELS
        if not path.is_file():
            return None
        parts = _instructions(self.split, _builder(self.folder).info.splits)
        try:
            with path.open('rb') as file:  # which numpy would leave open where it fails
                stored = np.load(file)
                found = [stored[part.splitname][part.from_ : part.to] for part in parts]
            return np.concatenate(found)
        except Exception as error:  # whatever a cut or foreign file makes the reader raise
            _LOG.warning(_REPAIR, path, error, 'labels are read from the images, which takes time')
            return None


def shared(first: Corpus, second: Corpus) -> int:
    """Number of images that lie in both; none do in two corpora, whatever their pictures show."""
    if first.folder != second.folder:
        return 0
    splits = _builder(first.folder).info.splits
    taken, other = (_ranges(corpus.split, splits) for corpus in (first, second))
    return len(
        {(name, i) for name, part in taken for i in part}.intersection(
            (name, i) for name, part in other for i in part
        )
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.generic | np.ndarray):
        return value if value.ndim else value.item()
    return value


def _builder(folder: pathlib.Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(folder)
    except Exception as error:  # whatever a cut or foreign file makes the library raise
        raise _damaged(folder, error) from error


def _damaged(folder: pathlib.Path, error: Exception) -> InputError:
    return InputError(
        f'the prepared corpus in {folder} is damaged ({type(error).__name__}: {error}); '
        'prepare it again with --overwrite'
    )


def _instructions(split: str, splits: Any) -> Any:
    import tensorflow_datasets as tfds

    return tfds.core.splits.AbstractSplit.from_spec(split).to_absolute(splits)


def _ranges(split: str, splits: Any) -> list[tuple[str, range]]:
    """The numbers of a split's records, by the owners' splits that it is cut out of."""
    parts = _instructions(split, splits)
    whole = lambda name: range(splits[name].num_examples)
    return [(p.splitname, whole(p.splitname)[p.from_ : p.to]) for p in parts]


def _check_split(split: str, splits: Any, name: str) -> None:
    try:
        ranges = _ranges(split, splits)
    except Exception as error:  # ValueError, KeyError, AssertionError, by the kind of mistake
        raise InputError(
            f'corpus {name!r} has no split {split!r}; it has {", ".join(splits)}, all, and slices '
            f'such as {min(splits)}[:90%]; a run takes them as source_split, source_test_split, '
            'target_split and target_test_split of its config'
        ) from error
    if not any(part for _, part in ranges):
        raise InputError(f'split {split!r} of corpus {name!r} has no images')

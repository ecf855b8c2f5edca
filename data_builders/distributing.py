"""How the examples of a split are made: here, on several processes, or by Apache Beam."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from data_builders import common, limits
from dmsrl_jax.data import parallel
from dmsrl_jax.errors import InputError

Example = tuple[Any, dict[str, Any]]
INSTALL = 'pip install apache-beam'
HINT = '(--set on_corrupt=drop leaves it out)'
BESIDE = 'corrupt file beside an image'
BROKEN = '_broken'  # key of an example: files beside its image that it was made without


def examples(
    builder: Any,
    split: str,
    items: Sequence[Any],
    make: Callable[[Any], Example],
    *,
    name: Callable[[Any], str] = str,
) -> Any:
    """Examples of one split, made where the builder is told to: what `_split_generators` gives.

    Args:
        builder: its `workers` and `beam` say how; `drops` is told what is left out, and the option
            `on_corrupt` says whether a bad image is left out or ends the build.
        split: name of the split, for messages.
        items: one for each example, small; they travel between processes.
        make: makes key and example of an item, raises InputError for a bad image,
            `common.LeftOut` for one that is not wanted. A function of a module, or a
            `functools.partial` of one, so that it can travel.
        name: what to call an item among the drops.

    Returns:
        An iterator of key and example in the order of the items, or a Beam transform.

    Raises:
        InputError: while iterating, a bad image, or nothing is left in the split.
    """
    if getattr(builder, 'beam', False):
        return _transform(split, items, make)
    # A builder that cannot leave anything out has no drops.
    drops = getattr(builder, 'drops', None)
    drops = common.Drops() if drops is None else drops
    drop = getattr(builder, 'options', {}).get('on_corrupt') == 'drop'
    made = parallel.ordered(functools.partial(_tried, make), items, workers=builder.workers)
    return common.checked_examples(split, _good(items, made, drops, drop, name), drops)


def _good(
    items: Sequence[Any],
    made: Iterator[Example | InputError | common.LeftOut],
    drops: common.Drops,
    drop: bool,
    name: Callable[[Any], str],
) -> Iterator[Example]:
    for item, example in zip(items, made, strict=True):
        if isinstance(example, common.LeftOut):
            drops.add(str(example), name(item))
        elif not isinstance(example, InputError):
            for path in example[1].pop(BROKEN, ()):
                drops.add(BESIDE, path)
            yield example
        elif drop:
            drops.add('corrupt image', name(item))
        else:
            raise InputError(f'{example} {HINT}') from example


def _tried(make: Callable[[Any], Example], item: Any) -> Example | InputError | common.LeftOut:
    try:
        return make(item)
    except limits.LockedError:
        raise
    except (InputError, common.LeftOut) as error:
        return error


def _whole(make: Callable[[Any], Example], item: Any) -> Example:
    try:
        return make(item)
    except common.LeftOut as reason:
        raise InputError(
            f'{item} is to be left out ({reason}), which Apache Beam cannot count; use --workers'
        ) from reason


def _transform(split: str, items: Sequence[Any], make: Callable[[Any], Example]) -> Any:
    import apache_beam

    return (
        f'items of {split}' >> apache_beam.Create(items)
        | f'spread {split}' >> apache_beam.Reshuffle()
        | f'examples of {split}' >> apache_beam.Map(functools.partial(_whole, make))
    )


def beam_config(text: str) -> Any:
    """How TFDS runs Beam: a download config for `download_and_prepare`.

    Args:
        text: pipeline options, `key=value` or `key`, separated by commas, as TFDS's own
            `--beam_pipeline_options` takes them; `runner=DirectRunner` runs on this machine.

    Returns:
        A `tfds.download.DownloadConfig`.

    Raises:
        InputError: Beam is not installed, or does not take an option.
    """
    try:
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise InputError(f'--beam_pipeline_options needs Apache Beam: {INSTALL}') from error
    import tensorflow_datasets as tfds

    words = [f'--{word.strip()}' for word in text.split(',') if word.strip()]
    try:
        options = pipeline_options.PipelineOptions(words)
        options.get_all_options()
    except (SystemExit, ValueError) as error:
        raise InputError(f'Apache Beam does not take {text!r}: {error}') from error
    return tfds.download.DownloadConfig(beam_options=options)

"""Runs a builder so that a corpus is either complete, with its report, or not there at all."""

import contextlib
import io
import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from data_builders import aligning, counts, distributing, spilling, staging
from data_builders.options import describe_options as describe_options
from data_builders.options import typed_options as typed_options
from data_builders.progress import Progress as Progress
from dmsrl_jax.data import corpora, faces
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS, NO_LABEL


def prepare(
    name: str,
    options: Mapping[str, Any],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    strict: bool = False,
    progress: Callable[[str, int | None], Any] | None = None,
    align: faces.Settings | None = None,
    workers: int = 0,
    beam: str = '',
) -> tuple[pathlib.Path, dict[str, Any], bool]:
    """Builds a corpus beside its final place and moves it there when it is complete.

    Args:
        name: `<corpus>` or `<corpus>/<config>`.
        options: all options of the builder, see `typed_options`.
        data_dir: where prepared corpora lie; None for `corpora.default_data_dir()`.
        manual_dir: the folder with the user's files, for builders that need some.
        overwrite: whether to replace a corpus that is there already.
        strict: whether a certain count that differs is an error; if not, the report says so.
        progress: called with (name, images to come or None); gives an object with `update()` and
            `close()`.
        align: how to cut the faces out of the images; None leaves the images as they are.
        workers: processes that read and cut; 0 for none beside this one. The result is the same.
        beam: pipeline options of Apache Beam, see `distributing.beam_config`; empty: without it.

    Returns:
        Folder, report, and whether it was built now (False: it was there with these options).

    Raises:
        InputError: files that are missing or wrong, a corpus with other options that is in the
            way, no permission or no space to write, `strict` and an incomplete corpus.
    """
    module, (corpus, _, config) = corpora.builder_module(name), name.partition('/')
    root = pathlib.Path(data_dir).expanduser() if data_dir else corpora.default_data_dir()
    source = str(pathlib.Path(manual_dir).expanduser().resolve()) if manual_dir else None
    chosen = {**_kept(options), **({'align': aligning.as_text(align)} if align else {})}
    with staging.write_errors(root), staging.folder(root, name.replace('/', '_')) as work:
        builder = module.make_builder(
            config or None, data_dir=str(work), manual_dir=source, **options
        )
        built = pathlib.Path(builder.data_dir)
        final = root / built.relative_to(work)
        if (final / 'dataset_info.json').exists() and not overwrite:
            corpora.splits(final)  # refuses a damaged one
            report = _same(final, chosen, source, defaults=typed_options(name, {}))
            _require(strict, report)
            return final, report, False
        _check_source(name, module, source, root)
        start = time.perf_counter()
        aligner = (
            aligning.Aligner(align, cache=root / aligning.CACHE, workers=workers) if align else None
        )
        if beam:
            _build_with_beam(builder, beam, aligner)
        else:
            _build(builder, progress, aligner, workers)
        report = {
            'corpus': '/'.join(built.relative_to(work).parts[:-1]) or corpus,
            'options': chosen,
            'manual_dir': source,
            'seconds': round(time.perf_counter() - start, 1),
            'splits': _count(built),
            'split_note': getattr(builder, 'split_note', ''),
            'label_note': getattr(builder, 'label_note', ''),
            'drops': builder.drops.as_dict() if hasattr(builder, 'drops') else {},
        }
        measured = counts.measure(report['splits'], getattr(builder, 'found', {}))
        expected = builder.expected() if hasattr(builder, 'expected') else ()
        report['counts'] = counts.compare(expected, measured)
        _require(strict, report)
        if aligner:
            report['faces'] = aligner.report()
            (built / aligning.WITHOUT).write_text('\n'.join([*aligner.without, '']))
        (built / corpora.REPORT).write_text(json.dumps(report, indent=2) + '\n')
        _replace(built, final, work)
        return final, report, True


def _kept(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the report keeps them: a password is nobody else's business."""
    return {name: value for name, value in options.items() if name != 'password'}


def _require(strict: bool, report: Mapping[str, Any]) -> None:
    if strict:
        counts.require(report.get('corpus', 'the corpus'), report.get('counts', []))


def _same(
    final: pathlib.Path,
    options: Mapping[str, Any],
    source: str | None,
    *,
    defaults: Mapping[str, Any],
) -> dict[str, Any]:
    """The report of a corpus that is there, if it was built in the same way.

    An option that its builder did not have yet counts as left at its default.
    """
    report = corpora.report(final)
    options = {'align': None, **options}
    old = {'align': None, **defaults, **report.get('options', options)}
    differ = [f'{k}={old.get(k)!r}, now {v!r}' for k, v in options.items() if old.get(k) != v]
    if source and report.get('manual_dir', source) != source:
        differ.append(f'manual_dir={report["manual_dir"]}, now {source}')
    if differ:
        raise InputError(
            f'{final} is there already, prepared with {"; ".join(differ)}. Pass --overwrite to '
            'replace it'
        )
    return report or {'splits': _count(final, keep=False), 'drops': {}, 'options': options}


def _check_source(name: str, module: Any, source: str | None, root: pathlib.Path) -> None:
    if getattr(module, 'NEEDS', '') and source is None:
        raise InputError(corpora.missing_message(name, root))


def _build(
    builder: Any,
    progress: Callable[[str, int | None], Any] | None,
    aligner: aligning.Aligner | None,
    workers: int,
) -> None:
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # it draws several; ours is one
    if aligner:
        split_generators = aligner.attach(builder)
    else:
        split_generators, builder.workers = builder._split_generators, workers
    with contextlib.ExitStack() as stack:

        def watched(dl_manager: Any) -> dict[str, Any]:
            generators = split_generators(dl_manager)
            if progress is None:
                return generators
            bar = progress(builder.name, getattr(builder, 'total', None))
            stack.callback(bar.close)
            return {split: _counted(examples, bar) for split, examples in generators.items()}

        builder._split_generators = watched
        stack.enter_context(spilling.plain_files())
        with contextlib.redirect_stdout(io.StringIO()):  # two banners about downloads
            builder.download_and_prepare()


def _build_with_beam(builder: Any, beam: str, aligner: aligning.Aligner | None) -> None:
    if aligner:
        raise InputError('--align and --beam_pipeline_options do not go together; use --workers')
    if not hasattr(builder, 'beam'):
        raise InputError(f'{builder.name} cannot be built by Apache Beam; use --workers')
    if getattr(builder, 'options', {}).get('on_corrupt') == 'drop':
        raise InputError('on_corrupt=drop counts what it leaves out, which Apache Beam cannot')
    builder.beam, config = True, distributing.beam_config(beam)
    with contextlib.redirect_stdout(io.StringIO()):  # two banners about downloads
        builder.download_and_prepare(download_config=config)


def _counted(examples: Iterator[Any], bar: Any) -> Iterator[Any]:
    for example in examples:
        yield example
        bar.update()


def _count(folder: pathlib.Path, *, keep: bool = True) -> dict[str, dict[str, Any]]:
    """Counts what was written by reading it back; keeps the labels beside the data."""
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(folder).info.splits
    labels: dict[str, Any] = {
        split: corpora.Corpus(folder.name, split, folder).labels() for split in splits
    }
    if keep:
        np.savez(folder / corpora.LABELS, **labels)
    return {
        split: {
            'images': len(codes),
            'classes': None if np.all(codes == NO_LABEL) else _classes(codes),
        }
        for split, codes in labels.items()
    }


def _classes(codes: np.ndarray) -> dict[str, int]:
    return {word: int(np.sum(codes == i)) for i, word in enumerate(EXPRESSIONS)}


def _replace(built: pathlib.Path, final: pathlib.Path, work: pathlib.Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        final.rename(work / 'replaced')
    built.rename(final)

"""What `experiments/prepare.py` prints: tables, lists, help, and what to type next."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import python_command
from dmsrl_jax.expressions import EXPRESSIONS

_LISTED = 4


def summary(folder: pathlib.Path, report: dict[str, Any]) -> str:
    """The report as a table: images per class and split, drops, counts, where it lies."""
    from data_builders import counts

    splits = report['splits']
    widths = [max(10, *map(len, splits)), *(max(7, len(word)) for word in EXPRESSIONS), 7]
    lines = [_row(['split', *EXPRESSIONS, 'images'], widths)]
    for split, found in splits.items():
        classes = found['classes'] or dict.fromkeys(EXPRESSIONS, '-')
        cells = [split, *(classes[word] for word in EXPRESSIONS), found['images']]
        lines.append(_row(cells, widths))
    if is_unlabelled(report):
        lines.append('no labels: a corpus to adapt to, not to learn from or to test on')
    drops = report['drops'].items()
    total = sum(found['count'] for _, found in drops)
    lines.append(f'left out: {total or "nothing"}')
    for reason, found in drops:
        examples = ', '.join(found['examples'])
        more = ', ...' if found['count'] > len(found['examples']) else ''
        lines.append(f'  {found["count"]:6d}  {reason}: {examples}{more}')
    lines += counts.describe(report.get('counts', []))
    if report.get('label_note'):
        lines.append(f'labels: {report["label_note"]}')
    if report.get('split_note'):
        lines.append(f'split: {report["split_note"]}')
    if 'faces' in report:
        from data_builders import aligning

        lines += aligning.describe(report['faces'])
    seconds = f', built in {report["seconds"]} s' if 'seconds' in report else ''
    lines.append(f'lies in {folder}{seconds}')
    return '\n'.join(lines)


def _row(cells: Sequence[Any], widths: Sequence[int]) -> str:
    first, *rest = (str(cell) for cell in cells)
    columns = [first.ljust(widths[0])]
    columns += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return '  '.join(columns)


def is_unlabelled(report: Mapping[str, Any]) -> bool:
    """Whether a corpus's report says that its images have no labels."""
    return any(found['classes'] is None for found in report.get('splits', {}).values())


def next_command(name: str, data_dir: str | None) -> str:
    """What to type next: train on this corpus and another one, or prepare another one."""
    prepared = corpora.prepared(data_dir)
    unlabelled = {key for key, path in prepared.items() if is_unlabelled(corpora.report(path))}
    drawn = name.startswith('synthetic')
    sources = [
        other
        for other in prepared
        # Drawn faces and photographs are far apart: no pair to begin with.
        if other not in {name, *unlabelled} and other.startswith('synthetic') == drawn
    ]
    where = f' --data_dir {data_dir}' if data_dir else ''
    if sources:
        pair = f'{sources[0]},{name}'
    elif name not in unlabelled and unlabelled and not drawn:
        pair = f'{name},{min(unlabelled)}'
    else:
        other = 'image_list/NAME --manual_dir DIR'
        if drawn:
            other = f'synthetic_faces/{"studio" if name.endswith("/wild") else "wild"}'
        command = f'{python_command()} experiments/prepare.py --corpus {other}{where}'
        return f'next: prepare a second corpus, {command}'
    data = f' --config.data_dir={data_dir}' if data_dir else ''
    return (
        f'next: {python_command()} experiments/train.py '
        f'--config experiments/configs/pair.py:{pair} '
        f'--workdir runs/{pair.replace("/", "_").replace(",", "-")}{data}'
    )


def listing(data_dir: str | None) -> str:
    """All corpora with a builder, and those that are prepared with their numbers of images."""
    lines = ['can be prepared (--corpus NAME, details: --help_corpus):']
    lines += [f'  {_with_protocols(name)}' for name in corpora.registered()]
    lines.append(f'prepared in {data_dir or corpora.default_data_dir()}:')
    for name, folder in corpora.prepared(data_dir).items():
        report = corpora.report(folder)
        splits = report.get('splits', {}).items()
        counts = ', '.join(f'{split} {found["images"]}' for split, found in splits)
        labels = ' (no labels)' if is_unlabelled(report) else ''
        lines.append(f'  {name}: {counts or folder}{labels}')
    return '\n'.join(lines)


def _with_protocols(name: str) -> str:
    protocols = getattr(corpora.builder_module(name), 'PROTOCOLS', {})
    more = f', ... ({len(protocols)} in all)' if len(protocols) > _LISTED else ''
    names = ', '.join(list(protocols)[:_LISTED])
    return f'{name}: {names}{more}' if protocols else name


def help_text(name: str) -> str:
    """A builder's README, protocols and options; InputError for a protocol that it has not."""
    from data_builders import corpus, preparing

    module = corpora.builder_module(name)
    protocols = getattr(module, 'PROTOCOLS', {})
    if protocols:
        corpus.chosen(module.Builder, name.partition('/')[2])
    readme = pathlib.Path(module.__file__ or '').with_name('README.md')
    command = f'{python_command()} experiments/prepare.py --corpus {name}'
    command += '[/PROTOCOL]' if protocols and '/' not in name else ''
    command += ' --manual_dir DIR' if getattr(module, 'NEEDS', '') else ''
    lines = ['', f'Command: {command} [--set option=value ...]']
    lines += ['Its protocols, the first one if none is named:'] if protocols else []
    lines += [f'  {key}: {text}' for key, text in protocols.items()]
    lines.append(preparing.describe_options(module.options()))
    text = readme.read_text().replace('python experiments/', f'{python_command()} experiments/')
    return text + '\n'.join(lines)

"""The report of a prepared corpus as one HTML page that needs no other file."""

import base64
import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmsrl_jax.data.survey import Copies, Survey
from dmsrl_jax.expressions import EXPRESSIONS

_EDGES = (32, 48, 64, 100, 112, 160, 224, 350, 512, 1024)
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1e1e1e; margin: 2rem auto; max-width: 72rem;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; }
.wide { overflow-x: auto; margin: .6rem 0; }
th, td { padding: .2rem .7rem; text-align: left; border-bottom: 1px solid #ddd;
  vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; border: 1px solid #ddd; } svg { max-width: 100%; height: auto; }
.warn { background: #fff3d6; padding: .5rem .8rem; border-left: 4px solid #d99000; }
.bar { fill: #4c78a8; } .note { color: #666; } code { overflow-wrap: anywhere; }
"""


def page(
    survey: Survey,
    report: Mapping[str, Any],
    within: Copies,
    across: Mapping[str, Copies],
    pictures: Mapping[str, bytes],
) -> str:
    """Writes the page.

    Args:
        survey: of the corpus.
        report: its `report.json`.
        within: copies inside of it.
        across: other corpus to the copies that it shares with this one.
        pictures: `classes`, and if there are copies `copies` and `copies <other corpus>`, as the
            bytes of PNG files.

    Returns:
        HTML.
    """
    parts = [
        f'<h1>{_text(survey.name)}: {len(survey)} images</h1>',
        *_findings(within, across),
        *_by_class(survey),
        '<h2>Some of them</h2>',
        _picture('sheet of images by expression', pictures['classes']),
        '<h2>Sizes</h2>',
        *_sizes(survey),
        '<h2>Left out when it was built</h2>',
        _drops(report.get('drops', {})),
        *_faces(report.get('faces')),
        '<h2>The same picture twice in this corpus</h2>',
        *_copies(within, pictures.get('copies')),
    ]
    for other, found in across.items():
        parts += [
            f'<h2>Pictures that are in {_text(other)}, too</h2>',
            *_copies(found, pictures.get(f'copies {other}')),
        ]
    parts += ['<h2>How it was built</h2>', _options(report)]
    body = '\n'.join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{_text(survey.name)}</title><style>{_STYLE}</style></head>\n'
        f'<body>\n{body}\n</body></html>\n'
    )


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """An HTML table; a column whose first cell is a number stands to the right."""
    first = rows[0] if rows else head
    kinds = [' class="number"' if isinstance(cell, int | float) else '' for cell in first]
    lines = []
    for tag, row in [('th', head), *(('td', row) for row in rows)]:
        cells = zip(kinds, row, strict=True)
        lines.append(''.join(f'<{tag}{kind}>{_text(cell)}</{tag}>' for kind, cell in cells))
    lines = [f'<tr>{line}</tr>' for line in lines]
    return '<div class="wide"><table>' + '\n'.join(lines) + '</table></div>'


def bars(values: Mapping[str, int], *, width: int = 640, row: int = 22) -> str:
    """A bar chart as SVG: a word, a bar, a number on each line."""
    most = max([*values.values(), 1])
    lines = []
    for k, (word, value) in enumerate(values.items()):
        y, length = k * row, (width - 220) * value / most
        lines.append(
            f'<text x="120" y="{y + 15}" text-anchor="end">{_text(word)}</text>'
            f'<rect class="bar" x="130" y="{y + 3}" width="{length:.1f}" height="{row - 6}"/>'
            f'<text x="{135 + length:.1f}" y="{y + 15}">{value}</text>'
        )
    inside = '\n'.join(lines)
    return (
        f'<svg role="img" viewBox="0 0 {width} {len(values) * row}" width="{width}" '
        f'font-size="13">{inside}</svg>'
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _picture(words: str, data: bytes) -> str:
    code = base64.b64encode(data).decode()
    return f'<p><img alt="{_text(words)}" src="data:image/png;base64,{code}"></p>'


def _findings(within: Copies, across: Mapping[str, Copies]) -> list[str]:
    found = []
    crossing = sum(n for (a, b), (n, _, _) in within.table.items() if a != b)
    differ = sum(n for _, n, _ in within.table.values())
    if crossing:
        found.append(f'{crossing} pairs of copies are in two splits of this corpus.')
    if differ:
        found.append(f'{differ} pairs of copies within it have different labels.')
    for other, copies in across.items():
        if len(copies.pairs):
            found.append(f'{len(copies.pairs)} pairs of copies are shared with {other}.')
    return [f'<p class="warn">{_text(line)}</p>' for line in found]


def _by_class(survey: Survey) -> list[str]:
    if not survey.labelled:
        head = '<h2>Images by split</h2><p>This corpus has no labels.</p>'
        return [head, _class_table(survey, ())]
    counts = np.bincount(survey.labels, minlength=len(EXPRESSIONS))
    chart = bars(dict(zip(EXPRESSIONS, counts.tolist(), strict=True)))
    return ['<h2>Images by split and expression</h2>', _class_table(survey, EXPRESSIONS), chart]


def _class_table(survey: Survey, words: Sequence[str]) -> str:
    rows = []
    for number, split in enumerate(survey.splits):
        labels = survey.labels[survey.split == number]
        people = {
            s for s, k in zip(survey.subjects, survey.split, strict=True) if s and k == number
        }
        counts = [int(np.sum(labels == code)) for code in range(len(words))]
        rows.append([split, *counts, len(labels), len(people) or '-'])
    return table(['split', *words, 'images', 'persons'], rows)


def _sizes(survey: Survey) -> list[str]:
    shorter = survey.sizes.min(axis=1)
    places = np.searchsorted(_EDGES, shorter, side='right')
    counts = np.bincount(places, minlength=len(_EDGES) + 1).tolist()
    names = [f'below {_EDGES[0]}']
    names += [f'{a} to {b - 1}' for a, b in itertools.pairwise(_EDGES)]
    names += [f'{_EDGES[-1]} and more']
    kept = {name: count for name, count in zip(names, counts, strict=True) if count}
    common = np.unique(survey.sizes, axis=0, return_counts=True)
    best = np.argsort(-common[1], kind='stable')[:3]
    words = ', '.join(
        f'{w}x{h} ({n})' for (w, h), n in zip(*(v[best] for v in common), strict=True)
    )
    return [
        f'<p>Shorter side in pixels. Most frequent: {words}. '
        f'{int(survey.grey.sum())} of {len(survey)} are stored in grey.</p>',
        bars(kept),
    ]


def _drops(drops: Mapping[str, Any]) -> str:
    if not drops:
        return '<p>Nothing.</p>'
    rows = [[why, found['count'], ', '.join(found['examples'])] for why, found in drops.items()]
    return table(['reason', 'images', 'for example'], rows)


def _faces(faces: Mapping[str, Any] | None) -> list[str]:
    if not faces:
        return []
    rows = [
        ["by the owners' landmarks", faces['owners_landmarks']],
        [f'found by {faces["detector"]}', faces['found']],
        ["by the owners' box alone", faces['owners_box']],
        ['no face found', faces['no_face']],
    ]
    return ['<h2>How the faces were cut</h2>', table(['how', 'images'], rows)]


def _copies(copies: Copies, picture: bytes | None) -> list[str]:
    if not len(copies.pairs):
        return ['<p>None found.</p>']
    rows = [[f'{a} and {b}', *counts] for (a, b), counts in sorted(copies.table.items())]
    head = ['splits', 'pairs', 'with different labels', 'identical files']
    parts = [table(head, rows)]
    if picture:
        parts.append(_picture('pairs of copies', picture))
    return [*parts, '<p class="note">All of them: <code>copies.csv</code> beside this page.</p>']


def _options(report: Mapping[str, Any]) -> str:
    rows = [[key, str(value) or '-'] for key, value in report.get('options', {}).items()]
    rows += [['seconds', str(report['seconds'])]] if 'seconds' in report else []
    return table(['option', 'value'], rows) if rows else '<p>With default options.</p>'

"""Makes the report of a prepared corpus: `prepare.py --corpus NAME --report`."""

import csv
import pathlib
from collections.abc import Sequence

from dmsrl_jax.data import corpora
from dmsrl_jax.data.survey import Copies, Survey, copies, survey
from dmsrl_jax.errors import InputError
from experiments import corpus_page, corpus_pictures

FOLDER = 'report'


def write(
    name: str,
    *,
    against: Sequence[str] = (),
    data_dir: str | None = None,
    folder: str | None = None,
    workers: int = 0,
) -> tuple[pathlib.Path, list[str]]:
    """Writes `index.html`, the contact sheets as PNG files, and `copies.csv`.

    Args:
        name: a prepared corpus.
        against: prepared corpora in which to look for the same pictures.
        data_dir: where prepared corpora lie.
        folder: where to write; None for the folder `report` in the corpus's own.
        workers: processes that decode images; 0 for none beside this one.

    Returns:
        The page, and lines for the terminal.

    Raises:
        InputError: a corpus is not prepared, or the folder cannot be written.
    """
    full, place = corpora.find(name, data_dir)
    others = [corpora.find(other, data_dir)[0] for other in against]
    if full in others:
        raise InputError(
            f'--against {full} is the corpus itself; copies within it are always shown'
        )
    own = survey(full, data_dir=data_dir, workers=workers)
    album = corpus_pictures.Album(own, data_dir)
    within = copies(own)
    pictures = {'classes': corpus_pictures.png(corpus_pictures.class_sheet(album))}
    rows = _rows(own, own, within)
    if len(within.pairs):
        pictures['copies'] = _pairs(album, album, within)
    across = {}
    for other in others:
        second = survey(other, data_dir=data_dir, workers=workers)
        across[other] = found = copies(own, second)
        rows += _rows(own, second, found)
        if len(found.pairs):
            second_album = corpus_pictures.Album(second, data_dir)
            pictures[f'copies {other}'] = _pairs(album, second_album, found)
    page = corpus_page.page(own, corpora.report(place), within, across, pictures)
    target = pathlib.Path(folder).expanduser() if folder else place / FOLDER
    _save(target, page, pictures, rows)
    return target / 'index.html', describe(own, within, across)


def _pairs(first: corpus_pictures.Album, second: corpus_pictures.Album, found: Copies) -> bytes:
    return corpus_pictures.png(corpus_pictures.pair_sheet(first, second, found.pairs.tolist()))


def _rows(first: Survey, second: Survey, found: Copies) -> list[list[str]]:
    return [
        [
            first.name,
            first.where(a),
            first.word(a),
            second.name,
            second.where(b),
            second.word(b),
            'yes' if first.digests[a] == second.digests[b] else 'no',
        ]
        for a, b in found.pairs.tolist()
    ]


def _save(
    folder: pathlib.Path, page: str, pictures: dict[str, bytes], rows: list[list[str]]
) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in (*folder.glob('copies*.png'), folder / 'copies.csv'):
            old.unlink(missing_ok=True)
        for name, data in pictures.items():
            (folder / f'{name.replace(" ", "_").replace("/", "_")}.png').write_bytes(data)
        if rows:
            with (folder / 'copies.csv').open('w', newline='') as file:
                head = ['corpus', 'file', 'label', 'other corpus', 'other file', 'other label']
                csv.writer(file).writerows([[*head, 'identical'], *rows])
        (folder / 'index.html').write_text(page, encoding='utf-8')
    except OSError as error:
        raise InputError(f'cannot write the report to {folder}: {error}; --report_dir') from error


def describe(own: Survey, within: Copies, across: dict[str, Copies]) -> list[str]:
    """What a report found about copies, in lines for the terminal."""
    lines = []
    for what, found in (('within it', within), *((f'with {k}', v) for k, v in across.items())):
        parts = [f'{a}-{b} {n} ({d} with different labels)' for (a, b), (n, d, _) in
                 sorted(found.table.items())]  # fmt: skip
        lines.append(f'copies {what}: {", ".join(parts) or "none"}')
    return [f'looked at {len(own)} images', *lines]

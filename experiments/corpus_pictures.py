"""Contact sheets of a prepared corpus."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dmsrl_jax.data import corpora, images
from dmsrl_jax.data.survey import Survey
from dmsrl_jax.expressions import EXPRESSIONS, NO_LABEL

SIDE, COLUMNS, PAIRS = 72, 14, 42
_GAP, _LABEL = 4, 18
_INK, _PAPER = (30, 30, 30), (255, 255, 255)


class Album:
    """Pictures of a surveyed corpus by their number.

    Args:
        survey: of the corpus.
        data_dir: where prepared corpora lie.
    """

    def __init__(self, survey: Survey, data_dir: str | None):
        self.survey = survey
        self._parts = [corpora.load(survey.name, s, data_dir=data_dir) for s in survey.splits]

    def tile(self, i: int) -> Image.Image:
        """Image number `i`, fitted into SIDE x SIDE."""
        record = self._parts[self.survey.split[i]][int(self.survey.index[i])]
        picture = images.upright(record['image'], name=record['file']).convert('RGB')
        scale = SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        small = picture.resize((width, height), Image.Resampling.BILINEAR)
        tile = Image.new('RGB', (SIDE, SIDE), (225, 225, 225))
        tile.paste(small, ((SIDE - width) // 2, (SIDE - height) // 2))
        return tile


def class_sheet(album: Album, *, columns: int = COLUMNS, seed: int = 0) -> Image.Image:
    """Two rows of images for each expression, drawn at random.

    Args:
        album: the pictures.
        columns: images in a row.
        seed: another seed shows other images.

    Returns:
        RGB picture; expressions without images have an empty row. Without labels all images are
        one group.
    """
    rng, survey = np.random.default_rng(seed), album.survey
    groups = dict(enumerate(EXPRESSIONS)) if survey.labelled else {NO_LABEL: 'no labels'}
    height = 2 * (SIDE + _GAP) + _LABEL
    sheet = Image.new('RGB', (columns * (SIDE + _GAP) + _GAP, len(groups) * height + _GAP), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for row, (code, word) in enumerate(groups.items()):
        members = np.flatnonzero(survey.labels == code)
        top = row * height
        pen.text((_GAP, top + 1), f'{word} ({len(members)})', _INK, font)
        chosen = rng.permutation(members)[: 2 * columns]
        for k, i in enumerate(chosen.tolist()):
            x = _GAP + k % columns * (SIDE + _GAP)
            y = top + _LABEL + k // columns * (SIDE + _GAP)
            sheet.paste(album.tile(i), (x, y))
    return sheet


def pair_sheet(
    first: Album, second: Album, pairs: Sequence[Sequence[int]], *, most: int = PAIRS
) -> Image.Image:
    """Copies side by side, evenly picked where there are too many.

    Args:
        first: the pictures of the first numbers.
        second: the pictures of the second numbers.
        pairs: (number, number).
        most: pairs to show.

    Returns:
        RGB picture, seven pairs in a row.
    """
    shown = [pairs[i * len(pairs) // most] for i in range(most)] if len(pairs) > most else pairs
    width, height = 2 * SIDE + 3 * _GAP, SIDE + _GAP
    rows = -(-len(shown) // 7)
    sheet = Image.new('RGB', (min(7, len(shown)) * width + _GAP, rows * height + _GAP), _PAPER)
    for k, (a, b) in enumerate(shown):
        x, y = _GAP + k % 7 * width, _GAP + k // 7 * height
        sheet.paste(first.tile(a), (x, y))
        sheet.paste(second.tile(b), (x + SIDE, y))
    return sheet


def png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    out = io.BytesIO()
    image.save(out, 'PNG', optimize=True)
    return out.getvalue()

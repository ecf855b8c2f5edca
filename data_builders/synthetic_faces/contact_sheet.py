"""Draws every expression in every domain on one labelled sheet.

Usage: python -m data_builders.synthetic_faces.contact_sheet docs/synthetic_faces.png
"""

import argparse
import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_builders.synthetic_faces.action_units import prototype, sample_action_units
from data_builders.synthetic_faces.render import render, sample_entropy
from data_builders.synthetic_faces.scenes import DOMAINS
from dmsrl_jax.expressions import EXPRESSIONS

ROWS_PER_DOMAIN = 2
_MARGIN, _HEADER, _GAP = 84, 28, 4


def _clear_sample(expression: int, subject: int) -> int:
    """The first sample of a subject that is not a weak expression."""
    for sample in itertools.count():
        rng = np.random.default_rng(sample_entropy(subject, sample))
        _, intensity = sample_action_units(expression, rng)
        if intensity > 0.65 or not prototype(expression).core:
            return sample
    raise AssertionError


def contact_sheet(size: int = 96, seed: int = 0) -> Image.Image:
    """A sheet of 7 expressions (columns) by 4 domains (two rows of subjects each).

    Args:
      size: side of one face in pixels.
      seed: 0 or more; another seed shows other subjects.

    Returns:
      RGB image.
    """
    cell = size + _GAP
    rows = len(DOMAINS) * ROWS_PER_DOMAIN
    sheet = Image.new(
        'RGB', (_MARGIN + len(EXPRESSIONS) * cell, _HEADER + rows * cell), (255, 255, 255)
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for column, name in enumerate(EXPRESSIONS):
        pen.text((_MARGIN + column * cell + 4, 5), name, (0, 0, 0), font)
    for row in range(rows):
        domain = DOMAINS[row // ROWS_PER_DOMAIN]
        top = _HEADER + row * cell
        if row % ROWS_PER_DOMAIN == 0:
            pen.text((6, top + cell - 10), domain, (0, 0, 0), font)
        for column in range(len(EXPRESSIONS)):
            subject = 1000 * seed + 7 * row + column
            sample = _clear_sample(column, subject)
            face = render(column, domain, size=size, subject_seed=subject, sample_seed=sample)
            sheet.paste(Image.fromarray(face), (_MARGIN + column * cell, top))
    return sheet


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the sheet to the path given on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('path', help='where the sheet goes, for example docs/synthetic_faces.png')
    parser.add_argument('--size', type=int, default=96, help='side of one face in pixels')
    parser.add_argument('--seed', type=int, default=0, help='which subjects')
    options = parser.parse_args(arguments)
    contact_sheet(options.size, options.seed).save(options.path)


if __name__ == '__main__':
    main()

r"""Makes a development target out of the source: a part of it, seen through a worse camera.

    python experiments/shifted_copy.py --corpus fer2013 --split 'train[60%:]' --out DIR
    python experiments/prepare.py --corpus image_list/shifted --manual_dir DIR --set test_fraction=0

Settings can be chosen by labels on `train[:60%]` -> `image_list/shifted`, because all of them are
labels of the source; the target that is meant is not touched. Faces are turned, shrunk, darkened,
tinted, blurred and compressed, by a part common to all and a part of each image's own. With
`--skew N` the copy has other class shares than the source, too.
"""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags
from PIL import Image, ImageFilter

from dmsrl_jax.data import corpora, images, reading
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS
from experiments import cli


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    text = flags.DEFINE_string
    text('corpus', None, 'A prepared corpus with labels.', flag_values=values)
    text('split', 'train[60%:]', 'The part to be changed.', flag_values=values)
    text('out', None, 'Folder for `images/` and `list.csv`; must not exist.', flag_values=values)
    text('data_dir', None, 'Where prepared corpora lie.', flag_values=values)
    flags.DEFINE_integer('seed', 0, 'Of the changes.', lower_bound=0, flag_values=values)
    skew = 'Of each class keep a share, 5 % to all, drawn with this seed; none: keep all images.'
    flags.DEFINE_integer('skew', None, skew, lower_bound=0, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Writes the changed images and their list."""
    flag: dict[str, Any] = values.flag_values_dict()
    if len(argv) > 1 or not flag['corpus'] or not flag['out']:
        raise InputError('pass --corpus NAME and --out DIR, nothing else; see --help')
    corpus = corpora.load(flag['corpus'], flag['split'], data_dir=flag['data_dir'])
    if not reading.is_labelled(corpus):
        raise InputError(f'{flag["corpus"]} has no labels to choose settings by; take a source')
    numbers: Sequence[int] = range(len(corpus))
    if flag['skew'] is not None:
        numbers = skewed(np.random.default_rng(flag['skew']), corpus.labels())
    out = pathlib.Path(flag['out'])
    try:
        out.mkdir(parents=True)
        (out / 'images').mkdir()
    except OSError as error:
        raise InputError(f'cannot make {out}: {error}; name a new folder') from error
    try:
        write(corpus, numbers, out, seed=flag['seed'])
    except OSError as error:
        raise InputError(
            f'cannot write the images to {out}: {error}; the folder is not complete: delete it, '
            'then free some space or name another --out'
        ) from error
    print(f'{len(numbers)} images of {flag["corpus"]}, split {flag["split"]}, changed: {out}')


def skewed(rng: np.random.Generator, labels: np.ndarray) -> list[int]:
    """Which images to keep, so that class shares differ from those of all.

    Args:
        rng: draws each class's share to be kept, `10 ** -u` with u in [0, 1.3), and who stays.
        labels: [N] integer classes.

    Returns:
        Numbers of images, in order.
    """
    classes = np.argsort(EXPRESSIONS)
    kept = []
    for label, share in zip(classes, 10 ** -rng.uniform(0, 1.3, len(classes)), strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        kept += members[: round(share * len(members))].tolist()
    return sorted(kept)


def write(corpus: corpora.Corpus, numbers: Sequence[int], out: pathlib.Path, *, seed: int) -> None:
    """Writes images of a corpus, changed, into `images/`, and `list.csv`.

    Args:
        corpus: with labels.
        numbers: which of its images.
        out: a folder with an empty folder `images/` in it.
        seed: of the changes.

    Raises:
        InputError: an image cannot be decoded.
        OSError: the disk is full or may not be written.
    """
    with (out / 'list.csv').open('w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['image', 'label'])
        for number in numbers:
            record = corpus[number]
            rng = np.random.default_rng((seed, number))
            name = f'images/{number:06d}.png'
            shifted(rng, images.upright(record['image'], name=record['file'])).save(out / name)
            rows.writerow([name, EXPRESSIONS[record['label']]])


def shifted(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """One face as a worse camera would see it.

    Args:
        rng: draws what is the image's own.
        image: of any mode.

    Returns:
        RGB, of the same size.
    """
    image, side = image.convert('RGB'), max(image.size)
    turn, zoom = rng.normal(0, 8), rng.uniform(0.95, 1.25)  # degrees; above 1 the face is smaller
    angle = np.deg2rad(turn)
    matrix = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.array(image.size) / 2
    offset = centre - matrix @ (centre + rng.normal(0, 0.03 * side, 2))
    image = image.transform(
        image.size,
        Image.Transform.AFFINE,
        (*matrix[0], offset[0], *matrix[1], offset[1]),
        Image.Resampling.BILINEAR,
    )
    image = image.filter(ImageFilter.GaussianBlur(side / 48 * rng.uniform(0.3, 0.9)))
    light = (np.asarray(image, np.float32) / 255) ** np.exp(rng.normal(0.3, 0.25))
    light = light * np.array([1.0, 0.9, 0.75]) * rng.uniform(0.9, 1.1, 3)
    stored = io.BytesIO()
    pixels = Image.fromarray((np.clip(light, 0, 1) * 255).round().astype(np.uint8))
    pixels.save(stored, 'JPEG', quality=int(rng.uniform(25, 60)))
    return Image.open(stored)


if __name__ == '__main__':
    define_flags()
    cli.run(main)

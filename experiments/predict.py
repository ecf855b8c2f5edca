"""Expressions of faces in image files: `python experiments/predict.py --workdir DIR IMAGE...`.

python experiments/predict.py --workdir runs/demo/dmsrl/seed0 face.png folder 'more/**/*.jpg'
An IMAGE is a file, a folder (with all below it) or a pattern. The model expects what it was trained
on: one face, cropped, upright. Files that cannot be read are named and skipped; exit status 1 then.
"""

import json
import os
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from absl import flags

from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS
from experiments import cli

# Beside the name of a file: seven probabilities, a space and the longest expression.
_REST = 7 * 7 + 1 + max(map(len, EXPRESSIONS))
_LEAST = 21


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    text = flags.DEFINE_string
    text('workdir', None, 'Folder of the training run.', flag_values=values)
    text('json', None, 'Also write the probabilities to this file.', flag_values=values)
    whose = 'Whose BatchNorm statistics to use.'
    flags.DEFINE_enum('domain', 'target', ['source', 'target'], whose, flag_values=values)
    flags.DEFINE_integer('batch_size', 64, 'Images at a time.', 1, flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Prints one row per image; returns 1 if a file was skipped."""
    flag = values.flag_values_dict()
    if not flag['workdir']:
        raise InputError('pass --workdir DIR, the folder of a training run')
    from dmsrl_jax.evaluation import prediction
    from dmsrl_jax.training import evaluator, restore

    paths = prediction.collect(argv[1:])
    if flag['json']:
        _check_place(pathlib.Path(flag['json']))
    cli.cache_compilations()
    restored = restore.restore_model(flag['workdir'])
    skipped: dict[str, str] = {}
    rows: dict[str, np.ndarray] = {}

    def skip(path: pathlib.Path, error: InputError) -> None:
        skipped[str(path)] = str(error)
        print(f'skipped: {error}', file=sys.stderr, flush=True)

    found = prediction.predict_files(
        restored.forward(domain=evaluator.DOMAINS[flag['domain']]),
        restored.variables,
        paths,
        size=restored.config.image_size,
        batch_size=min(flag['batch_size'], len(paths)),
        on_error=skip,
    )
    width = file_width(list(map(str, paths)))
    print(header(width))
    for path, probabilities in found:
        if not np.isfinite(probabilities).all():
            raise InputError(
                f'the network of {flag["workdir"]} gives no finite numbers for {path}: training '
                'went wrong or the checkpoint is damaged; take another run'
            )
        rows[str(path)] = probabilities
        print(row(str(path), probabilities, width), flush=True)
    if flag['json']:
        _write(pathlib.Path(flag['json']), rows, skipped)
    if skipped:
        print(f'{len(skipped)} of {len(paths)} files skipped', file=sys.stderr)
    return 1 if skipped else 0


def file_width(names: Sequence[str]) -> int:
    """Room for the longest name; on a terminal as much as its width leaves, 21 at least."""
    longest = max(_LEAST, *map(len, names))
    if not sys.stdout.isatty():  # a file or another program wants names whole
        return longest
    return max(_LEAST, min(longest, shutil.get_terminal_size().columns - _REST))


def header(width: int) -> str:
    """Titles over the columns of `row`."""
    names = ''.join(f'{name[:6]:>7}' for name in EXPRESSIONS)
    return f'{"file":<{width}}{names} top'


def row(name: str, probabilities: np.ndarray, width: int) -> str:
    """One image: its name, the probability of each expression (* the highest), the expression.

    Args:
        name: of the file; its middle is left out where it is longer than `width`.
        probabilities: [C].
        width: of the first column.

    Returns:
        A line of at most `width` + 59 characters.
    """
    top = int(np.argmax(probabilities))
    cells = ''.join(
        f'{"*" if code == top else " "}{value:.3f}'.rjust(7)
        for code, value in enumerate(probabilities)
    )
    return f'{shorten(name, width):<{width}}{cells} {EXPRESSIONS[top]}'


def shorten(name: str, width: int) -> str:
    """Leaves out the middle of a name that is longer than `width`."""
    if len(name) <= width:
        return name
    tail = (width - 1) * 2 // 3
    return f'{name[: width - 1 - tail]}…{name[-tail:]}'


def _check_place(path: pathlib.Path) -> None:
    """Looks before anything is computed whether a file can be written."""
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise InputError(f'cannot write {path}; pass another --json')


def _write(path: pathlib.Path, rows: Mapping[str, np.ndarray], skipped: Mapping[str, str]) -> None:
    images: list[dict[str, Any]] = [
        {
            'file': name,
            'expression': EXPRESSIONS[int(np.argmax(found))],
            'probabilities': dict(zip(EXPRESSIONS, map(float, found), strict=True)),
        }
        for name, found in rows.items()
    ]
    text = json.dumps({'images': images, 'skipped': dict(skipped)}, indent=1)
    try:
        path.write_text(text + '\n')
    except OSError as error:
        raise InputError(f'cannot write {path}: {error}; pass another --json') from error


if __name__ == '__main__':
    define_flags()
    cli.run(main)

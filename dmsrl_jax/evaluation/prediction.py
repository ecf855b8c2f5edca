"""Class probabilities for image files: find them, read them, predict in batches of one size."""

import glob
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmsrl_jax.data import folders, images
from dmsrl_jax.errors import InputError

Forward = Callable[[Any, jax.Array], jax.Array]


def collect(arguments: Sequence[str | os.PathLike[str]]) -> list[pathlib.Path]:
    """Finds the files that files, folders and glob patterns stand for.

    Args:
        arguments: files (of any kind), folders (all image files below them, by suffix; hidden ones
            are left out), and patterns such as `faces/*.png` or `faces/**/*.jpg`.

    Returns:
        The files, sorted, each once. A name that matches nothing is kept, for the error message
        when it is read.

    Raises:
        InputError: there is no argument, or no file at all.
    """
    if not arguments:
        raise InputError('name at least one image: a file, a folder or a pattern')
    found: set[pathlib.Path] = set()
    for argument in map(str, arguments):
        matches = [argument] if os.path.exists(argument) else glob.glob(argument, recursive=True)
        for path in map(pathlib.Path, matches or [argument]):
            found.update(_inside(path) if path.is_dir() else [path])
    if not found:
        raise InputError(
            f'no image file in {", ".join(map(str, arguments))} (looked for '
            f'{" ".join(images.SUFFIXES)}); name the files themselves if they are called otherwise'
        )
    return sorted(found)


def _inside(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for parent, inner, names in folders.walk(folder):
        inner[:] = [name for name in inner if not name.startswith('.')]
        for name in names:
            if name.lower().endswith(images.SUFFIXES + images.HEIC) and not name.startswith('.'):
                yield pathlib.Path(parent, name)


def predict(
    forward: Forward, variables: Any, pixels: np.ndarray, *, batch_size: int = 64
) -> np.ndarray:
    """Probabilities of the classes.

    The last batch is padded, so that a forward pass is compiled once whatever the number of images.

    Args:
        forward: `(variables, uint8 [batch_size, S, S, 3]) -> logits [batch_size, C]`, pure.
        variables: the model's.
        pixels: uint8 [N, S, S, 3].
        batch_size: images at a time.

    Returns:
        float32 [N, C]; rows sum to 1.

    Raises:
        InputError: there is no image.
    """
    if not len(pixels):
        raise InputError('no image to predict')
    run = _batches_of(batch_size, forward, variables)
    return np.concatenate(
        [run(pixels[start : start + batch_size]) for start in range(0, len(pixels), batch_size)]
    )


def _batches_of(size: int, forward: Forward, variables: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Makes a function of up to `size` images that always computes with `size`."""

    @jax.jit
    def probabilities(variables: Any, pixels: jax.Array) -> jax.Array:
        return jax.nn.softmax(forward(variables, pixels).astype(jnp.float32), axis=-1)

    def run(pixels: np.ndarray) -> np.ndarray:
        padded = np.zeros((size, *pixels.shape[1:]), pixels.dtype)
        padded[: len(pixels)] = pixels
        return np.asarray(probabilities(variables, padded))[: len(pixels)]

    return run


def predict_files(
    forward: Forward,
    variables: Any,
    paths: Sequence[pathlib.Path],
    *,
    size: int,
    batch_size: int = 64,
    on_error: Callable[[pathlib.Path, InputError], None],
) -> Iterator[tuple[pathlib.Path, np.ndarray]]:
    """Predicts files, a batch at a time; memory does not grow with their number.

    Args:
        forward: see `predict`.
        variables: the model's.
        paths: image files.
        size: side S at which images are decoded.
        batch_size: images at a time.
        on_error: told of each file that cannot be read, which is then left out.

    Yields:
        `(path, probabilities [C])` in the order of `paths`.
    """
    run = _batches_of(batch_size, forward, variables)
    with futures.ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        for start in range(0, len(paths), batch_size):
            part = paths[start : start + batch_size]
            good: dict[pathlib.Path, np.ndarray] = {}
            for path, read in zip(part, pool.map(lambda p: _try_read(p, size), part), strict=True):
                if isinstance(read, InputError):
                    on_error(path, read)
                else:
                    good[path] = read
            if good:
                yield from zip(good, run(np.stack(list(good.values()))), strict=True)


def _try_read(path: pathlib.Path, size: int) -> np.ndarray | InputError:
    try:
        return images.read(path, size)
    except InputError as error:
        return error

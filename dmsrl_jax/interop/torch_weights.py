"""Weights of PyTorch networks as Flax variables, and back.

    variables = load('vgg16_multilevel', 'dmsrl.pth')
    variables = load('vgg16_multilevel', 'vgg16_bn.safetensors', like=model.init(key, images))
    save('dmsrl.safetensors', 'vgg16_multilevel', variables)

Keys are those of torchvision's trunks and of the authors' heads (`torch_keys`). What the file lacks
is taken from `like`, so that a trunk trained elsewhere comes under a new head.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dmsrl_jax import models
from dmsrl_jax.errors import InputError
from dmsrl_jax.interop import torch_files, torch_keys

# PyTorch's count of batches decides nothing where the momentum is fixed. The authors' ResNet holds
# its trunk a second time under `feature_layers`.
_IGNORED = ('.num_batches_tracked', 'feature_layers.')

Variables = dict[str, Any]


class Report(NamedTuple):
    """What became of the keys of a state dict.

    Attributes:
        loaded: keys that were taken.
        missing: keys of the model that the state dict lacks.
        unexpected: keys of the state dict that the model has no place for.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f'{len(self.loaded)} tensors loaded']
        for word in ('missing', 'unexpected'):
            if keys := getattr(self, word):
                lines.append(f'{len(keys)} {word}: {", ".join(keys)}')
        return '; '.join(lines)


def load(
    name: str,
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    like: Variables | None = None,
    say: Callable[[str], None] | None = None,
) -> Variables:
    """Makes Flax variables from a file or a state dict.

    Args:
        name: a model that `models.create` takes.
        source: path of a `.safetensors`, `.pth` or `.pt` file, or tensors by key.
        like: variables of the model from its `init`; what the source lacks stays as it is there.
            Without it the source must be complete.
        say: told which keys were loaded, missing and unexpected.

    Returns:
        `{'params': ..., 'batch_stats': ...}` in float32.

    Raises:
        InputError: the source cannot be read, does not fit (the message names keys and shapes), or
            is incomplete.
    """
    variables, report = convert(name, read(source), like=like)
    if say:
        where = 'the state dict' if isinstance(source, Mapping) else str(source)
        say(f'weights of {name} from {where}: {report}')
    return variables


def save(path: str | os.PathLike[str], name: str, variables: Variables) -> None:
    """Writes variables as a PyTorch state dict, to `.safetensors`, `.pth` or `.pt`.

    Args:
        path: the file.
        name: the model's name.
        variables: its `params` and `batch_stats`.

    Raises:
        InputError: unknown model or file type, or a file that cannot be written.
    """
    torch_files.write(path, to_state_dict(name, variables))


def read(source: str | os.PathLike[str] | Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Reads a state dict as arrays by key, out of whatever wraps it.

    Args:
        source: as in `load`.

    Returns:
        NumPy arrays, floating ones in float32.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(source, Mapping):
        return torch_files.unwrap(source, where='the state dict')
    return torch_files.read(source)


def convert(
    name: str, state_dict: Mapping[str, np.ndarray], *, like: Variables | None = None
) -> tuple[Variables, Report]:
    """Turns a state dict into variables.

    Convolutions OIHW -> HWIO; dense layers transposed, and their inputs reordered where they are a
    flattened map; BatchNorm's weight, bias, running_mean, running_var -> scale, bias, mean, var.
    Running statistics [C] become both rows of [2, C] where `like` keeps them per domain.

    Args:
        name: a model that `models.create` takes.
        state_dict: arrays by key.
        like: as in `load`.

    Returns:
        The variables, and what became of the keys.

    Raises:
        InputError: a shape does not fit, nothing fits, or, without `like`, something is missing.
    """
    entries = _entries(name, state_dict if like is None else _flat(like))
    known = {entry.key: entry for entry in entries}
    report = Report(
        tuple(key for key in known if key in state_dict),
        tuple(key for key in known if key not in state_dict),
        tuple(key for key in state_dict if key not in known and not _ignored(key)),
    )
    _check_keys(name, report, state_dict, complete=like is None)
    flat = _flat(_shapes(name, entries, state_dict) if like is None else like)
    for key in report.loaded:
        entry = known[key]
        value = _turned(entry, np.asarray(state_dict[key], np.float32))
        flat[entry.path] = _fitting(entry, value, tuple(flat[entry.path].shape))
    return _nested(flat), report


def to_state_dict(name: str, variables: Variables) -> dict[str, np.ndarray]:
    """Turns variables into a PyTorch state dict.

    Args:
        name: the model's name.
        variables: its `params` and `batch_stats`.

    Returns:
        Arrays by key, with a `num_batches_tracked` of 0 beside each running mean. Statistics per
        domain stay [2, C], which only `experiments/pytorch_baseline` can load.

    Raises:
        InputError: unknown model, or variables of another one.
    """
    flat = _flat(variables)
    result: dict[str, np.ndarray] = {}
    for entry in _entries(name, flat):
        if entry.path not in flat:
            raise InputError(
                f'these are no variables of {name!r}: {".".join(entry.path)} is missing'
            )
        result[entry.key] = np.ascontiguousarray(
            entry.to_torch(np.asarray(flat[entry.path], np.float32))
        )
        if entry.key.endswith('.running_var'):
            counter = f'{entry.key.removesuffix("running_var")}num_batches_tracked'
            result[counter] = np.zeros((), np.int64)
    return result


def _entries(name: str, present: Mapping[Any, Any]) -> tuple[torch_keys.Entry, ...]:
    """The model's entries; without local branches if only the shorter list fits what is there."""
    full, short = (torch_keys.entries(name, local=local) for local in (True, False))
    extra = {entry.key for entry in full} - {entry.key for entry in short}
    paths = {entry.path for entry in full if entry.key in extra}
    return full if not extra or extra & set(present) or paths & set(present) else short


def _check_keys(
    name: str, report: Report, state_dict: Mapping[str, Any], *, complete: bool
) -> None:
    if not report.loaded:
        raise InputError(
            f'no key fits model {name!r}: it has {report.missing[0]}, ..., and the weights have '
            f'{", ".join(list(state_dict)[:3])}, ...'
        )
    if report.missing and complete:
        raise InputError(
            f'weights for {name!r} lack {", ".join(report.missing)}; pass like=, the variables of '
            "the model's init, to keep those"
        )


def _shapes(
    name: str, entries: tuple[torch_keys.Entry, ...], state_dict: Mapping[str, np.ndarray]
) -> Variables:
    """Shapes of the model that complete weights belong to, at the image size they were made for."""
    keys = {entry.key for entry in entries}
    per_domain = any(key.endswith('.running_mean') and state_dict[key].ndim == 2 for key in keys)
    model = models.create(
        name,
        max(state_dict[entries[-1].key].size, 2),
        local=any(key in keys for key in ('sp_unit1.localnet.0.weight', 'adlayer2.weight')),
        statistics='per_domain' if per_domain else 'shared',
    )
    size = torch_keys.image_size(name, state_dict)
    images = jax.ShapeDtypeStruct((2, size, size, 3), np.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def _turned(entry: torch_keys.Entry, value: np.ndarray) -> np.ndarray:
    try:
        return entry.to_flax(value)
    except InputError:
        raise
    except (ValueError, IndexError) as error:
        raise InputError(
            f'{entry.key} has shape {list(value.shape)}, which is no such layer: {error}'
        ) from error


def _fitting(entry: torch_keys.Entry, value: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    """The value in the wanted shape; raises InputError with both shapes, in PyTorch's order."""
    if entry.path[0] == 'batch_stats' and value.ndim == 1 and wanted == (2, *value.shape):
        return np.stack([value, value])
    if value.shape != wanted:
        there = list(entry.to_torch(value).shape)
        here = list(entry.to_torch(np.zeros(wanted, np.float32)).shape)
        raise InputError(f'{entry.key} has shape {there} in the weights, the model needs {here}')
    return np.ascontiguousarray(value)


def _ignored(key: str) -> bool:
    suffix, prefix = _IGNORED
    return key.endswith(suffix) or key.startswith(prefix)


def _flat(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    flat: dict[tuple[str, ...], Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, (*path, name)) if inner else {(*path, name): value}
    return flat


def _nested(flat: Mapping[tuple[str, ...], Any]) -> Variables:
    tree: Variables = {}
    for path, value in flat.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = value
    return tree

"""State dicts in files: `.pth` and `.pt` with PyTorch, `.safetensors` without it."""

import contextlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from dmsrl_jax.errors import InputError

PICKLES = ('.pth', '.pt', '.bin', '.tar')
_WRAPPERS = ('state_dict', 'model')
_PREFIXES = ('module.', 'model.', 'state_dict.', '_orig_mod.')


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
        path: a `.safetensors` file, or a pickle that `torch.load(weights_only=True)` accepts.

    Returns:
        Arrays by key, unwrapped (see `unwrap`).

    Raises:
        InputError: no such file, damaged, a pickle that holds more than tensors, or a package that
            reading it needs is missing.
    """
    path = pathlib.Path(path).expanduser()
    if not path.is_file():
        raise InputError(f'there is no file of weights {str(path)!r}')
    if path.suffix == '.safetensors':
        return unwrap(_read_safetensors(path))
    if path.suffix in PICKLES:
        return unwrap(_read_pickle(path))
    raise InputError(
        f'{str(path)!r}: weights are read from .safetensors, {", ".join(PICKLES)} files; '
        'rename it if it is one of them'
    )


def write(path: str | os.PathLike[str], state_dict: Mapping[str, np.ndarray]) -> None:
    """Writes a state dict.

    Args:
        path: ends in `.safetensors`, or in `.pth` or `.pt` (needs PyTorch).
        state_dict: arrays by key.

    Raises:
        InputError: another ending, a missing package, a file that cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    part = path.with_name(path.name + '.part')  # what lies there stays until all is written
    arrays = {key: np.ascontiguousarray(value) for key, value in state_dict.items()}
    try:
        if path.suffix == '.safetensors':
            part.write_bytes(_safetensors().save(arrays, metadata={'format': 'pt'}))
        elif path.suffix in ('.pth', '.pt'):
            torch = _torch(path)
            tensors = {key: torch.from_numpy(value.copy()) for key, value in arrays.items()}
            with part.open('wb') as file:
                torch.save(tensors, file)
        else:
            raise InputError(f'{str(path)!r}: weights are written to .safetensors, .pth or .pt')
        part.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch's writer raises the latter on a full disk
        with contextlib.suppress(OSError):
            part.unlink()
        raise InputError(f'cannot write {str(path)!r}: {error}; name another file') from error


def unwrap(state: Any, *, where: str = 'the checkpoint') -> dict[str, np.ndarray]:
    """Takes a state dict out of what surrounds it, as arrays.

    Checkpoints wrap it in `model` or `state_dict`; `DataParallel` and `torch.compile` put
    `module.` and `_orig_mod.` before each key.

    Args:
        state: mapping of tensors (of PyTorch, NumPy or JAX), perhaps inside other mappings.
        where: what to call it in messages.

    Returns:
        NumPy arrays by key.

    Raises:
        InputError: there are no tensors in it.
    """
    while isinstance(state, Mapping):
        inner = [state[name] for name in _WRAPPERS if isinstance(state.get(name), Mapping)]
        if not inner:
            break
        state = inner[0]
    if not isinstance(state, Mapping):
        raise InputError(
            f'{where} holds a {type(state).__name__} and not tensors by name; save '
            'model.state_dict() instead'
        )
    arrays = {str(key): _array(value) for key, value in state.items() if hasattr(value, 'shape')}
    if not arrays:
        raise InputError(f'{where} holds no tensors; its keys: {", ".join(map(str, state))[:300]}')
    while prefix := next((p for p in _PREFIXES if all(k.startswith(p) for k in arrays)), None):
        arrays = {key.removeprefix(prefix): value for key, value in arrays.items()}
    return arrays


def _array(value: Any) -> np.ndarray:
    """A NumPy array; floating values become float32, bfloat16 too."""
    if hasattr(value, 'detach'):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    array = np.asarray(value)
    # bfloat16 is no floating type to NumPy.
    return array if array.dtype.kind in 'iub' else array.astype(np.float32)


def _read_pickle(path: pathlib.Path) -> Any:
    torch = _torch(path)
    import pickle

    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever a cut or foreign file makes the reader raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        # Of what is no pickle at all it says "Unsupported operand".
        is_code = lambda line: 'Unsupported' in line and 'operand' not in line
        told = next((line for line in reason if 'GLOBAL' in line or is_code(line)), '')
        if told and isinstance(error, pickle.UnpicklingError):
            raise InputError(
                f'{str(path)!r} is a pickle with more in it than tensors, which could run any '
                f'program; it is not opened ({told.strip()[:300]}). Where you trust it, load it '
                'yourself and save its state_dict() alone'
            ) from error
        raise InputError(
            f'{str(path)!r} is no readable PyTorch checkpoint: {reason[0][:300]}'
        ) from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    safetensors = _safetensors()
    try:
        return safetensors.load_file(path)
    except Exception as error:  # the library's own kind, and others for cut files
        raise InputError(f'{str(path)!r} is no readable safetensors file: {error}') from error


def _torch(path: pathlib.Path) -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise InputError(
            f"{str(path)!r}: .pth and .pt files need PyTorch; pip install -e '.[torch]', or "
            'turn the file into .safetensors where PyTorch is (experiments/weights.py)'
        ) from error
    return torch


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError as error:
        raise InputError(
            'files of weights need the package safetensors; pip install safetensors'
        ) from error
    return safetensors.numpy

"""Where a run's network starts from: new weights, a PyTorch file, or another run of ours."""

import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dmsrl_jax.errors import InputError
from dmsrl_jax.interop import torch_weights
from dmsrl_jax.training import restore


def variables(config: Any, model: Any, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The model's variables out of `config.model.pretrained`.

    Args:
        config: `model.pretrained` is empty, a `.pth`, `.pt` or `.safetensors` file, or the working
            folder of a run (its last checkpoint, the parameters that it evaluates). `{seed}` in it
            stands for the config's seed, so that each seed of a table can start from its own run.
        model: the config's model.
        say: told what was loaded.

    Returns:
        `params` and `batch_stats`, or None where everything is new.

    Raises:
        InputError: there is nothing at that place, or it does not fit the model.
    """
    name = config.model.get('pretrained')
    if not name:
        return None
    path = pathlib.Path(name.replace('{seed}', str(config.seed)))
    if not path.exists():
        raise InputError(
            f'model.pretrained: there is no {path}; name a file with weights or the workdir of a '
            'run (experiments/configs/adapt.py has the commands)'
        )
    if path.is_dir():
        return _of_run(config, path, say)
    images = jnp.zeros((2, config.image_size, config.image_size, 3), jnp.float32)
    fresh = jax.jit(model.init)(jax.random.key(config.seed), images)
    return torch_weights.load(config.model.name, path, like=fresh, say=say)


def _of_run(config: Any, folder: pathlib.Path, say: Callable[[str], None]) -> dict[str, Any]:
    found = restore.restore_model(folder)
    ours, theirs = ({**c.model.to_dict(), 'size': c.image_size} for c in (config, found.config))
    different = [f for f in ('name', 'local', 'statistics', 'size') if ours[f] != theirs[f]]
    if different:
        there, here = (', '.join(f'{f}={m[f]}' for f in different) for m in (theirs, ours))
        raise InputError(
            f'model.pretrained: the network of {folder} has {there}, this config asks for {here}'
        )
    say(f'network of {folder}, step {found.step}')
    return found.variables

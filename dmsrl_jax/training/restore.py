"""Opens the working folder of a run: its config and the model as last saved, no corpus needed."""

import dataclasses
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from dmsrl_jax.errors import InputError
from dmsrl_jax.methods.base import MODEL_GROUPS
from dmsrl_jax.training import from_config, step


@dataclasses.dataclass(frozen=True)
class Restored:
    """A trained model.

    Attributes:
        config: the run's config, locked.
        model: its Linen module.
        variables: `params` (averaged ones where the run evaluates those) and `batch_stats`.
        step: number of updates that made them.
    """

    config: ConfigDict
    model: Any
    variables: dict[str, Any]
    step: int

    def forward(self, *, domain: int) -> Callable[[dict[str, Any], jax.Array], jax.Array]:
        """Returns `(variables, uint8 [B, S, S, 3]) -> logits [B, C]`, as in evaluation.

        Args:
            domain: 0 for source, 1 for target; matters where statistics are kept per domain.
        """
        plain = from_config.plain_view(self.config)

        def logits(variables: dict[str, Any], images: jax.Array) -> jax.Array:
            batch = {'image': images}
            return step.eval_step(variables, batch, model=self.model, plain=plain, domain=domain)[
                'logits'
            ]

        return logits


def restore_config(workdir: pathlib.Path) -> ConfigDict:
    """Reads the config of a run.

    Args:
        workdir: folder of the run.

    Returns:
        The config, locked.

    Raises:
        InputError: the folder is missing, is no run's, or the file is damaged.
    """
    path = workdir / 'config.json'
    if not workdir.is_dir():
        raise InputError(f'there is no folder {workdir}; pass the --workdir of a training run')
    if not path.is_file():
        inside = sorted(found.parent for found in workdir.glob('*/**/config.json'))
        hint = f'; perhaps you mean {inside[0]}' if inside else ''
        raise InputError(f'{workdir} is no folder of a run, it has no config.json{hint}')
    try:
        return ConfigDict(json.loads(path.read_text())).lock()
    except (AttributeError, OSError, ValueError, TypeError) as error:
        raise InputError(
            f'cannot read {path}: {error}; start the run again in another folder'
        ) from error


def restore_model(workdir: pathlib.Path | str, *, at: int | None = None) -> Restored:
    """Restores the model of a run, finished or not, on one device or another number than it had.

    Args:
        workdir: folder of the run.
        at: step of the checkpoint; the latest by default.

    Returns:
        Config, model and variables, on the first device.

    Raises:
        InputError: no run, no checkpoint, or one that cannot be read.
    """
    workdir = pathlib.Path(workdir).expanduser()
    config = restore_config(workdir)
    try:
        model = from_config.create_model(config)
        size = config.image_size
    except (AttributeError, KeyError) as error:
        raise InputError(
            f'{workdir}/config.json is not a config of this version: {error}'
        ) from error
    number, saved = _read(workdir / 'checkpoints', _abstract(model, size), config.average, at)
    params = saved['average'] if config.average else saved['params']
    return Restored(config, model, {'params': params, 'batch_stats': saved['batch_stats']}, number)


def _abstract(model: Any, size: int) -> dict[str, Any]:
    """Shapes and dtypes of the model's variables, on the first device; nothing is computed."""
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)


def _read(
    folder: pathlib.Path, like: dict[str, Any], averaged: bool, at: int | None
) -> tuple[int, dict[str, Any]]:
    """Reads the model's part of a checkpoint; optimisers and the rest stay on disk.

    Without orbax's manager, which tidies up: a training run may be writing there.
    """
    import orbax.checkpoint as ocp

    from dmsrl_jax.training.checkpoints import reason

    number = _choose(folder, at)
    wanted = {
        'average' if averaged else 'params': {name: like['params'][name] for name in MODEL_GROUPS},
        'batch_stats': like.get('batch_stats', {}),
    }
    arguments = ocp.args.PyTreeRestore(
        wanted,
        restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
        partial_restore=True,
    )
    handler, path = ocp.PyTreeCheckpointHandler(), folder.absolute() / str(number) / 'state'
    try:
        _check_shapes(wanted, handler.metadata(path).tree)
        return number, handler.restore(path, args=arguments)
    except Exception as error:  # for cut data orbax raises just this
        raise InputError(
            f'checkpoint {folder}/{number} cannot be read into the model of config.json: '
            f'{reason(error)}. If it is damaged, remove that folder: the one before is used then'
        ) from error
    finally:
        handler.close()


def _choose(folder: pathlib.Path, at: int | None) -> int:
    """The latest step with a whole checkpoint, or `at` if there is one."""
    import orbax.checkpoint as ocp

    steps = sorted(ocp.utils.checkpoint_steps(folder)) if folder.is_dir() else []
    if not steps:
        raise InputError(f'no checkpoint in {folder} yet: train first, or name another workdir')
    if at is not None and at not in steps:
        raise InputError(
            f'no checkpoint of step {at} in {folder}; there are: {", ".join(map(str, steps))}'
        )
    return steps[-1] if at is None else at


def _check_shapes(wanted: dict[str, Any], saved: dict[str, Any]) -> None:
    """Compares before anything is read: a failed read leaves threads behind."""
    found = dict(jax.tree_util.tree_leaves_with_path(saved))
    for path, leaf in jax.tree_util.tree_leaves_with_path(wanted):
        shape = getattr(found.get(path), 'shape', None)
        if shape is None or tuple(shape) != leaf.shape:
            name = jax.tree_util.keystr(path, simple=True, separator='.')
            raise ValueError(f'{name} has shape {shape} there, the model needs {leaf.shape}')

"""Checkpoints with orbax: training state, data position and the log's length, saved together."""

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import interrupts
from dmsrl_jax.training.state import TrainState


class Checkpoints:
    """Saves and restores a run.

    A checkpoint holds the whole `TrainState` (parameters, optimisers, averages, random key, step)
    and the position of the input pipeline. Saving is asynchronous; a half-written checkpoint of a
    killed process is never taken for a whole one.
    """

    def __init__(self, workdir: pathlib.Path, *, keep: int = 2):
        """Opens `workdir/checkpoints`.

        Args:
            workdir: folder of the run.
            keep: number of checkpoints kept, the latest ones.
        """
        self._folder = (workdir / 'checkpoints').absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def latest(self) -> int | None:
        """Returns the step of the latest whole checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, position: dict[str, Any]) -> None:
        """Starts to save; the state may be donated right after.

        Args:
            state: the training state.
            position: JSON-able position of the input pipeline.

        Raises:
            InputError: the disk is full or may not be written.
        """
        parts = ocp.args.Composite(
            state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(position)
        )
        try:
            with interrupts.put_off():
                self._manager.save(int(state.step), args=parts)
        except (OSError, ValueError) as error:
            raise _full(self._folder, error) from error

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, dict]:
        """Reads a checkpoint.

        Args:
            like: a state of the same structure and placement.
            step: which one; the latest by default.

        Returns:
            The state and the position of the input pipeline.

        Raises:
            InputError: there is none, or it does not fit the model.
        """
        step = self.latest() if step is None else step
        if step is None:
            raise InputError(
                f'no checkpoint in {self._folder}; train first, or name another workdir'
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract), data=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:  # for cut data orbax raises just this
            raise InputError(
                f'checkpoint {self._folder}/{step} cannot be read into this model: '
                f'{reason(error)}. If it is damaged, remove that folder: the run goes on from the '
                'one before'
            ) from error
        return restored['state'], restored['data']

    def wait(self) -> None:
        """Waits until everything is on disk.

        Raises:
            InputError: the disk is full or may not be written.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except (OSError, ValueError) as error:
            raise _full(self._folder, error) from error

    def close(self) -> None:
        """Waits and releases threads."""
        self.wait()
        self._manager.close()


def reason(error: Exception) -> str:
    """What made orbax fail, in one line."""
    return str(error.__cause__ or error).partition('\n')[0][:500]


def _full(folder: pathlib.Path, error: Exception) -> InputError:
    return InputError(
        f'could not write a checkpoint to {folder}: {error}. Free space or give write permission, '
        'then start the same command again: it goes on from the last whole checkpoint'
    )

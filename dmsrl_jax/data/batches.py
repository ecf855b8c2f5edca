"""The iterator over training batches: its position, its settings, its end (no jax here)."""

from typing import Any

import numpy as np

from dmsrl_jax.errors import InputError

Batch = dict[str, np.ndarray]


class Batches:
    """Endless iterator over training batches, whose state can be saved and restored at any step.

    Attributes:
        iterator: the grain `DatasetIterator` inside, for `grain.checkpoint.CheckpointSave`.
        settings: what the order of the batches depends on; store it beside the state of `iterator`
            and compare it with `check_state` before restoring.
        source_batches_per_epoch: full batches in one pass over the source.
        target_batches_per_epoch: the same of the target, or None without one.
        kept: by role, `source` and `target`, the corpora that are kept in memory.
    """

    def __init__(
        self,
        iterator: Any,
        settings: dict[str, Any],
        source_batches_per_epoch: int,
        target_batches_per_epoch: int | None,
        kept: dict[str, Any] | None = None,
    ):
        self.iterator = iterator
        self.settings = settings
        self.source_batches_per_epoch = source_batches_per_epoch
        self.target_batches_per_epoch = target_batches_per_epoch
        self.kept = kept or {}

    def __iter__(self) -> 'Batches':
        return self

    def __next__(self) -> Batch:
        if self.iterator is None:
            raise RuntimeError('the input pipeline is closed')
        try:
            batch = next(self.iterator)
            if not self.settings['workers']:
                return batch
            # Out of the shared memory of the workers, which must not outlive the iterator.
            return {name: np.array(values) for name, values in batch.items()}
        except InputError:
            raise
        except Exception as error:
            # Worker processes hand their errors over as text inside another error.
            if 'InputError: ' not in str(error):
                raise
            message = str(error).rpartition('InputError: ')[2].splitlines()[0]
            raise InputError(message) from error

    def get_state(self) -> dict[str, Any]:
        """Returns the position as JSON-able values: the next batch is the first one to come."""
        return {'settings': self.settings, 'iterator': self.iterator.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a position that `get_state` returned, here or in another process.

        Raises:
            InputError: the state comes from other settings and would give other batches.
        """
        check_state(state['settings'], self.settings)
        self.iterator.set_state(state['iterator'])

    def start(self) -> None:
        """Starts reading ahead (worker processes take seconds to start)."""
        self.iterator.start_prefetch()

    def close(self) -> None:
        """Stops threads and worker processes; further batches are not to be had."""
        if self.iterator is not None:
            self.iterator.close()
            self.iterator = None  # grain's finaliser fails if it runs at interpreter exit

    def __enter__(self) -> 'Batches':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_state(saved: dict[str, Any], current: dict[str, Any]) -> None:
    """Refuses to resume with settings under which the saved position means other batches.

    Args:
        saved: `Batches.settings` of the run that wrote the state.
        current: `Batches.settings` of this run.

    Raises:
        InputError: they differ; the message lists the differences.
    """
    different = [
        f'{name} was {saved.get(name)!r} and is now {current.get(name)!r}'
        for name in sorted({*saved, *current})
        if saved.get(name) != current.get(name)
    ]
    if different:
        raise InputError(
            f'cannot resume the input pipeline: {"; ".join(different)}. Go on with the saved '
            'values, or start anew in another working folder'
        )

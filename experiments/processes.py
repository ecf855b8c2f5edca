"""Flags with which several processes, on one machine or many, train together."""

import sys
from typing import Any

from absl import flags

from dmsrl_jax.errors import InputError


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags; without them a command is one process with all devices it sees."""
    where = 'HOST:PORT of process 0, or auto where the cluster tells (Slurm, Open MPI, Cloud TPU).'
    flags.DEFINE_string('coordinator', None, where, flag_values=values)
    count, number = 'Number of processes.', 'Number of this process, from 0.'
    flags.DEFINE_integer('processes', None, count, lower_bound=1, flag_values=values)
    flags.DEFINE_integer('process', None, number, lower_bound=0, flag_values=values)


def join(values: flags.FlagValues = flags.FLAGS) -> None:
    """Joins the other processes, before anything asks for devices; waits until all are there.

    Args:
        values: the parsed flags of `define_flags`.

    Raises:
        InputError: flags are missing or contradict each other, or the others were not found.
    """
    coordinator, count, number = (values[n].value for n in ('coordinator', 'processes', 'process'))
    if coordinator is None:
        if count is not None or number is not None:
            raise InputError('--processes and --process do nothing without --coordinator')
        return
    arguments: dict[str, Any] = {}
    if coordinator != 'auto':
        if count is None or number is None or number >= count:
            raise InputError(
                f'--coordinator {coordinator} needs --processes N and, in each of them, --process '
                f'0 .. N-1; got {count} and {number}'
            )
        arguments = {
            'coordinator_address': coordinator, 'num_processes': count, 'process_id': number,
        }  # fmt: skip
        # Where the others do not come, JAX ends the process and says little.
        told = f'process {number} of {count}: waits up to five minutes for all at {coordinator}'
        print(told, file=sys.stderr, flush=True)
    import jax

    try:
        jax.distributed.initialize(**arguments)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f'the processes did not find each other through --coordinator {coordinator}: {error}. '
            'Give the address of process 0 as HOST:PORT, and --processes and --process'
        ) from error

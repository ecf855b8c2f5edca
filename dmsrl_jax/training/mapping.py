"""Runs per-device functions on all devices, through `shard_map` (default) or `pmap`."""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dmsrl_jax.errors import InputError
from dmsrl_jax.training.step import AXIS

MAPPINGS = ('shard_map', 'pmap')
# Otherwise XLA copies a dense kernel before it updates it in place.
_ON_CPU = {'xla_cpu_copy_insertion_use_region_analysis': True}


def is_first_process() -> bool:
    """Whether this is the process that writes files and speaks; the only one, or number 0."""
    return jax.process_index() == 0


def make_virtual(count: int) -> None:
    """Makes `count` virtual devices of the CPU, if JAX has not started yet.

    Small networks, whose single operations do not fill several cores, train faster so. Nothing
    changes for a GPU or a TPU, where the user has said how many devices the CPU is, and for one of
    several processes, which have their devices together.
    """
    flag = 'xla_force_host_platform_device_count' in os.environ.get('XLA_FLAGS', '')
    told = flag or jax.config.jax_num_cpu_devices > 0
    if count > 1 and not told and not jax.distributed.is_initialized():
        with contextlib.suppress(RuntimeError):  # it has started
            jax.config.update('jax_num_cpu_devices', count)


def devices(count: int = 0) -> list[jax.Device]:
    """Returns the first `count` devices, all for 0.

    Raises:
        InputError: there are fewer, or some of several processes would be left without.
    """
    present = jax.devices()
    if jax.process_count() > 1 and count not in (0, len(present)):
        raise InputError(
            f'devices={count} of the {len(present)} of {jax.process_count()} processes: they take '
            'all of them, devices=0; start fewer processes instead'
        )
    if count > len(present):
        raise InputError(
            f'devices={count} asked for, but JAX sees {len(present)} '
            f'({present[0].platform}); for virtual CPU devices set '
            f'XLA_FLAGS=--xla_force_host_platform_device_count={count}'
        )
    return present[: count or None]


def split_batch(batch_size: int, accumulate: int, device_count: int) -> None:
    """Checks that a batch can be shared out.

    Raises:
        InputError: it cannot; the message names the nearest sizes that can.
    """
    unit = accumulate * device_count
    if batch_size < 1 or batch_size % unit:
        below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
        nearest = f'{below} or {above}' if below else f'{above}'
        raise InputError(
            f'batch_size={batch_size} cannot be shared by {device_count} device(s) x '
            f'accumulate={accumulate}: take a multiple of {unit}, for instance {nearest}'
        )


def map_train_step(
    step: Callable, chosen: Sequence[jax.Device], mapping: str = 'shard_map'
) -> Callable:
    """Maps `(state, batch) -> (state, metrics)` over devices.

    The state must not be used again: `shard_map` donates its buffers, `pmap` does not.

    Args:
        step: per-device function over the axis `AXIS`; state and metrics leave it equal everywhere.
        chosen: the devices.
        mapping: one of `MAPPINGS`.

    Returns:
        A compiled function of a replicated state and a batch with its global leading size.

    Raises:
        InputError: unknown mapping, or one that several processes cannot use.
    """
    if mapping == 'shard_map':
        mesh = Mesh(np.array(chosen), (AXIS,))
        mapped = jax.shard_map(
            step, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=(P(), P()), check_vma=False
        )
        on_cpu = chosen[0].platform == 'cpu'
        return jax.jit(mapped, donate_argnums=0, compiler_options=_ON_CPU if on_cpu else None)
    if mapping == 'pmap' and jax.process_count() > 1:
        raise InputError('mapping=pmap is for one process; several need mapping=shard_map')
    if mapping == 'pmap':
        return _pmap(step, chosen)
    raise InputError(f'unknown mapping {mapping!r}; there are: {", ".join(MAPPINGS)}')


def _pmap(step: Callable, chosen: Sequence[jax.Device]) -> Callable:
    count = len(chosen)
    mapped = jax.pmap(step, axis_name=AXIS, devices=chosen, in_axes=(None, 0), out_axes=None)
    share = jax.jit(partial(jax.tree.map, lambda x: x.reshape(count, -1, *x.shape[1:])))

    def run(state: Any, batch: Any) -> Any:
        return mapped(state, share(batch))

    return run


def can_dead_lock(chosen: Sequence[jax.Device]) -> bool:
    """Whether collectives that queue up can wait for each other: on several devices of a CPU."""
    return chosen[0].platform == 'cpu' and len(chosen) > 1


def map_eval_step(step: Callable, chosen: Sequence[jax.Device]) -> Callable:
    """Maps `(variables, batch) -> counts` over devices; counts leave it summed over the axis.

    Where queued calls can dead-lock, each waits for its result.
    """
    mesh = Mesh(np.array(chosen), (AXIS,))
    mapped = jax.shard_map(step, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P(), check_vma=False)
    compiled = jax.jit(mapped)
    if not can_dead_lock(chosen):
        return compiled
    return lambda variables, batch: jax.block_until_ready(compiled(variables, batch))


def replicate(tree: Any, chosen: Sequence[jax.Device]) -> Any:
    """Places a tree on all devices; several processes pass equal trees."""
    sharding = NamedSharding(Mesh(np.array(chosen), (AXIS,)), P())
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(partial(_replicate_over_processes, sharding=sharding), tree)


def _replicate_over_processes(x: jax.Array, *, sharding: NamedSharding) -> jax.Array:
    """What `device_put` does for one process; that cannot place random keys elsewhere."""
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _replicate_over_processes(jax.random.key_data(x), sharding=sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    return jax.make_array_from_process_local_data(sharding, np.asarray(x), x.shape)


def shard(batch: Any, chosen: Sequence[jax.Device]) -> Any:
    """Places a batch on the devices, split along its first axis.

    With several processes each passes its own share, and the batch is the union of the shares.
    """
    sharding = NamedSharding(Mesh(np.array(chosen), (AXIS,)), P(AXIS))
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), batch)

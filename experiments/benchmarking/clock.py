"""Time of several tasks side by side: they take turns, so that a busy machine slows all alike."""

import math
import multiprocessing
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments.benchmarking.sides import Task

# A task's background work has ended when it takes less than half a core for this long.
_POLL, _QUIET = 0.001, 0.3


def processor_seconds() -> float:
    """Processor time of this process and, on Linux, of the worker processes that it started."""
    children = multiprocessing.active_children()
    return time.process_time() + sum(_used(child.pid) for child in children if child.pid)


def _used(pid: int) -> float:
    try:
        return time.clock_gettime(~pid << 3 | 2)  # Linux's clock of another process
    except OSError:  # it has just ended, or this is no Linux
        return 0.0


CLOCKS: dict[str, Callable[[], float]] = {'wall': time.perf_counter, 'cpu': processor_seconds}


class Timing(NamedTuple):
    """Times of one task in seconds.

    Attributes:
        median: of one step, over turns.
        low: first quartile.
        high: third quartile.
        start: the first step less the median: compilation, allocation, loading.
        steps: how many were timed.
        turns: mean step time of each turn, in the order in which they were taken.
    """

    median: float
    low: float
    high: float
    start: float
    steps: int
    turns: tuple[float, ...]


def alternate(
    tasks: Mapping[str, Task],
    *,
    steps: int,
    turn: int = 1,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Times tasks in turns: first one, then the other, and again.

    The turn of a task that reads ahead lasts until it is idle again: it pays for as many batches
    as it takes, and leaves the next task alone.

    Args:
        tasks: what to time, by name.
        steps: how many steps of each to time; rounded up to whole turns.
        turn: steps in one turn, after which the task synchronises.
        warmup: steps of each before its first turn, the first of which is timed apart.
        clock: seconds.

    Returns:
        Times by name.
    """

    def seconds(task: Task, count: int) -> float:
        begun = clock()
        task.run(count)
        return (_idle_since(clock) if task.reads_ahead else clock()) - begun

    starts = {}
    for name, task in tasks.items():
        starts[name] = seconds(task, 1)
        if warmup > 1:
            seconds(task, warmup - 1)
    turns: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(math.ceil(steps / turn)):
        for name, task in tasks.items():
            turns[name].append(seconds(task, turn) / turn)
    return {name: _summary(found, starts[name], turn) for name, found in turns.items()}


def _idle_since(clock: Callable[[], float]) -> float:
    """Waits until nothing works in the background; returns when it stopped."""
    seen, stopped, until = processor_seconds(), clock(), time.monotonic() + _QUIET
    while time.monotonic() < until:
        time.sleep(_POLL)
        now = processor_seconds()
        if now - seen > _POLL / 2:
            stopped, until = clock(), time.monotonic() + _QUIET
        seen = now
    return stopped


def _summary(turns: list[float], start: float, turn: int) -> Timing:
    low, median, high = (float(x) for x in np.percentile(turns, (25, 50, 75)))
    return Timing(median, low, high, max(start - median, 0.0), turn * len(turns), tuple(turns))


def ratio(one: Timing, other: Timing) -> float:
    """How many times as fast `one` is as `other`: median over turns of other / one.

    Neighbouring turns meet the same load of the machine, so their quotients spread less than the
    times do.
    """
    return float(np.median(np.divide(other.turns, one.turns)))


def row(name: str, task: Task, timing: Timing) -> dict[str, Any]:
    """What the report says of one task, as JSON-able values; times in seconds."""
    return {
        'side': name,
        'images_per_second': task.images / timing.median,
        'step_seconds': timing.median,
        'quartiles': [timing.low, timing.high],
        'steps': timing.steps,
        'start_seconds': timing.start,
        'memory_bytes': task.memory(),
        'images': task.images,
        'parameters': task.parameters,
        'dtype': task.dtype,
    }

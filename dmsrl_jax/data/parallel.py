"""One function over many items on several processes: in order, with bounded memory."""

import collections
import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dmsrl_jax.errors import InputError

Item = TypeVar('Item')
Result = TypeVar('Result')
# Chunks that wait for each process: enough that none is ever idle, few enough to stay small.
_AHEAD = 4


def ordered(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 0, chunk: int = 16
) -> Iterator[Result]:
    """Maps a function over items; results come in the order of the items, whoever made them.

    Args:
        function: can be pickled; called in another process if there are any.
        items: read only as far ahead as needed, so that memory does not grow with their number.
        workers: processes; 0 runs everything in this one.
        chunk: items that travel together.

    Yields:
        `function(item)` for each item.

    Raises:
        InputError: a process was killed.
        Exception: what `function` raises first.
    """
    if workers < 1:
        yield from map(function, items)
        return
    # A fork would copy the locks of whatever threads are running here.
    context = multiprocessing.get_context('spawn')
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_begin)
    try:
        yield from _pooled(pool, function, items, workers * _AHEAD, chunk)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise InputError(
            f'one of {workers} worker processes was killed, perhaps for want of memory; try fewer'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _pooled(
    pool: concurrent.futures.Executor,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    most: int,
    chunk: int,
) -> Iterator[Result]:
    pending: collections.deque[concurrent.futures.Future[list[Result]]] = collections.deque()
    iterator = iter(items)
    while part := list(itertools.islice(iterator, chunk)):
        pending.append(pool.submit(_each, function, part))
        if len(pending) >= most:
            yield from pending.popleft().result()
    while pending:
        yield from pending.popleft().result()


def _each(function: Callable[[Item], Result], part: list[Item]) -> list[Result]:
    return [function(item) for item in part]


def _begin() -> None:
    # Ctrl-C reaches every process; the first one ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the first one was killed; else it would wait for work for ever."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)

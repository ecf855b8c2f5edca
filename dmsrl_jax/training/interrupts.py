"""Ctrl-C that neither gets lost nor breaks a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn


class Interrupts:
    """Remembers Ctrl-C while it is entered: raised inside a callback of a library it is lost.

    Outside of the main thread, which alone is interrupted, it does nothing.
    """

    def __init__(self) -> None:
        self._seen = False
        self._before: Any = None

    def __enter__(self) -> 'Interrupts':
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._raise)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raises KeyboardInterrupt if one was raised before and came to nothing."""
        if self._seen:
            raise KeyboardInterrupt

    def _raise(self, number: int, frame: FrameType | None) -> NoReturn:
        self._seen = True
        raise KeyboardInterrupt


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """Puts Ctrl-C off to the end; in the middle it would lose the checkpoint, or be lost itself."""
    if threading.current_thread() is not threading.main_thread():
        yield  # which is the only one that is interrupted
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt

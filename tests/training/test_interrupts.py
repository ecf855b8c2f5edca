import contextlib
import signal
import threading

import pytest

from dmsrl_jax.training import interrupts


def interrupted():
    signal.raise_signal(signal.SIGINT)


def test_an_interruption_is_raised_at_once_and_remembered_where_it_was_swallowed():
    before = signal.getsignal(signal.SIGINT)
    with interrupts.Interrupts() as kept:
        kept.check()
        with pytest.raises(KeyboardInterrupt):
            interrupted()
        with pytest.raises(KeyboardInterrupt):
            kept.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_the_handler_comes_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)
    with contextlib.suppress(ValueError), interrupts.Interrupts():
        raise ValueError
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_are_not_interrupted():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with interrupts.Interrupts() as kept:
            kept.check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]

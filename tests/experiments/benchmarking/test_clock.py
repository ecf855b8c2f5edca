"""Turns, summaries and ratios with a clock that the tests move."""

import os
import sys
import time

import pytest

from experiments.benchmarking import clock
from experiments.benchmarking.sides import Task


class Machine:
    """A clock, and tasks that take the given seconds per step, one after the other."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def task(self, name, *seconds):
        left = list(seconds)

        def run(steps):
            self.calls.append((name, steps))
            for _ in range(steps):
                self.now += left.pop(0) if len(left) > 1 else left[0]

        return Task(run, images=8, parameters=3, dtype='float32', memory=lambda: 2**20)


def measure(machine, tasks, **options):
    return clock.alternate(tasks, clock=lambda: machine.now, **options)


def test_tasks_take_turns_after_their_warm_up():
    machine = Machine()
    tasks = {name: machine.task(name, 1.0) for name in 'ab'}
    found = measure(machine, tasks, steps=5, turn=2, warmup=3)
    warm = [('a', 1), ('a', 2), ('b', 1), ('b', 2)]
    assert machine.calls == warm + [('a', 2), ('b', 2)] * 3
    assert found['a'].steps == 6


def test_summary():
    machine = Machine()
    tasks = {'a': machine.task('a', 9.0, 1.0, 2.0, 3.0, 4.0, 5.0)}
    found = measure(machine, tasks, steps=5, warmup=1)['a']
    assert found.turns == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert (found.low, found.median, found.high) == (2.0, 3.0, 4.0)
    assert found.start == 6.0


def test_the_ratio_compares_neighbouring_turns():
    machine = Machine()
    # In the middle the machine is ten times slower for both.
    tasks = {
        'quick': machine.task('quick', 1.0, 1.0, 10.0, 10.0, 1.0),
        'slow': machine.task('slow', 2.0, 2.0, 20.0, 20.0, 2.0),
    }
    found = measure(machine, tasks, steps=4, warmup=1)
    assert clock.ratio(found['quick'], found['slow']) == 2.0
    assert clock.ratio(found['slow'], found['quick']) == 0.5
    assert clock.ratio(found['slow'], found['slow']) == 1.0


def test_the_ratio_is_the_median_of_quotients():
    machine = Machine()
    tasks = {
        'quick': machine.task('quick', 1.0, 1.0, 10.0, 3.0),
        'slow': machine.task('slow', 1.0, 2.0, 10.0, 9.0),
    }
    found = measure(machine, tasks, steps=3, warmup=1)
    # Quotients 2, 1 and 3; the quotient of the medians would be 3.
    assert clock.ratio(found['quick'], found['slow']) == 2.0


def test_row():
    machine = Machine()
    task = machine.task('a', 3.0, 0.5)
    timing = measure(machine, {'a': task}, steps=2, warmup=1)['a']
    assert clock.row('a', task, timing) == {
        'side': 'a',
        'images_per_second': 16.0,
        'step_seconds': 0.5,
        'quartiles': [0.5, 0.5],
        'steps': 2,
        'start_seconds': 2.5,
        'memory_bytes': 2**20,
        'images': 8,
        'parameters': 3,
        'dtype': 'float32',
    }


def test_the_turn_of_a_task_that_reads_ahead_lasts_until_it_is_idle(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(clock, '_idle_since', lambda read: read() + 5.0)
    tasks = {name: machine.task(name, 1.0) for name in 'ab'}
    tasks['b'].reads_ahead = True
    found = measure(machine, tasks, steps=1, warmup=1)
    assert (found['a'].median, found['b'].median) == (1.0, 6.0)


def test_idle_since_the_last_poll_that_saw_work(monkeypatch):
    used, now = iter([0.0, 1.0, 2.0]), iter(range(100))
    monkeypatch.setattr(clock, 'processor_seconds', lambda: next(used, 2.0))
    monkeypatch.setattr(clock, '_QUIET', 0.02)
    assert clock._idle_since(lambda: next(now)) == 2  # 0 was at the start


@pytest.mark.skipif(sys.platform != 'linux', reason='only Linux tells of other processes')
def test_processor_time_of_another_process():
    before = time.process_time()
    assert before <= clock._used(os.getpid()) <= time.process_time()
    assert clock._used(2**22 + 1) == 0.0  # there is no such process


@pytest.mark.parametrize('name', ['wall', 'cpu'])
def test_clocks_go_forward(name):
    read = clock.CLOCKS[name]
    assert 0.0 <= read() <= read()

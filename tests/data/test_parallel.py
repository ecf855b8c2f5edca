import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from dmsrl_jax.data import parallel
from dmsrl_jax.errors import InputError


def square(x):
    return x * x


def process(_):
    return os.getpid()


def refuse_three(x):
    if x == 3:
        raise InputError('no three')
    return x


def vanish(x):
    os._exit(1)


def write_number_and_stay(folder):
    (pathlib.Path(folder) / str(os.getpid())).touch()
    time.sleep(600)


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


class TestHere:
    def test_order_and_laziness(self):
        read = []

        def items():
            for i in range(5):
                read.append(i)
                yield i

        results = parallel.ordered(square, items())
        assert next(results) == 0
        assert read == [0]
        assert list(results) == [1, 4, 9, 16]


class TestProcesses:
    def test_order_is_that_of_the_items_and_work_is_elsewhere(self):
        assert list(parallel.ordered(square, range(50), workers=2, chunk=3)) == [
            x * x for x in range(50)
        ]
        assert os.getpid() not in set(parallel.ordered(process, range(4), workers=1, chunk=1))

    def test_reads_only_a_bounded_number_ahead(self):
        read = []

        def items():
            for i in range(1000):
                read.append(i)
                yield i

        results = parallel.ordered(square, items(), workers=1, chunk=2)
        assert next(results) == 0
        assert len(read) == parallel._AHEAD * 2
        results.close()

    def test_mistakes_arrive(self):
        results = parallel.ordered(refuse_three, range(9), workers=1, chunk=1)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(InputError, match='no three'):
            next(results)

    def test_killed_process_is_told(self):
        with pytest.raises(InputError, match='one of 1 worker processes was killed'):
            list(parallel.ordered(vanish, range(3), workers=1))


def test_workers_end_with_the_process_that_started_them(tmp_path):
    text = f"""
from dmsrl_jax.data import parallel
from tests.data.test_parallel import write_number_and_stay

if __name__ == '__main__':
    list(parallel.ordered(write_number_and_stay, [{str(tmp_path)!r}] * 2, workers=2, chunk=1))
"""
    script = tmp_path / 'start.py'
    script.write_text(text)
    root = pathlib.Path(__file__).parents[2]
    started = subprocess.Popen(
        [sys.executable, script], env={**os.environ, 'PYTHONPATH': str(root)}
    )
    workers = []
    deadline = time.monotonic() + 120
    while len(workers) < 2:
        assert time.monotonic() < deadline
        assert started.poll() is None
        time.sleep(0.05)
        workers = [int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()]
    started.send_signal(signal.SIGKILL)
    started.wait()
    deadline = time.monotonic() + 60
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, 'workers outlive the process that started them'
        time.sleep(0.05)

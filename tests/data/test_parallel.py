import os
import pathlib
import signal
import subprocess
import sys

import pytest

from dmsrl_jax.data import parallel
from dmsrl_jax.errors import InputError

ROOT = pathlib.Path(__file__).parents[2]


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


DIES = """
import os, signal
from dmsrl_jax.data import parallel

def process(_):
    return os.getpid()

if __name__ == '__main__':
    results = parallel.ordered(process, range(99), workers=1, chunk=1)
    print(next(results), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


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

    def test_processes_end_when_the_first_one_is_killed(self, tmp_path):
        (tmp_path / 'dies.py').write_text(DIES)
        # A worker that lives on keeps the pipe open, so that this would never return.
        done = subprocess.run(
            [sys.executable, tmp_path / 'dies.py'],
            env=os.environ | {'PYTHONPATH': str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert int(done.stdout) > 0

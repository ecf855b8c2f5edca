import pathlib
import sys

import pytest

from experiments import peak_memory

pytestmark = pytest.mark.skipif(
    not pathlib.Path('/proc/self/smaps_rollup').exists(), reason='reads what Linux tells'
)
HOLD = 'import time; data = b"x" * (80 << 20); time.sleep(0.6)'


def python(text):
    return [sys.executable, '-S', '-c', text]


def test_counts_what_a_process_holds():
    peak = peak_memory.watch(python(HOLD), every=0.05)
    assert 80 <= peak.first < 120
    assert peak.together == pytest.approx(peak.first, rel=0.05)
    assert peak.seconds >= 0.6
    assert peak.code == 0


def test_counts_the_processes_below():
    below = f'import subprocess, sys; subprocess.run([sys.executable, "-S", "-c", {HOLD!r}])'
    peak = peak_memory.watch(python(below), every=0.05)
    assert peak.first < 60
    assert 80 <= peak.together < 160


def test_command_line(capfd):
    assert peak_memory.main([]) == 2
    assert 'Runs a command' in capfd.readouterr().out
    assert peak_memory.main(['--help']) == 0
    assert 'Runs a command' in capfd.readouterr().out
    assert peak_memory.main(['./no-such-program']) == 2
    assert capfd.readouterr().err == (
        'error: cannot start ./no-such-program: No such file or directory\n'
    )
    assert peak_memory.main(python('print("hello"); raise SystemExit(3)')) == 3
    out = capfd.readouterr().out
    assert out.startswith('hello\npeak memory: ')
    assert out.endswith(' s of processors\n')
    assert peak_memory.main(python('import os; os.kill(os.getpid(), 9)')) == 128 + 9

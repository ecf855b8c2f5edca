"""Runs a command and prints the most memory that it and its processes took together (Linux).

python experiments/peak_memory.py python experiments/prepare.py --corpus synthetic_faces/studio
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

_EVERY = 0.2
_MIB = 1 << 10  # the kernel counts in KiB


class Peak(NamedTuple):
    """What a command took.

    Attributes:
        together: MiB of all its processes at their largest moment, shared pages counted once.
        first: MiB of the first process at its own largest moment.
        seconds: on the clock.
        processor: seconds of processors, all processes together.
        code: exit status.
    """

    together: float
    first: float
    seconds: float
    processor: float
    code: int


def watch(command: Sequence[str], *, every: float = _EVERY) -> Peak:
    """Runs a command and looks at its processes until it ends.

    Args:
        command: program and arguments; its output goes where ours goes.
        every: seconds between two looks.

    Returns:
        What it took.

    Raises:
        OSError: it cannot be started.
    """
    start, before, together, first = time.perf_counter(), os.times(), 0, 0
    process = subprocess.Popen(command)
    while process.poll() is None:
        shares = [_share(number) for number in _family(process.pid)]
        together, first = max(together, sum(shares)), max(first, shares[0])
        time.sleep(every)
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    seconds = time.perf_counter() - start
    return Peak(together / _MIB, first / _MIB, seconds, used, process.returncode)


def _family(root: int) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{entry}/stat') as file:
                parent = int(file.read().rpartition(')')[2].split()[1])
        except OSError:  # it has just ended
            continue
        children.setdefault(parent, []).append(int(entry))
    family = [root]
    for member in family:  # grows while it is walked
        family += children.get(member, [])
    return family


def _share(number: int) -> int:
    """KiB of a process; of pages that n processes share it is an n-th."""
    try:
        with open(f'/proc/{number}/smaps_rollup') as file:
            return next(int(line.split()[1]) for line in file if line.startswith('Pss:'))
    except (OSError, StopIteration):  # it has just ended
        return 0


def main(arguments: Sequence[str]) -> int:
    """Runs the command, prints what it took, and gives its exit status."""
    if not arguments or arguments[0] in ('-h', '--help'):
        print(__doc__)
        return 0 if arguments else 2
    try:
        peak = watch(arguments)
    except OSError as error:
        print(f'error: cannot start {arguments[0]}: {error.strerror}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    print(
        f'peak memory: {peak.together:.0f} MiB together, {peak.first:.0f} MiB the first process; '
        f'{peak.seconds:.0f} s, {peak.processor:.0f} s of processors'
    )
    return peak.code if peak.code >= 0 else 128 - peak.code  # killed: as shells tell it


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))

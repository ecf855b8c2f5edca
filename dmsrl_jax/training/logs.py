"""What a run writes while it trains: metrics.jsonl, TensorBoard events, progress for people."""

import json
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

# Shown before what a method names, and not a second time.
_FIRST = ('loss', 'classification')
_LAST = ('images_per_second', 'gradient_norm')
_BAR = '{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps {elapsed}{postfix}'


class RunLog:
    """Writes metrics of a run; a resumed run first forgets what lies after its checkpoint."""

    def __init__(
        self,
        workdir: pathlib.Path,
        *,
        total_steps: int,
        start: int,
        target_from: int | None = None,
        shown: Sequence[str] | None = None,
        stream: TextIO | None = None,
    ):
        """Opens the files.

        Args:
            workdir: folder of the run.
            total_steps: length of the run, for the progress bar.
            start: the step that the run goes on from; later lines of an earlier try are removed.
            target_from: steps after this one take a target batch, too, and count twice in the time
                that is left; None: no step does.
            shown: names of the metrics that people see besides the loss and its classification
                term; None for all.
            stream: where people read along, standard error by default.
        """
        from tensorboardX import SummaryWriter
        from tqdm import tqdm

        self._path = workdir / 'metrics.jsonl'
        # After the last step only the evaluation is left, which is written again.
        _truncate(self._path, start, ends=start == total_steps)
        self._file = self._path.open('a')
        self._events = SummaryWriter(str(workdir), purge_step=start or None, write_to_disk=True)
        self._stream = sys.stderr if stream is None else stream
        self._bar = (
            tqdm(
                total=total_steps,
                initial=start,
                file=self._stream,
                dynamic_ncols=True,
                bar_format=_BAR,
            )
            if self._stream.isatty()
            else None
        )
        self._total, self._start, self._shown = total_steps, start, shown
        self._target_from = total_steps if target_from is None else target_from
        self._begun = time.monotonic()

    def write(self, step: int, metrics: Mapping[str, float], *, show: bool = True) -> None:
        """Adds one line to metrics.jsonl, the same to TensorBoard, and tells people."""
        self._file.write(json.dumps({'step': step, **metrics}) + '\n')
        self._file.flush()
        for name, value in metrics.items():
            self._events.add_scalar(name, value, step)
        if show:
            self._show(step, metrics)

    def _show(self, step: int, metrics: Mapping[str, float]) -> None:
        others = [name for name in metrics if name not in _FIRST + _LAST]
        names = [*_FIRST, *(others if self._shown is None else self._shown)]
        shown = {name: f'{metrics[name]:.3g}' for name in names if name in metrics}
        speed = (
            f'{metrics["images_per_second"]:.0f} img/s' if 'images_per_second' in metrics else ''
        )
        if self._bar is not None:
            left = self._bar.format_interval(self._left(step))
            terms = [f'{_short(name)} {value}' for name, value in shown.items()]
            self._bar.set_postfix_str(' '.join([f'{left} left', speed, *terms]), refresh=False)
            self._bar.update(step - self._bar.n)
            self._bar.refresh()
            return
        parts = [f'step {step}/{self._total}', speed, *(f'{n} {v}' for n, v in shown.items())]
        self.say(', '.join(part for part in [*parts, f'{self._left(step):.0f} s left'] if part))

    def _left(self, step: int) -> float:
        """Seconds to the end, by the batches of both domains since the start."""
        start, step, total = (
            number + max(number - self._target_from, 0)
            for number in (self._start, step, self._total)
        )
        return (time.monotonic() - self._begun) / max(step - start, 1) * (total - step)

    def say(self, text: str) -> None:
        """Prints a line without breaking the progress bar."""
        if self._bar is not None:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Closes files and bar."""
        if self._bar is not None:
            self._bar.close()
        self._events.close()
        self._file.close()


class NoLog:
    """The log of a process that is not the first one: says and writes nothing."""

    def write(self, step: int, metrics: Mapping[str, float], *, show: bool = True) -> None:
        """Does nothing."""

    def say(self, text: str) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def _short(name: str) -> str:
    return {'classification': 'ce', 'mutual_information': 'mi', 'coverage': 'cover'}.get(name, name)


def _truncate(path: pathlib.Path, start: int, *, ends: bool) -> None:
    """Keeps the lines up to a step, of the last one without its evaluation; cut lines go too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().splitlines():
        try:
            values = json.loads(line)
            evaluated = ends and values['step'] == start and 'loss' not in values
            if values['step'] <= start and not evaluated:
                kept.append(line.decode())
        except (ValueError, KeyError, TypeError):  # no JSON, or bytes that are no text
            break
    _replace(path, ''.join(f'{line}\n' for line in kept))


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes a JSON file whole or not at all."""
    _replace(path, json.dumps(value, indent=2) + '\n')


def _replace(path: pathlib.Path, text: str) -> None:
    part = path.with_name(path.name + '.part')
    try:
        part.write_text(text)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise

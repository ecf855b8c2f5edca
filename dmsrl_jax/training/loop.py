"""The one loop: train, watch, evaluate, checkpoint, finish with result.json."""

import math
import pathlib
import sys
import time
from typing import Any

import jax

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import mapping, run
from dmsrl_jax.training.checkpoints import Checkpoints
from dmsrl_jax.training.interrupts import Interrupts
from dmsrl_jax.training.logs import NoLog, RunLog, write_json
from dmsrl_jax.training.state import TrainState, all_finite, model_params
from dmsrl_jax.training.workdirs import alone, claim, finished, leave


def train(config: Any, workdir: pathlib.Path | str) -> dict[str, Any]:
    """Runs a config to its end, from wherever the working folder stands.

    Args:
        config: a config as in `experiments/configs/common.py`.
        workdir: folder of the run; made if missing. Started again with the same config, a run goes
            on from its last checkpoint and ends with the same parameters; a finished one returns
            its result. Several processes share one, and the first of them writes.

    Returns:
        What is written to `result.json`.

    Raises:
        InputError: a mistake in config or data, a working folder of another config, a loss that is
            no longer finite, a disk that is full.
    """
    mapping.make_virtual(config.devices)  # before anything starts JAX
    workdir = pathlib.Path(workdir).expanduser().absolute()
    claim(workdir, config)
    if (result := finished(workdir)) is not None:
        _say(f'{workdir} is finished; remove it to run again')
        return result
    with alone(workdir, config), Interrupts() as interrupts:
        try:
            return _train(config, workdir, interrupts)
        except BaseException:
            leave(workdir)
            raise


def _train(config: Any, workdir: pathlib.Path, interrupts: Interrupts) -> dict[str, Any]:
    parts = run.prepare(config, say=_say)
    try:
        return _go_on(config, workdir, parts, interrupts)
    except OSError as error:
        raise InputError(
            f'cannot write to {workdir}: {error}. Free space or give write permission, then start '
            'the same command again'
        ) from error
    except jax.errors.JaxRuntimeError as error:
        if 'RESOURCE_EXHAUSTED' not in str(error):
            raise
        raise InputError(
            f'{str(error).partition(chr(10))[0]}. Lower batch_size, eval_batch_size or image_size, '
            'raise accumulate, or take more devices'
        ) from error
    finally:
        parts.batches.close()


def _say(text: str) -> None:
    if mapping.is_first_process():
        print(text, file=sys.stderr)


def _go_on(
    config: Any, workdir: pathlib.Path, parts: run.Run, interrupts: Interrupts
) -> dict[str, Any]:
    """Trains from the last checkpoint to the end, or from the beginning where there is none."""
    checkpoints = Checkpoints(workdir, keep=config.keep_checkpoints)
    state, notes = parts.initial, {'seconds': 0.0, 'oracle': {'step': 0, 'accuracy': 0.0}}
    if checkpoints.latest() is not None:
        state, position = checkpoints.restore(state)
        if not all_finite((state.params, state.average, state.batch_stats)):
            raise InputError(
                f'checkpoint {workdir}/checkpoints/{int(state.step)} holds numbers that are not '
                'finite: it is damaged. Remove that folder: the run goes on from the one before'
            )
        parts.batches.set_state(position['batches'])
        notes = position['notes']
    log = _log(workdir, parts, int(state.step))
    try:
        if int(state.step):
            log.say(f'going on from step {int(state.step)}')
        return _Loop(config, workdir, parts, checkpoints, log, notes, interrupts).run(state)
    finally:
        log.close()


def _log(workdir: pathlib.Path, parts: run.Run, start: int) -> RunLog | NoLog:
    if not mapping.is_first_process():
        return NoLog()
    return RunLog(
        workdir,
        total_steps=parts.total_steps,
        start=start,
        target_from=parts.source_steps if parts.method.uses_target else None,
        shown=parts.method.shown,
    )


class _Loop:
    """One run on its way; holds what the steps of the loop share."""

    def __init__(
        self,
        config: Any,
        workdir: pathlib.Path,
        parts: run.Run,
        checkpoints: Checkpoints,
        log: RunLog | NoLog,
        notes: dict[str, Any],
        interrupts: Interrupts,
    ):
        self.config, self.workdir, self.parts = config, workdir, parts
        self.checkpoints, self.log, self.notes = checkpoints, log, notes
        self.interrupts = interrupts
        self.tests = {
            role: run.decoded(parts, config, f'{role}_test')
            for role in ('source', 'target')
            if f'{role}_test' in parts.data
        }
        self.corpus = run.decoded(parts, config, 'target')
        self.pending: list[tuple[int, dict[str, jax.Array]]] = []
        self.compiled: set[Any] = set()
        self.busy, self.images_timed = 0.0, 0
        # With several virtual CPU devices, queued collectives can dead-lock: wait for each step.
        self.wait_each = parts.chosen[0].platform == 'cpu'

    def run(self, state: TrainState) -> dict[str, Any]:
        config, total = self.config, self.parts.total_steps
        number = int(state.step)
        begun = time.monotonic() - self.notes['seconds']
        try:
            while number < total:
                self.interrupts.check()
                state = self._step(state, number)
                number += 1
                if number % config.log_every == 0 or number == total:
                    self._report()
                if config.eval_every and number % config.eval_every == 0 and number < total:
                    self._check()  # waits for the steps, whose time is not the evaluation's
                    self._evaluate(state, number)
                if number % config.checkpoint_every == 0 or number == total:
                    self._check()
                    self.notes['seconds'] = time.monotonic() - begun
                    self._save(state)
        except KeyboardInterrupt:
            self.checkpoints.wait()
            kept = self.checkpoints.latest()
            where = 'begins anew' if kept is None else f'goes on from step {kept}'
            raise InputError(f'stopped at step {number}; the same command {where}') from None
        finally:
            self.checkpoints.wait()
        return self._finish(state, self._evaluate(state, number), time.monotonic() - begun)

    def _step(self, state: TrainState, number: int) -> TrainState:
        begun = time.monotonic()
        batch = mapping.shard(next(self.parts.batches), self.parts.chosen)
        alone = number < self.parts.source_steps
        step = self.parts.source_step if alone else self.parts.train_step
        state, metrics = step(state, batch)
        if self.wait_each:
            jax.block_until_ready(state.step)
        self.pending.append((number + 1, metrics))
        if step in self.compiled:  # the first step of its kind in this process is left out
            self.busy += time.monotonic() - begun
            domains = 2 if self.parts.method.uses_target and not alone else 1
            self.images_timed += domains * self.config.batch_size
        self.compiled.add(step)
        return state

    def _check(self) -> dict[str, float]:
        """Fetches the metrics of the steps since the last check; stops at the first bad one."""
        begun = time.monotonic()
        fetched = [(number, jax.device_get(metrics)) for number, metrics in self.pending]
        self.busy += time.monotonic() - begun
        self.pending = []
        for number, metrics in fetched:
            bad = [name for name, value in metrics.items() if not math.isfinite(value)]
            if bad:
                raise InputError(
                    f'step {number}: {", ".join(bad)} not finite. {self._kept()}; lower '
                    'optimizer.learning_rate or the weight of that term'
                )
        return {name: float(value) for name, value in fetched[-1][1].items()} if fetched else {}

    def _kept(self) -> str:
        kept = self.checkpoints.latest()
        step = 'none' if kept is None else f'of step {kept}'
        return f'The last good checkpoint in {self.workdir} is {step}'

    def _report(self) -> None:
        number = self.pending[-1][0]
        values = self._check()
        if self.images_timed:
            values['images_per_second'] = self._images_per_second()
        self.log.write(number, values)

    def _images_per_second(self) -> float:
        return self.images_timed / max(self.busy, 1e-9)

    def _variables(self, state: TrainState) -> dict[str, Any]:
        params = state.average if self.config.average else model_params(state.params)
        return {'params': params, 'batch_stats': state.batch_stats}

    def _evaluate(self, state: TrainState, number: int) -> dict[str, Any]:
        variables = self._variables(state)
        scores = {
            role: self.parts.evaluator.score(variables, corpus, domain=role)
            for role, corpus in self.tests.items()
        }
        accuracies = {role: found['accuracy'] for role, found in scores.items()}
        self.log.write(
            number, {f'{role}_test/accuracy': a for role, a in accuracies.items()}, show=False
        )
        source, target = accuracies['source'], accuracies.get('target')
        told = 'target has no labels: not evaluated'
        if target is not None:
            told = f'target test {target:.3f} (for information, not for selection)'
        self.log.say(f'step {number}: source test {source:.3f}, {told}')
        if target is not None and target > self.notes['oracle']['accuracy']:
            self.notes['oracle'] = {'step': number, 'accuracy': target}
        return scores

    def _save(self, state: TrainState) -> None:
        if not all_finite((state.params, state.average, state.batch_stats)):
            raise InputError(
                f'step {int(state.step)}: parameters not finite. {self._kept()}; lower '
                'optimizer.learning_rate'
            )
        position = {'batches': self.parts.batches.get_state(), 'notes': self.notes}
        self.checkpoints.save(state, position)

    def _finish(self, state: TrainState, scores: dict[str, Any], seconds: float) -> dict[str, Any]:
        config, method, pseudo = self.config, self.parts.method, None
        if method.pseudo_labels is not None:
            pseudo = self.parts.evaluator.pseudo_labels(state, method, self.corpus)
        result = {
            'method': config.method,
            'source': config.source,
            'target': config.target,
            'seed': config.seed,
            'steps': self.parts.total_steps,
            'seconds': round(seconds, 3),
            'target_test': scores.get('target'),  # None where there are no labels
            'source_test': scores['source'],
            'oracle': self.notes['oracle'] if 'target' in scores else None,
            'pseudo_label': pseudo,
            'criteria': self.parts.evaluator.criteria(self._variables(state), self.corpus),
            'images_per_second': round(self._images_per_second(), 1) if self.images_timed else None,
            'devices': len(self.parts.chosen),
            'platform': self.parts.chosen[0].platform,
        }
        if mapping.is_first_process():
            write_json(self.workdir / 'result.json', result)
        self.checkpoints.close()
        return result

"""Whose a working folder is."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import IO, Any

from dmsrl_jax.data import folders
from dmsrl_jax.errors import InputError
from dmsrl_jax.training import from_config, mapping
from dmsrl_jax.training.logs import write_json

# Fields that change nothing of what is learned: an unfinished run goes on with other values.
_FREE = ('eval_batch_size', 'log_every', 'checkpoint_every', 'keep_checkpoints')


def claim(workdir: pathlib.Path, config: Any) -> None:
    """Makes a working folder this config's own, or finds that it already is.

    Of several processes the first one does the writing.

    Raises:
        InputError: it holds another config (the message lists the differences), or checkpoints of
            nobody knows which; it is no folder, or may not be written.
    """
    path = workdir / 'config.json'
    ours = _stored(config)
    try:
        if workdir.exists() and not workdir.is_dir():
            raise InputError(f'workdir {workdir} is a file; pass another --workdir')
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _refuse_traces(workdir)
            if mapping.is_first_process():
                write_json(path, ours)
            return
        theirs = json.loads(path.read_text())
        if not isinstance(theirs, dict):
            raise ValueError('it holds no config')
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f'cannot write to workdir {workdir}: {error}. Give write permission, free space, or '
            'pass another --workdir'
        ) from error
    except ValueError as error:
        raise InputError(
            f'{path} is damaged ({error}); remove {workdir} or pass another'
        ) from error
    there, here = from_config.fields(theirs), from_config.fields(ours)
    different = sorted(
        f'{name}: there {there.get(name)!r}, here {here.get(name)!r}'
        for name in {*there, *here} - set(_FREE)
        if there.get(name) != here.get(name)
    )
    if different:
        raise InputError(
            f'workdir {workdir} belongs to a run with another config ({"; ".join(different)}). '
            'Pass another --workdir, or remove that one to start over'
        )


def _refuse_traces(workdir: pathlib.Path) -> None:
    if _has_checkpoint(workdir) or (workdir / 'result.json').exists():
        raise InputError(
            f'workdir {workdir} has a result or checkpoints, but no config.json that says of which '
            'run; put it back, remove the folder, or pass another'
        )


def finished(workdir: pathlib.Path) -> dict[str, Any] | None:
    """Reads `result.json`; None where the run has not come to its end.

    Raises:
        InputError: the file is damaged.
    """
    path = workdir / 'result.json'
    try:
        if not path.exists():
            return None
        result = json.loads(path.read_text())
        scores = [result['source_test'], result['target_test'] or result['source_test']]
        if not all({'accuracy', 'mean_class_accuracy'} <= set(score) for score in scores):
            raise ValueError('it has no scores')
        return dict(result)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f'{path} is damaged ({error}); remove it, and the same command writes it again'
        ) from error


@contextlib.contextmanager
def alone(workdir: pathlib.Path, config: Any) -> Iterator[None]:
    """Keeps other runs out of a working folder that this config has claimed, meanwhile.

    Raises:
        InputError: another process works there.
    """
    if not mapping.is_first_process():
        yield
        return
    path, part = workdir / 'config.json', workdir / 'config.json.locked'
    with path.open() as file, contextlib.ExitStack() as stack:
        _lock(file, workdir)
        ours = _stored(config)
        if json.loads(file.read()) != ours:  # in free fields; nobody may get in meanwhile
            write_json(part, ours)
            _lock(stack.enter_context(part.open()), workdir)
            part.replace(path)
        yield


def _lock(file: IO[str], workdir: pathlib.Path) -> None:
    ours = True
    with contextlib.suppress(OSError):  # of file systems without locks
        ours = folders.lock(file)
    if not ours:
        raise InputError(
            f'another process is training in {workdir}: wait for its end, or pass another --workdir'
        )


def leave(workdir: pathlib.Path) -> None:
    """Gives a folder up in which nothing was saved, so that a mended command may have it."""
    if mapping.is_first_process() and not _has_checkpoint(workdir):
        (workdir / 'config.json').unlink(missing_ok=True)


def _has_checkpoint(workdir: pathlib.Path) -> bool:
    return any(path.name.isdigit() for path in (workdir / 'checkpoints').glob('*'))


def _stored(config: Any) -> dict[str, Any]:
    """A config as its file gives it back."""
    return dict(json.loads(json.dumps(config.to_dict())))

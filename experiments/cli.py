"""What every command line shares: one clear line for mistakes, no traceback."""

import contextlib
import errno
import logging
import os
import pathlib
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from dmsrl_jax.errors import InputError


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` through absl and turns mistakes of the user into one line and exit status 2.

    Args:
        main: takes the arguments left over after flags (program name first), returns the exit
            status or None for success.
    """
    from absl import app, flags
    from absl import logging as absl_logging

    def guarded(argv: Sequence[str]) -> int | None:
        if not flags.FLAGS['verbosity'].present:
            # Libraries tell their every step at INFO.
            absl_logging.set_verbosity(absl_logging.WARNING)
        quiet()
        _forgiving_streams()
        try:
            return main(argv)
        except InputError as error:
            print(f'error: {error}', file=sys.stderr)
            _end(2)
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            _end(130)
        except BrokenPipeError:
            _nobody_reads()
            return 1
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            print(f'error: {error}: free some space', file=sys.stderr)
            _end(2)

    app.run(guarded, flags_parser=_parse_flags)


def _forgiving_streams() -> None:
    """Text that the terminal cannot show is escaped; what goes to a closed stream is let go."""
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115
        elif hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def _nobody_reads() -> None:
    """Whoever read our output, such as `head`, has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(status: int) -> NoReturn:
    """Ends the process at once: threads may wait for a checkpoint that never comes.

    Python's own end also crashes at times when JAX was interrupted while it compiled.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


# What orbax logs of an error that it raises as well.
_RAISED = (
    '_SignalingThread.run() raised an exception',
    'callback in background save thread',
    'Finalize thread (%s) failed',
)


def quiet() -> None:
    """Keeps off the screen what else is told of a failure that orbax raises.

    When one array cannot be read or written, three threads of orbax log its traceback, and
    TensorStore has one printed for each of the others, whose event loop is closed by then.
    """
    logging.getLogger('absl').addFilter(_is_not_raised)  # added twice it is there once
    if not isinstance(sys.unraisablehook, _UnraisableHook):
        sys.unraisablehook = _UnraisableHook(sys.unraisablehook)


def _is_not_raised(record: logging.LogRecord) -> bool:
    return not any(words in str(record.msg) for words in _RAISED)


class _UnraisableHook:
    """Passes on all but that an event loop is closed."""

    def __init__(self, before: Callable[[Any], Any]):
        self._before = before

    def __call__(self, what: Any) -> None:
        if str(what.exc_value) != 'Event loop is closed':
            self._before(what)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses flags; a config file that cannot be had, or a field it lacks, is a mistake too."""
    from absl import flags

    try:
        rest = flags.FLAGS(argv)
        if 'config' in flags.FLAGS:
            # A config file that could not be loaded raises only when it is used.
            config = flags.FLAGS['config'].value
            if config is not None and not hasattr(config, 'lock'):
                raise InputError(f'{_config_file()}: get_config() must return a ConfigDict')
        return rest
    except SystemExit:  # absl shows the help and ends with 1
        sys.exit(0)
    except BrokenPipeError:
        _nobody_reads()
        sys.exit(0)
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        print(f'error: {_told(error)}', file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # whatever the code of a config file raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f'{place.filename} line {place.lineno}'
        if isinstance(error, SyntaxError):
            where = f'{error.filename} line {error.lineno}'
        print(f'error: {where}: {type(error).__name__}: {error}', file=sys.stderr)
        sys.exit(2)


def _told(error: BaseException) -> str:
    """What to tell: the mistake that a config file found itself, or the parser's words."""
    chain: list[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    for cause in reversed(chain):
        if isinstance(cause, InputError):
            return str(cause)
    if isinstance(error, OSError) and not (path := _config_file()).is_file():
        return f'there is no config file {path}; experiments/configs has some'
    words: Any = error
    while isinstance(words, BaseException):  # they come wrapped in one another
        words = words.args[0] if words.args else type(words).__name__
    if isinstance(error, AttributeError | KeyError):
        field, _, guess = str(words).partition('\n')
        close = guess.split('"')[1:2]  # Did you mean "alpha" instead of "alhpa"?
        hint = f', perhaps {close[0]} is meant' if close else ''
        where = 'experiments/configs/common.py and the files of dmsrl_jax/methods list all'
        return f'the config has no field {field}{hint}; {where}'
    return f'{" ".join(str(words).split())}; see --help'


def _config_file() -> pathlib.Path:
    """The file that `--config FILE:ARGUMENT` names."""
    from absl import flags
    from ml_collections import config_flags

    name = config_flags.get_config_filename(flags.FLAGS['config'])
    return pathlib.Path(name.partition(':')[0])


def cache_compilations() -> None:
    """Keeps compiled programs in the user's cache folder: the second start compiles nothing.

    The folder is `$JAX_COMPILATION_CACHE_DIR` (empty turns the cache off), else
    `$XDG_CACHE_HOME/dmsrl_jax/compiled`, else `~/.cache/dmsrl_jax/compiled`. A folder that cannot
    be written is a warning: the command runs without.
    """
    import jax

    folder = os.environ.get('JAX_COMPILATION_CACHE_DIR')
    if folder is None:
        cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
        folder = str(pathlib.Path(cache).expanduser() / 'dmsrl_jax' / 'compiled')
    if folder and '://' not in folder and (reason := _unwritable(pathlib.Path(folder))):
        print(
            f'warning: compiled programs are not kept, {reason}; '
            'JAX_COMPILATION_CACHE_DIR names another folder',
            file=sys.stderr,
        )
        folder = ''
    jax.config.update('jax_compilation_cache_dir', folder or None)
    if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
        # By default quick compilations are not kept; a start has dozens of them.
        jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def _unwritable(folder: pathlib.Path) -> str:
    """Makes the folder; says why nothing can be written there, or nothing if it can."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return ''
    except OSError as error:
        return str(error)


def processor() -> str:
    """Returns the processor's family, where the system tells."""
    try:
        text = pathlib.Path('/proc/cpuinfo').read_text()
    except OSError:
        return platform.machine()
    names = [line.partition(':')[2].strip() for line in text.splitlines() if 'model name' in line]
    return names[0] if names else platform.machine()

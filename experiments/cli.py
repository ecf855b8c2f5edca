"""What every command line shares: one clear line for mistakes, no traceback."""

import os
import pathlib
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from dmsrl_jax.errors import InputError


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` through absl and turns mistakes of the user into one line and exit status 2.

    Args:
        main: takes the arguments left over after flags (program name first), returns the exit
            status or None for success.
    """
    from absl import app, flags, logging

    def guarded(argv: Sequence[str]) -> int | None:
        if not flags.FLAGS['verbosity'].present:
            logging.set_verbosity(logging.WARNING)  # libraries tell their every step at INFO
        try:
            return main(argv)
        except InputError as error:
            print(f'error: {error}', file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print('interrupted', file=sys.stderr)
            return 130
        except BrokenPipeError:  # whoever read our output, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1

    app.run(guarded, flags_parser=_parse_flags)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses flags; a config file that cannot be had, or a field it lacks, is a mistake too."""
    from absl import flags

    try:
        rest = flags.FLAGS(argv)
        if 'config' in flags.FLAGS:
            # A config file that could not be loaded raises only when it is used.
            getattr(flags.FLAGS['config'].value, 'lock', None)
        return rest
    except (flags.Error, AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        print(f'error: {_told(error)}', file=sys.stderr)
        sys.exit(2)


def _told(error: BaseException) -> str:
    """What to tell: the mistake that a config file found itself, or the parser's words."""
    chain: list[BaseException] = [error]
    while cause := chain[-1].__cause__ or chain[-1].__context__:
        chain.append(cause)
    for cause in reversed(chain):
        if isinstance(cause, InputError):
            return str(cause)
    words: Any = error
    while isinstance(words, BaseException):  # they come wrapped in one another
        words = words.args[0] if words.args else type(words).__name__
    text = ' '.join(str(words).split())
    if isinstance(error, AttributeError | KeyError):
        return f'the config has no field {text}; experiments/configs/common.py lists all'
    return f'{text}; see --help'


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

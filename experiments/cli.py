"""What every command line shares: one clear line for mistakes, no traceback."""

import sys
from collections.abc import Callable, Sequence

from dmsrl_jax.errors import InputError


def run(main: Callable[[Sequence[str]], int | None]) -> None:
    """Runs `main` through absl and turns mistakes of the user into one line and exit status 2.

    Args:
        main: takes the arguments left over after flags (program name first), returns the exit
            status or None for success.
    """
    from absl import app

    def guarded(argv: Sequence[str]) -> int | None:
        try:
            return main(argv)
        except InputError as error:
            print(f'error: {error}', file=sys.stderr)
            return 2

    app.run(guarded)


def cache_compilations() -> None:
    """Keeps compiled programs in the user's cache folder, so that the next start is quick.

    `JAX_COMPILATION_CACHE_DIR` names another folder; empty turns it off.
    """
    import os
    import pathlib

    import jax

    default = pathlib.Path(os.environ.get('XDG_CACHE_HOME', '~/.cache')).expanduser()
    folder = os.environ.get('JAX_COMPILATION_CACHE_DIR', str(default / 'dmsrl_jax' / 'xla'))
    jax.config.update('jax_compilation_cache_dir', folder or None)

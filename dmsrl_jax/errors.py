"""Errors that a user can mend, and what commands in messages begin with."""

import pathlib
import shlex
import shutil
import sys


class InputError(ValueError):
    """Something outside the program is not as it must be: a file, a folder, a config, a value.

    The message says what is wrong, where, and what to do next. Command lines print it as one
    `error: ...` line and exit with status 2; everything else is a bug and keeps its traceback.
    """


def python_command() -> str:
    """How to call the running Python in a command that is told to the user.

    Returns:
        Its path from the working folder, if it lies inside (`.venv/bin/python`); else its name, if
        the shell finds the same one by it; else its whole path. Quoted for a shell.
    """
    here = pathlib.Path(sys.executable or 'python')
    if here.is_relative_to(pathlib.Path.cwd()):
        return shlex.quote(str(here.relative_to(pathlib.Path.cwd())))
    for name in ('python', here.name):
        if shutil.which(name) == str(here):
            return name
    return shlex.quote(str(here))

"""The one error that a user can mend."""


class InputError(ValueError):
    """Something outside the program is not as it must be: a file, a folder, a config, a value.

    The message says what is wrong, where, and what to do next. Command lines print it as one
    `error: ...` line and exit with status 2; everything else is a bug and keeps its traceback.
    """

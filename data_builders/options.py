"""Options of builders: `--set key=value` texts become values of the types that a builder names."""

import difflib
from collections.abc import Mapping
from typing import Any

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError

_BOOLEANS = {'true': True, 'yes': True, '1': True, 'false': False, 'no': False, '0': False}


def typed_options(name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Turns `--set key=value` texts into values, with the defaults for the rest.

    Args:
        name: the corpus.
        given: option name to text.

    Returns:
        All options of the builder.

    Raises:
        InputError: an unknown option, or a text that is no value of its type.
    """
    table = corpora.builder_module(name).options()
    values = {key: default for key, (_, default, _) in table.items()}
    for key, text in given.items():
        if key not in table:
            close = difflib.get_close_matches(key, table, 1)
            hint = f', perhaps {close[0]} is meant' if close else ''
            raise InputError(f'{name} has no option {key!r}{hint}. {describe_options(table)}')
        kind = table[key][0]
        try:
            values[key] = _BOOLEANS[text.lower()] if kind is bool else kind(text)
        except (ValueError, KeyError) as error:
            raise InputError(f'option {key}={text!r} is not a {kind.__name__}') from error
    return values


def describe_options(table: Mapping[str, tuple[type, Any, str]]) -> str:
    """Lists a builder's options with their defaults and help, one per line."""
    if not table:
        return 'It has no options.'
    lines = [f'  {key}={default!r}: {text}' for key, (_, default, text) in table.items()]
    return '\n'.join(['Its options:', *lines])

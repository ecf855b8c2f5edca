"""Adaptation methods: `create(name, **options)`.

Every module of this package that has a dataclass `Options` and a function `create(options)` is a
method of the module's name. To add one, add a file; nothing else changes.
"""

import dataclasses
import importlib
import pkgutil
from types import ModuleType
from typing import Any

from dmsrl_jax.errors import InputError
from dmsrl_jax.methods.base import Context as Context
from dmsrl_jax.methods.base import Method as Method
from dmsrl_jax.methods.base import Phase as Phase
from dmsrl_jax.methods.base import PseudoLabels as PseudoLabels
from dmsrl_jax.methods.base import on_source_alone as on_source_alone

_NOT_METHODS = ('base', 'pseudo_labels')


def names() -> tuple[str, ...]:
    """Returns every name that `create` takes."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name not in _NOT_METHODS))


def _module(name: str) -> ModuleType:
    if name not in names():
        raise InputError(f'unknown method {name!r}; there are: {", ".join(names())}')
    return importlib.import_module(f'{__name__}.{name}')


def options(name: str) -> dict[str, Any]:
    """Returns the options of a method with their defaults."""
    return {field.name: field.default for field in dataclasses.fields(_module(name).Options)}


def create(name: str, **options_: Any) -> Method:
    """Makes a method.

    Args:
        name: one of `names()`.
        **options_: the method's options, see `options(name)`.

    Returns:
        The method.

    Raises:
        InputError: unknown name, unknown option, or an option out of range.
    """
    module, known = _module(name), options(name)
    unknown = sorted(set(options_) - set(known))
    if unknown:
        raise InputError(
            f'method {name!r} has no option {", ".join(unknown)}; '
            f'it has: {", ".join(known) or "none"}'
        )
    return module.create(module.Options(**options_))

"""Whose a working folder is."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import mapping
from dmsrl_jax.training.logs import write_json


def claim(workdir: pathlib.Path, config: Any) -> bool:
    """Makes a working folder this config's own, or finds that it already is.

    Of several processes the first one does the writing.

    Returns:
        Whether the folder was nobody's before.

    Raises:
        InputError: it holds another config (the message lists the differences), or may not be
            written.
    """
    path = workdir / 'config.json'
    ours = json.loads(json.dumps(config.to_dict()))
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if not mapping.is_first_process():
                return False
            write_json(path, ours)
            return True
        theirs = json.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f'cannot write to workdir {workdir}: {error}. Give write permission, free space, or '
            'pass another --workdir'
        ) from error
    except json.JSONDecodeError as error:
        raise InputError(
            f'{path} is damaged ({error}); remove {workdir} or pass another'
        ) from error
    different = sorted(
        f'{name}: there {_flat(theirs).get(name)!r}, here {_flat(ours).get(name)!r}'
        for name in {*_flat(theirs), *_flat(ours)}
        if _flat(theirs).get(name) != _flat(ours).get(name)
    )
    if different:
        raise InputError(
            f'workdir {workdir} belongs to a run with another config ({"; ".join(different)}). '
            'Pass another --workdir, or remove that one to start over'
        )
    return False


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f'{prefix}{name}.') if inner else {f'{prefix}{name}': value}
    return flat

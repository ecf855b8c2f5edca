"""What a config says, one by one: the network, its views of an image, the length of a run."""

import math
from collections.abc import Mapping
from typing import Any

import jax

from dmsrl_jax import models
from dmsrl_jax.data import augment
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NUM_CLASSES
from dmsrl_jax.training import step
from dmsrl_jax.training.evaluator import Evaluator

# Least values of fields that nothing else checks before the first step.
_LEAST = {
    'seed': 0,
    'image_size': 1,
    'batch_size': 1,
    'eval_batch_size': 1,
    'accumulate': 1,
    'devices': 0,
    'steps': 0,
    'epochs': 0,
    'length.epochs': 0,
    'length.steps': 0,
    'pipeline.workers': 0,
    'average_decay': 0,
    'log_every': 1,
    'eval_every': 0,
    'checkpoint_every': 1,
    'keep_checkpoints': 1,
}
_MOST = {'seed': 2**32 - 1, 'eval_batch_size': 2**16, 'pipeline.workers': 2**10}
_MOST_STEPS = 2**31 - 1  # steps are counted in int32
_LARGEST = 3.4e38


def check(config: Any) -> None:
    """Refuses numbers out of range, before anything is loaded.

    Raises:
        InputError: names the field, its value and what it may be.
    """
    values = fields(config.to_dict())
    for field, value in values.items():
        _check_number(field, value)
    if config.augment.source.bgr != config.augment.target.bgr:
        raise InputError(
            'augment.source.bgr and augment.target.bgr must be the same: one network sees both '
            f'domains, got {config.augment.source.bgr} and {config.augment.target.bgr}'
        )
    for field, least in _LEAST.items():
        if not least <= values[field] < math.inf:
            raise InputError(f'{field} must be at least {least}, got {values[field]}')
    if config.average_decay >= 1:
        raise InputError(f'average_decay must be in [0, 1), got {config.average_decay}')
    if not 0 <= config.augment.match <= 1:
        raise InputError(f'augment.match must be in [0, 1], got {config.augment.match}')


def fields(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
    """All fields of a config, or of a part of it, by their full names, `dmsrl.alpha`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = isinstance(value, Mapping)
        flat |= fields(value, f'{prefix}{name}.') if inner else {f'{prefix}{name}': value}
    return flat


def _check_number(field: str, value: Any) -> None:
    """Refuses what JAX cannot hold: it counts in int32 and computes in float32."""
    most = _MOST.get(field, _MOST_STEPS)
    if isinstance(value, int) and abs(value) > most:
        raise InputError(f'{field} must be at most {most}, got {value}')
    if isinstance(value, float) and not abs(value) <= _LARGEST:
        raise InputError(f'{field} must be a finite number of float32, got {value}')


def length(config: Any, batches_per_epoch: int) -> int:
    """Steps of a run: `steps`, else `epochs`, else the longer of the two in `length`.

    Raises:
        InputError: a length below one step, or beyond what can be counted.
    """
    usual = max(config.length.epochs * batches_per_epoch, config.length.steps)
    total = config.steps or config.epochs * batches_per_epoch or usual
    if total < 1:
        raise InputError(f'the run would have {total} steps; set steps or epochs to at least 1')
    if total > _MOST_STEPS:
        raise InputError(f'the run would have {total} steps, at most {_MOST_STEPS} can be counted')
    return total


def source_steps(config: Any, total_steps: int) -> int:
    """Steps on the source alone, before adaptation: the share `adapt_from` of a run.

    Raises:
        InputError: a share outside of [0, 1).
    """
    if not 0 <= config.adapt_from < 1:
        raise InputError(f'adapt_from must be in [0, 1), got {config.adapt_from}')
    return int(config.adapt_from * total_steps + 1e-9)  # 0.7 * 90 is 62.999...


def create_model(config: Any, *, axis_name: str | None = None) -> Any:
    """Makes the config's model; `axis_name` synchronises BatchNorm over devices in training."""
    options = config.model.to_dict()
    options.pop('pretrained', None)
    return models.create(options.pop('name'), NUM_CLASSES, axis_name=axis_name, **options)


def create_evaluator(config: Any, chosen: list[jax.Device]) -> Evaluator:
    """Makes the evaluator of the config's model."""
    return Evaluator(
        create_model(config),
        plain_view(config),
        chosen,
        num_classes=NUM_CLASSES,
        batch_size=config.eval_batch_size,
        image_size=config.image_size,
    )


def plain_view(config: Any) -> step.Augment:
    """How an image looks to the model when nothing is random, as in evaluation."""
    plain = augment.recipe('none', bgr=config.augment.source.bgr)
    return augmentation(plain, config.image_size)


def recipe(settings: Any) -> augment.Recipe:
    """Reads the augmentation of one domain, `config.augment.source` or `.target`."""
    return augment.recipe('none', **settings.to_dict())


def match(config: Any) -> step.Match | None:
    """Makes the function that gives source images the light of target images, if any get it."""
    share = config.augment.match
    if not share:
        return None
    return lambda key, images, references, positions: augment.match(
        key, images, references, share=share, positions=positions
    )


def augmentation(recipe: augment.Recipe, size: int) -> step.Augment:
    """Makes the function that augments a batch on the devices to images of a side."""
    return lambda key, images, positions: augment.augment(
        key, images, size=size, recipe=recipe, positions=positions
    )

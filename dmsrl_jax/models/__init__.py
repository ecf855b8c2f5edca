"""Networks by name: a Linen module with `logits`, `features` and named intermediates."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.errors import InputError
from dmsrl_jax.models.critics import DomainCritic, StatisticsNetwork
from dmsrl_jax.models.layers import STATISTICS, example_positions
from dmsrl_jax.models.multilevel import Classifier, corner_windows
from dmsrl_jax.models.resnet import ResNet50
from dmsrl_jax.models.tiny import TinyBackbone
from dmsrl_jax.models.vgg import VGG16

__all__ = [
    'Classifier',
    'DomainCritic',
    'StatisticsNetwork',
    'corner_windows',
    'create',
    'example_positions',
    'names',
]


def _vgg16_plain(**options: Any) -> VGG16:
    """VGG-16 has no local branches to keep, whatever `local` says."""
    return VGG16(**{**options, 'local': False})


_BACKBONES: dict[str, Callable[..., nn.Module]] = {
    'resnet50_multilevel': ResNet50,
    'tiny_multilevel': TinyBackbone,
    'vgg16': _vgg16_plain,
    'vgg16_multilevel': VGG16,
}
_OPTIONS = ('dtype', 'dropout', 'axis_name', 'local', 'statistics')
_DTYPES = ('float32', 'bfloat16')


def names() -> tuple[str, ...]:
    """Every name that `create` takes, sorted."""
    return tuple(sorted(_BACKBONES))


def create(name: str, num_classes: int = 7, **options: Any) -> Classifier:
    """Makes a network; nothing is initialised yet.

    Args:
        name: one of `names()`.
        num_classes: number C of classes.
        **options: `dtype` of the computation ('float32' or 'bfloat16'; parameters, BatchNorm and
            outputs are float32), `dropout` rate (0.5), `axis_name` of the device axis over which
            training synchronises batch statistics (None: one device), `local` (True; False leaves
            out the local branches, or all levels but the first; `vgg16` has none), BatchNorm's
            `statistics` ('shared': a batch's own of each domain, one running average; 'per_domain':
            two running averages; 'joint': both domains of a batch together).

    Returns:
        A Linen module; see `Classifier` for its call.

    Raises:
        InputError: unknown name or option, or a value out of range.
    """
    if name not in _BACKBONES:
        raise InputError(f'unknown model {name!r}; choose one of: {", ".join(names())}')
    unknown = sorted(set(options) - set(_OPTIONS))
    if unknown:
        raise InputError(
            f'model {name!r} does not take {", ".join(unknown)}; options: {", ".join(_OPTIONS)}'
        )
    if num_classes < 2:
        raise InputError(f'num_classes must be at least 2, got {num_classes}')
    return Classifier(_BACKBONES[name](**_checked(options)), num_classes)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options with a real dtype; raises InputError for values out of range."""
    dtype = options.get('dtype', 'float32')
    if dtype not in [known for each in _DTYPES for known in (each, jnp.dtype(each))]:
        raise InputError(f'dtype must be one of {", ".join(_DTYPES)}, got {dtype!r}')
    dropout = options.get('dropout', 0.5)
    if not 0.0 <= dropout < 1.0:
        raise InputError(f'dropout must be in [0, 1), got {dropout}')
    statistics = options.get('statistics', 'shared')
    if statistics not in STATISTICS:
        raise InputError(f'statistics must be one of {", ".join(STATISTICS)}, got {statistics!r}')
    return {**options, 'dtype': jnp.dtype(dtype)}

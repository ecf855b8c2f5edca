"""Which key of a PyTorch checkpoint belongs to which Flax variable, and how its axes are turned.

PyTorch keys are torchvision's (`features.N`, `layerL.B.convK`) and, behind the trunk, those of the
code that the authors released with JDMAN and DMSRL. Those of `tiny_multilevel` are ours.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from dmsrl_jax.errors import InputError

_UNITS = {1: 'top_left', 3: 'top_right', 7: 'bottom_left', 9: 'bottom_right'}
_VGG_STAGES = (2, 2, 3, 3, 3)
_RESNET_BLOCKS = (3, 4, 6, 3)
_BACKBONE, _HEAD = ('backbone',), ('head',)

Turn = Callable[[np.ndarray], np.ndarray]
Path = tuple[str, ...]


class Entry(NamedTuple):
    """One tensor in both worlds.

    Attributes:
        key: PyTorch's key.
        path: Flax's path, from `params` or `batch_stats` on.
        to_flax: turns PyTorch's axes into Flax's.
        to_torch: the way back.
    """

    key: str
    path: Path
    to_flax: Turn
    to_torch: Turn


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _transposed(x: np.ndarray) -> np.ndarray:
    return x.T


def _entry(key: str, path: Path, forth: Turn = _same, back: Turn = _same) -> Entry:
    return Entry(key, path, forth, back)


def _conv(key: str, path: Path, *, bias: bool) -> Iterator[Entry]:
    """OIHW against HWIO."""
    forth, back = (lambda x: x.transpose(2, 3, 1, 0)), (lambda x: x.transpose(3, 2, 0, 1))
    yield _entry(f'{key}.weight', ('params', *path, 'kernel'), forth, back)
    if bias:
        yield _entry(f'{key}.bias', ('params', *path, 'bias'))


def _scale(key: str, path: Path) -> Iterator[Entry]:
    """LayerNorm, and the trained part of BatchNorm: weight, bias."""
    yield _entry(f'{key}.weight', ('params', *path, 'scale'))
    yield _entry(f'{key}.bias', ('params', *path, 'bias'))


def _norm(key: str, path: Path) -> Iterator[Entry]:
    """BatchNorm: weight, bias, running_mean, running_var."""
    yield from _scale(key, path)
    yield _entry(f'{key}.running_mean', ('batch_stats', *path, 'mean'))
    yield _entry(f'{key}.running_var', ('batch_stats', *path, 'var'))


def _block(conv: str, norm: str, path: Path, *, bias: bool) -> Iterator[Entry]:
    yield from _conv(conv, (*path, 'conv'), bias=bias)
    yield from _norm(norm, (*path, 'norm'))


def _dense(key: str, path: Path, *, bias: bool = True) -> Iterator[Entry]:
    yield _entry(f'{key}.weight', ('params', *path, 'kernel'), _transposed, _transposed)
    if bias:
        yield _entry(f'{key}.bias', ('params', *path, 'bias'))


def _dense_on_map(
    key: str, path: Path, *, channels: int, before: int = 0, bias: bool = True
) -> Iterator[Entry]:
    """A dense layer whose last inputs are a flattened square map, behind `before` other ones.

    PyTorch flattens [C, H, W], Flax [H, W, C].
    """

    def side(inputs: int) -> int:
        root = math.isqrt(max(inputs - before, 0) // channels)
        if before + channels * root * root != inputs:
            raise InputError(
                f'{key}.weight takes {inputs} inputs, which are not {before} and a square map of '
                f'{channels} channels: it belongs to another network'
            )
        return root

    def forth(x: np.ndarray) -> np.ndarray:
        s = side(x.shape[1])
        maps = x[:, before:].reshape(-1, channels, s, s).transpose(2, 3, 1, 0)
        return np.concatenate([x[:, :before].T, maps.reshape(-1, x.shape[0])])

    def back(x: np.ndarray) -> np.ndarray:
        s = side(x.shape[0])
        maps = x[before:].reshape(s, s, channels, -1).transpose(3, 2, 0, 1)
        return np.concatenate([x[:before].T, maps.reshape(x.shape[1], -1)], axis=1)

    yield _entry(f'{key}.weight', ('params', *path, 'kernel'), forth, back)
    if bias:
        yield _entry(f'{key}.bias', ('params', *path, 'bias'))


def _units(widths: tuple[int, ...], *, bias: bool) -> Iterator[Entry]:
    """The four local branches `sp_unit1`, `3`, `7`, `9`."""
    for number, corner in _UNITS.items():
        net = f'sp_unit{number}.localnet'
        path = (*_BACKBONE, corner)
        for i in range(len(widths)):
            block = (*path, f'block{i}')
            yield from _block(f'{net}.{3 * i}', f'{net}.{3 * i + 1}', block, bias=bias)
        dense = f'{net}.{3 * len(widths) + 1}'
        yield from _dense_on_map(dense, (*path, 'dense'), channels=widths[-1])


def _vgg16(local: bool) -> Iterator[Entry]:
    index, number = 0, 0
    for convolutions in _VGG_STAGES:
        for _ in range(convolutions):
            block = (*_BACKBONE, f'block{number}')
            yield from _block(f'features.{index}', f'features.{index + 1}', block, bias=True)
            index, number = index + 3, number + 1
        index += 1
    if local:
        yield from _units((256, 128, 64), bias=True)
    before = 4 * 512 if local else 0
    yield from _dense_on_map('fc1.0', (*_BACKBONE, 'fc1'), channels=512, before=before)
    yield from _dense('fc2.0', (*_BACKBONE, 'fc2'))
    yield from _dense('fc3', _HEAD)


def _resnet50(local: bool) -> Iterator[Entry]:
    yield from _block('conv1', 'bn1', (*_BACKBONE, 'stem'), bias=False)
    for stage, blocks in enumerate(_RESNET_BLOCKS, start=1):
        for block in range(blocks):
            key, path = f'layer{stage}.{block}', (*_BACKBONE, f'layer{stage}_{block}')
            for i in range(3):
                part = (*path, f'block{i}')
                yield from _block(f'{key}.conv{i + 1}', f'{key}.bn{i + 1}', part, bias=False)
            if block == 0:
                pair = (f'{key}.downsample.0', f'{key}.downsample.1')
                yield from _block(*pair, (*path, 'shortcut'), bias=False)
    for level in range(1, 4 if local else 2):
        yield from _dense(f'adlayer{level}', (*_BACKBONE, f'level{level}'))
    yield from _dense('fc1', _HEAD)


def _tiny(local: bool) -> Iterator[Entry]:
    for number, index in enumerate((1, 5, 8, 12)):
        block = (*_BACKBONE, f'block{number}')
        entries = _block(f'features.{index}', f'features.{index + 1}', block, bias=False)
        if number == 0:
            yield _on_stacked_pixels(next(entries))
        yield from entries
    if local:
        yield from _units((16,), bias=False)
    before = 4 * 32 if local else 0
    yield from _dense_on_map('fc1.0', (*_BACKBONE, 'fc'), channels=96, before=before, bias=False)
    yield from _scale('fc1.1', (*_BACKBONE, 'norm'))
    yield from _dense('fc2', _HEAD)


def _on_stacked_pixels(entry: Entry) -> Entry:
    """The kernel on 2x2-stacked pixels: PyTorch stacks them within a colour, we colours within."""
    return entry._replace(
        to_flax=lambda x: entry.to_flax(_pixels_first(x)),
        to_torch=lambda x: _channels_first(entry.to_torch(x)),
    )


def _pixels_first(x: np.ndarray) -> np.ndarray:
    """Input channels [O, 3 * 4, h, w] to [O, 4 * 3, h, w]."""
    return x.reshape(x.shape[0], 3, 4, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)


def _channels_first(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0], 4, 3, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)


_MODELS: dict[str, Callable[[bool], Iterator[Entry]]] = {
    'resnet50_multilevel': _resnet50,
    'tiny_multilevel': _tiny,
    'vgg16': lambda local: _vgg16(False),
    'vgg16_multilevel': _vgg16,
}


def names() -> tuple[str, ...]:
    """Names of the models that have a mapping."""
    return tuple(_MODELS)


def entries(name: str, *, local: bool = True) -> tuple[Entry, ...]:
    """Every tensor of a model.

    Args:
        name: one of `names()`.
        local: whether the model has its local branches (levels).

    Returns:
        Entries in the order of the layers.

    Raises:
        InputError: unknown name.
    """
    if name not in _MODELS:
        raise InputError(f'no PyTorch keys for model {name!r}; there are: {", ".join(names())}')
    return tuple(_MODELS[name](local))


def image_size(name: str, state_dict: Mapping[str, np.ndarray]) -> int:
    """Side of images, in pixels, for which complete weights were made, as far as they depend on it.

    Args:
        name: one of `names()`.
        state_dict: arrays by key.

    Returns:
        The size; 64 for networks that take any.
    """
    if name == 'tiny_multilevel':
        before = 4 * 32 if 'sp_unit1.localnet.0.weight' in state_dict else 0
        return 8 * math.isqrt((state_dict['fc1.0.weight'].shape[-1] - before) // 96)
    if 'sp_unit1.localnet.10.weight' in state_dict:
        window = math.isqrt(state_dict['sp_unit1.localnet.10.weight'].shape[-1] // 64)
        return 32 * (7 * window // 5)
    return 64

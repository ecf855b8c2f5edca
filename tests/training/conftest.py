"""A network of two dense layers in the place of the real ones, and everything a step needs."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental.compilation_cache import compilation_cache

from dmsrl_jax import methods, models
from dmsrl_jax.data import augment
from dmsrl_jax.models.layers import BatchNorm, Dropout, Mode, xavier_normal
from dmsrl_jax.training import mapping, optimizers, state, step

SIDE = 8


class SmallBackbone(nn.Module):
    """Dense, BatchNorm, ReLU, dense, ReLU, dropout: all that devices must agree about."""

    dtype: Any = jnp.float32
    dropout: float = 0.5
    axis_name: str | None = None
    local: bool = True
    statistics: str = 'per_domain'
    feature_dim: int = 6
    minimum_size: int = 4
    head_init: Any = xavier_normal

    @nn.compact
    def __call__(self, images: jax.Array, mode: Mode) -> dict[str, jax.Array]:
        x = nn.Dense(10, name='in')(images.reshape(images.shape[0], -1))
        x = nn.relu(BatchNorm(self.dtype, self.axis_name, self.statistics, name='norm')(x, mode))
        x = nn.relu(nn.Dense(self.feature_dim, name='out')(x))
        return {'features': Dropout(self.dropout, self.axis_name, name='dropout')(x, mode)}


@pytest.fixture(scope='session')
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp('xla'))


@pytest.fixture(scope='module', autouse=True)
def quick_compilation(compile_cache: str) -> Iterator[None]:
    """Little optimisation, no program compiled twice: these tests compile more than they run."""
    changes = {
        'jax_disable_most_optimizations': True,
        'jax_compilation_cache_dir': compile_cache,
        'jax_persistent_cache_min_compile_time_secs': 0,
        'jax_persistent_cache_min_entry_size_bytes': -1,
    }
    before = {name: jax.config.values[name] for name in changes}
    for name, value in changes.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope='module')
def small() -> Iterator[str]:
    """Registers the small network; gives its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models._BACKBONES, 'small', SmallBackbone)
        yield 'small'


@pytest.fixture(scope='session')
def batch() -> dict[str, np.ndarray]:
    """16 source images with labels, 16 target images."""
    rng = np.random.default_rng(0)
    return {
        'image_s': rng.integers(0, 256, (16, SIDE, SIDE, 3), np.uint8),
        'label_s': rng.integers(0, 7, 16, np.int32),
        'image_t': rng.integers(0, 256, (16, SIDE, SIDE, 3), np.uint8),
    }


class Harness:
    """A mapped step of the small network with its initial state."""

    def __init__(
        self,
        *,
        devices: int = 1,
        mapping_name: str = 'shard_map',
        method: str = 'dmsrl',
        options: dict[str, Any] | None = None,
        dropout: float = 0.5,
        statistics: str = 'per_domain',
        recipe: str = 'standard',
        averaged: bool = True,
        accumulate: int = 1,
        source_steps: int = 0,
        optimizer: dict[str, Any] | None = None,
    ):
        if method == 'dmsrl':
            options = {'hidden': 4, **(options or {})}
        self.method = methods.create(method, **(options or {}))
        self.model = models.Classifier(
            SmallBackbone(dropout=dropout, axis_name=step.AXIS, statistics=statistics)
        )
        self.chosen = mapping.devices(devices)
        initial = state.create(
            jax.random.key(0),
            self.model,
            self.method,
            image_size=SIDE,
            num_classes=7,
            averaged=averaged,
        )
        # A large rate and little momentum: differences between two ways show in few steps.
        tx = optimizers.create(
            {'learning_rate': 0.05, **(optimizer or {})},
            initial.params,
            total_steps=10,
            source_steps=source_steps,
            steps_per_epoch=5,
        )
        self.settings = step.StepSettings(
            model=self.model,
            method=self.method,
            optimizers=tx,
            augment_s=_augment(recipe),
            augment_t=_augment(recipe),
            plain=_augment('none'),
            total_steps=10,
            source_steps=source_steps,
            accumulate=accumulate,
        )
        self.state = mapping.replicate(state.with_optimizers(initial, tx), self.chosen)
        map_step = lambda settings: mapping.map_train_step(
            partial(step.train_step, settings=settings), self.chosen, mapping_name
        )
        self.step = map_step(self.settings)
        alone = methods.on_source_alone(self.method)
        self.source_step = map_step(dataclasses.replace(self.settings, method=alone))

    def run(
        self, batch: dict[str, np.ndarray], steps: int, *, alone: bool = False
    ) -> list[dict[str, float]]:
        """Runs some steps on rolled versions of a batch; returns their metrics."""
        step = self.source_step if alone else self.step
        history = []
        for number in range(steps):
            rolled = {name: np.roll(x, 3 * number, axis=0) for name, x in batch.items()}
            self.state, metrics = step(self.state, mapping.shard(rolled, self.chosen))
            history.append({k: float(v) for k, v in jax.device_get(metrics).items()})
        return history


def _augment(recipe: str) -> Any:
    chosen = augment.recipe(recipe)
    return lambda key, images, positions: augment.augment(
        key, images, size=SIDE, recipe=chosen, positions=positions
    )


@pytest.fixture(scope='session')
def harness() -> type[Harness]:
    return Harness

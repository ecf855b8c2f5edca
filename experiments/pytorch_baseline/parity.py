"""Trains both implementations on the same batches from the same weights and compares everything.

    python experiments/pytorch_baseline/parity.py --model vgg16_multilevel --steps 20 \\
        --image_size 64 --batch_size 8

The recipe is the authors' release; dropout is off. docs/parity.md holds the results.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
import optax
import torch
from absl import flags

from dmsrl_jax import losses, methods, models
from dmsrl_jax.data import augment
from dmsrl_jax.interop import torch_weights
from dmsrl_jax.models import critics
from dmsrl_jax.training import mapping, optimizers, state, step
from experiments import cli
from experiments.configs import release
from experiments.pytorch_baseline import method as torch_method
from experiments.pytorch_baseline import models as torch_models
from experiments.pytorch_baseline import optimisers as torch_optimisers

Batch = dict[str, np.ndarray]
_CRITIC = {'ad_layer1': 'dense0', 'ad_layer2': 'dense1', 'ad_layer3': 'score'}
_TERMS = ('classification', 'margin', 'mutual_information')


class Comparison(NamedTuple):
    """Deviations of ours from PyTorch's.

    Attributes:
        losses: largest relative deviation at any step, for the loss and each of its terms.
        tensors: for each tensor after the last step, the norm of the difference over its norm.
    """

    losses: dict[str, float]
    tensors: dict[str, float]


def batches(count: int, size: int, batch_size: int, seed: int = 0) -> Iterator[Batch]:
    """Noisy images with a pattern per class; target is darker and has another noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.uniform(60, 200, (7, 8, 8, 3)).repeat(size // 8, 1).repeat(size // 8, 2)
    noise = lambda: rng.normal(0, 30, (batch_size, size, size, 3))
    for _ in range(count):
        labels_s, labels_t = rng.integers(0, 7, (2, batch_size))
        source = patterns[labels_s] + noise()
        target = 0.6 * patterns[labels_t] + noise()
        yield {
            'image_s': source.clip(0, 255).astype(np.uint8),
            'label_s': labels_s.astype(np.int32),
            'image_t': target.clip(0, 255).astype(np.uint8),
        }


class TorchSide:
    """The PyTorch baseline in the release's recipe."""

    def __init__(self, name: str, size: int, total_steps: int, seed: int = 0, double: bool = False):
        """Draws weights from the seed; `double` computes in float64."""
        torch.manual_seed(seed)
        network = torch_models.create(name, image_size=size, dropout=0.0)
        recipe = torch_method.Recipe(critic_dropout=0.0)
        self.dtype = torch.float64 if double else torch.float32
        self.module = torch_method.DMSRL(network, recipe).to(self.dtype)
        self.coefficients = torch_method.Coefficients(recipe, total_steps)
        self.optimisers = torch_optimisers.Optimisers(
            self.module.groups(), total_steps=total_steps, steps_per_epoch=total_steps
        )
        self.done = 0

    def step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the loss and its terms."""
        images = [
            torch.from_numpy(batch[name]).permute(0, 3, 1, 2).to(self.dtype) / 255.0
            for name in ('image_s', 'image_t')
        ]
        labels = torch.from_numpy(batch['label_s']).long()
        self.optimisers.zero_grad()
        loss, terms = self.module(images[0], labels, images[1], *self.coefficients(self.done))
        loss.backward()
        self.optimisers.step()
        self.done += 1
        return {'loss': loss.item(), **{name: terms[name].item() for name in _TERMS}}

    def tensors(self) -> dict[str, np.ndarray]:
        """Parameters, running statistics and momentum buffers by name."""
        found = {
            name: value
            for name, value in self.module.state_dict().items()
            if not name.endswith('num_batches_tracked')
        }
        for name, parameter in self.module.named_parameters():
            for optimiser in self.optimisers.optimisers.values():
                if parameter in optimiser.state:
                    found[f'momentum of {name}'] = optimiser.state[parameter]['momentum_buffer']
        return {name: value.detach().numpy().copy() for name, value in found.items()}


class JaxSide:
    """This library's own step, with the weights of a `TorchSide`."""

    def __init__(self, name: str, size: int, total_steps: int, twin: TorchSide):
        """Copies the weights and compiles nothing yet."""
        self.name, self.chosen = name, mapping.devices(1)
        model = models.create(name, dropout=0.0, axis_name=step.AXIS)
        adaptation = methods.create('dmsrl', **release.DMSRL)
        weights = twin.tensors()
        network = {
            key.removeprefix('network.'): value
            for key, value in weights.items()
            if key.startswith('network.')
        }
        variables, _ = torch_weights.convert(name, network)
        initial = state.create(
            jax.random.key(0),
            model,
            adaptation,
            image_size=size,
            num_classes=7,
            averaged=False,
            variables=variables,
        )
        initial = initial.replace(params={**initial.params, **_extra(weights)})
        # release.py's optimiser, whose schedule does not reach its first decay here.
        groups = {'centers': {'learning_rate': 1.0}}
        tx = optimizers.create(
            {**optimizers.DEFAULTS, 'groups': groups},
            initial.params,
            total_steps=total_steps,
            steps_per_epoch=total_steps,
        )
        view = lambda key, images, positions: augment.augment(
            key, images, size=size, recipe=augment.recipe('none'), positions=positions
        )
        settings = step.StepSettings(
            model=model,
            method=adaptation,
            optimizers=tx,
            augment_s=view,
            augment_t=view,
            plain=view,
            total_steps=total_steps,
        )
        self.state = mapping.replicate(state.with_optimizers(initial, tx), self.chosen)
        self.mapped = mapping.map_train_step(
            functools.partial(step.train_step, settings=settings), self.chosen
        )

    def step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the loss and its terms."""
        quiet = functools.partial(critics.DomainCritic, dropout=0.0)
        with mock.patch.object(critics, 'DomainCritic', quiet):
            self.state, metrics = self.mapped(self.state, mapping.shard(batch, self.chosen))
        return {name: float(metrics[name]) for name in ('loss', *_TERMS)}

    def tensors(self) -> dict[str, np.ndarray]:
        """The same as `TorchSide.tensors`, under the same names and with PyTorch's axes."""
        current = jax.device_get(self.state)
        momentum = {group: _momentum(s) for group, s in current.opt_state.items()}
        found = self._by_torch_names(current.params, current.batch_stats)
        velocity = self._by_torch_names(momentum, current.batch_stats)
        running = ('running_mean', 'running_var')
        return found | {
            f'momentum of {name}': value
            for name, value in velocity.items()
            if not name.endswith(running)
        }

    def _by_torch_names(self, params: Mapping[str, Any], stats: Any) -> dict[str, np.ndarray]:
        variables = {'params': state.model_params(dict(params)), 'batch_stats': stats}
        network = torch_weights.to_state_dict(self.name, variables)
        result = {
            f'network.{key}': value
            for key, value in network.items()
            if not key.endswith('num_batches_tracked')
        }
        result |= {f'centers.{k}': v for k, v in params['centers']._asdict().items()}
        for key, layer in _CRITIC.items():
            result[f'critic.{key}.weight'] = params['critic'][layer]['kernel'].T
            result[f'critic.{key}.bias'] = params['critic'][layer]['bias']
        return result


def _extra(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    critic = {
        layer: {
            'kernel': weights[f'critic.{key}.weight'].T,
            'bias': weights[f'critic.{key}.bias'],
        }
        for key, layer in _CRITIC.items()
    }
    centers = losses.ClassCenters(weights['centers.source'], weights['centers.target'])
    return {'critic': critic, 'centers': centers}


def _momentum(opt_state: Any) -> Any:
    is_trace = lambda x: isinstance(x, optax.TraceState)
    (found,) = filter(is_trace, jax.tree.leaves(opt_state, is_leaf=is_trace))
    return found.trace

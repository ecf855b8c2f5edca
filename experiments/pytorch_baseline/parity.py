"""Trains both implementations on the same batches from the same weights and compares everything.

    python experiments/pytorch_baseline/parity.py --model tiny_multilevel
    python experiments/pytorch_baseline/parity.py --model vgg16_multilevel --image_size 64 \\
        --batch_size 8 --double

The recipe is the authors' release; dropout is off. docs/parity.md holds the results.
"""

import contextlib
import functools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from unittest import mock

import jax
import jax.numpy as jnp
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
# Length of the run of which the first steps are compared: 60 epochs of 100 steps.
TOTAL_STEPS = 6000


class Comparison(NamedTuple):
    """Deviations of ours from PyTorch's.

    Attributes:
        losses: largest relative deviation at any step, for the loss and each of its terms.
        layers: after the last step, norm of the difference over the norm, see `layer_deviations`.
    """

    losses: dict[str, float]
    layers: dict[str, float]


class Side(Protocol):
    """An implementation in training."""

    def step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the loss and its terms."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Everything that training changes, by PyTorch's names."""


def compare(ours: Side, theirs: Side, data: Iterable[Batch]) -> Comparison:
    """Trains both on the same batches."""
    worst: dict[str, float] = {}
    for batch in data:
        expected, found = theirs.step(batch), ours.step(batch)
        for name, value in expected.items():
            deviation = abs(found[name] - value) / abs(value)
            worst[name] = max(worst.get(name, 0.0), deviation)
    return Comparison(worst, layer_deviations(ours.tensors(), theirs.tensors()))


def layer_deviations(
    found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """For each layer ||found - expected|| / ||expected||, by kind of tensor.

    Weight and bias of a layer count as one vector. A bias alone may be all rounding: where a
    BatchNorm follows, its true gradient is 0.
    """
    if set(found) != set(expected):
        raise ValueError(f'different tensors: {sorted(set(found) ^ set(expected))}')
    squares: dict[str, list[float]] = {}
    for name, value in expected.items():
        layer, _, leaf = name.rpartition('.')
        group = f'{layer}.{leaf}' if leaf.startswith('running') else layer
        sums = squares.setdefault(group, [0.0, 0.0])
        sums[0] += float(np.square(np.subtract(found[name], value, dtype=np.float64)).sum())
        sums[1] += float(np.square(value, dtype=np.float64).sum())
    return {group: math.sqrt(part / whole) for group, (part, whole) in squares.items()}


def batches(count: int, size: int, batch_size: int, seed: int = 0) -> Iterator[Batch]:
    """Noisy images with a pattern per class; target is darker and has another noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(128, 60, (7, 8, 8, 3)).repeat(size // 8, 1).repeat(size // 8, 2)
    noise = lambda: rng.normal(0, 15, (batch_size, size, size, 3))
    for _ in range(count):
        labels_s, labels_t = rng.integers(0, 7, (2, batch_size))
        source = patterns[labels_s] + noise()
        target = 0.8 * patterns[labels_t] + noise()
        yield {
            'image_s': source.clip(0, 255).astype(np.uint8),
            'label_s': labels_s.astype(np.int32),
            'image_t': target.clip(0, 255).astype(np.uint8),
        }


@contextlib.contextmanager
def precision(double: bool) -> Iterator[None]:
    """Within it ours computes in float64 wherever it asks for float32, if `double`."""
    if not double:
        yield
        return
    with jax.enable_x64(True), mock.patch.object(jnp, 'float32', jnp.float64):
        yield


class TorchSide:
    """The PyTorch baseline in the release's recipe."""

    def __init__(self, name: str, size: int, *, seed: int = 0, double: bool = False) -> None:
        """Draws weights from the seed; `double` computes in float64."""
        torch.manual_seed(seed)
        network = torch_models.create(name, image_size=size, dropout=0.0)
        recipe = torch_method.Recipe(critic_dropout=0.0)
        self.double, self.dtype = double, torch.float64 if double else torch.float32
        self.module = torch_method.DMSRL(network, recipe).to(self.dtype)
        self.coefficients = torch_method.Coefficients(recipe, TOTAL_STEPS)
        self.optimisers = torch_optimisers.Optimisers(
            self.module.groups(), total_steps=TOTAL_STEPS, steps_per_epoch=TOTAL_STEPS
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
        return _losses({'loss': loss.detach(), **terms})

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
    """This library's own step, with the weights of a `TorchSide` and in its precision."""

    def __init__(self, name: str, size: int, twin: TorchSide) -> None:
        """Copies the weights and compiles nothing yet."""
        self.name, self.chosen, self.double = name, mapping.devices(1), twin.double
        with precision(self.double):
            self._build(size, twin)

    def _build(self, size: int, twin: TorchSide) -> None:
        name = self.name
        model = models.create(name, dropout=0.0, axis_name=step.AXIS)
        if self.double:
            model = model.clone(backbone=model.backbone.clone(dtype=jnp.float64))
        adaptation = methods.create('dmsrl', **release.DMSRL)
        weights = twin.tensors()
        network = {
            key.removeprefix('network.'): value
            for key, value in weights.items()
            if key.startswith('network.')
        }
        variables, _ = torch_weights.convert(name, network)
        variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), variables)
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
            total_steps=TOTAL_STEPS,
            steps_per_epoch=TOTAL_STEPS,
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
            total_steps=TOTAL_STEPS,
        )
        self.state = mapping.replicate(state.with_optimizers(initial, tx), self.chosen)
        self.mapped = mapping.map_train_step(
            functools.partial(step.train_step, settings=settings), self.chosen
        )

    def step(self, batch: Batch) -> dict[str, float]:
        """One update; returns the loss and its terms."""
        quiet = functools.partial(critics.DomainCritic, dropout=0.0)
        with precision(self.double), mock.patch.object(critics, 'DomainCritic', quiet):
            self.state, metrics = self.mapped(self.state, mapping.shard(batch, self.chosen))
        return _losses(metrics)

    def tensors(self) -> dict[str, np.ndarray]:
        """The same as `TorchSide.tensors`, under the same names and with PyTorch's axes."""
        current = jax.device_get(self.state)
        momentum = {group: _momentum(s) for group, s in current.opt_state.items()}
        found = self._by_torch_names(current.params, current.batch_stats)
        velocity = self._by_torch_names(momentum, current.batch_stats)
        running = ('running_mean', 'running_var')
        shares = {name: current.method_state[name] for name in ('shares_s', 'shares_t')}
        return (
            found
            | shares
            | {
                f'momentum of {name}': value
                for name, value in velocity.items()
                if not name.endswith(running)
            }
        )

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


def _losses(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The loss and its terms; the critic's is ln 2 minus the information, which is near 0."""
    values = {name: float(metrics[name]) for name in ('loss', 'classification', 'margin')}
    return values | {'adversarial': math.log(2.0) - float(metrics['mutual_information'])}


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


def table(result: Comparison) -> str:
    """Largest deviation of each loss, and of each kind of tensor with the layer that has it."""
    rows = [f'| {name}, at any step | {value:.1e} | |' for name, value in result.losses.items()]
    kinds = {
        'centres': lambda n: n == 'centers',
        'parameters': lambda n: not n.startswith(('momentum', 'centers', 'shares'))
        and 'running' not in n,
        'running statistics': lambda n: 'running' in n or n.startswith('shares'),
        'momentum buffers': lambda n: n.startswith('momentum'),
    }
    for kind, belongs in kinds.items():
        value, layer = max((v, n) for n, v in result.layers.items() if belongs(n))
        rows.append(f'| {kind} | {value:.1e} | {layer.removeprefix("momentum of ")} |')
    return '\n'.join(['| | relative deviation | where |', '|---|---|---|', *rows])


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    names = torch_models.names()
    flags.DEFINE_enum('model', 'tiny_multilevel', names, 'Network.', flag_values=values)
    flags.DEFINE_integer('steps', 20, 'Steps to compare.', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('image_size', 48, 'Side in pixels, by 8.', 32, flag_values=values)
    flags.DEFINE_integer('batch_size', 16, 'Images per domain.', 2, flag_values=values)
    flags.DEFINE_integer('seed', 0, 'Seed of weights and batches.', 0, flag_values=values)
    flags.DEFINE_bool('double', False, 'Compute in float64.', flag_values=values)
    flags.DEFINE_bool(
        'rounding', False, "Compare PyTorch's float64 with its float32 instead.", flag_values=values
    )


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Prints the table."""
    del argv
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # two libraries share a GPU
    given: dict[str, Any] = values.flag_values_dict()
    name, size, seed = given['model'], given['image_size'], given['seed']
    theirs = TorchSide(name, size, seed=seed, double=given['double'])
    ours: Side = (
        TorchSide(name, size, seed=seed, double=True)
        if given['rounding']
        else JaxSide(name, size, theirs)
    )
    data = batches(given['steps'], size, given['batch_size'], seed)
    print(table(compare(ours, theirs, data)))


if __name__ == '__main__':
    define_flags()
    cli.run(main)

"""One optimiser per parameter group, fused, with a schedule of its own."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dmsrl_jax.errors import InputError

RELEASE: dict[str, Any] = {
    'name': 'sgd',
    'learning_rate': 0.01,
    'momentum': 0.9,
    'nesterov': True,
    'weight_decay': 5e-4,
    'schedule': 'step',
    'decay_epochs': 30,
    'decay': 0.1,
    'warmup_steps': 0,
    'adaptation': 1.0,
    'groups': {'centers': {'learning_rate': 1.0, 'schedule': 'constant'}},
}


class Optimisers:
    """The optimisers and schedules of all groups, used as one."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[nn.Parameter]],
        settings: Mapping[str, Any] = RELEASE,
        *,
        total_steps: int,
        source_steps: int = 0,
        steps_per_epoch: int,
    ) -> None:
        """Makes them.

        `settings` are the fields of `RELEASE`; those of a group win, and its `multiplier` scales
        the learning rate. After `source_steps` schedules begin anew, `adaptation` times as high.
        """
        self.optimisers: dict[str, torch.optim.Optimizer] = {}
        self.schedules = []
        for group, parameters in groups.items():
            own = {**RELEASE, **settings, **settings.get('groups', {}).get(group, {})}
            optimiser = _optimiser(own, list(parameters))
            factor = _factor(own, total_steps, source_steps, steps_per_epoch)
            self.optimisers[group] = optimiser
            self.schedules.append(torch.optim.lr_scheduler.LambdaLR(optimiser, factor))

    def zero_grad(self) -> None:
        """Drops all gradients."""
        for optimiser in self.optimisers.values():
            optimiser.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One update of everything, then the schedules."""
        for optimiser in self.optimisers.values():
            optimiser.step()
        for schedule in self.schedules:
            schedule.step()


def _optimiser(
    settings: Mapping[str, Any], parameters: list[nn.Parameter]
) -> torch.optim.Optimizer:
    common: dict[str, Any] = {
        'lr': settings['learning_rate'] * settings.get('multiplier', 1.0),
        'weight_decay': settings['weight_decay'],
        'fused': True,
    }
    if settings.get('clip_norm'):
        raise InputError('the PyTorch baseline does not clip gradients; set optimizer.clip_norm=0')
    if settings['name'] == 'sgd':
        momentum, nesterov = settings['momentum'], settings['nesterov']
        return torch.optim.SGD(parameters, momentum=momentum, nesterov=nesterov, **common)
    if settings['name'] == 'adamw':
        return torch.optim.AdamW(parameters, **common)
    raise InputError(f'the PyTorch baseline has sgd and adamw, not {settings["name"]!r}')


def _factor(
    settings: Mapping[str, Any], total_steps: int, source_steps: int, steps_per_epoch: int
) -> Callable[[int], float]:
    """The learning rate's factor after n updates."""
    before = _shape(settings, source_steps, steps_per_epoch)
    adapting = _shape(settings, total_steps - source_steps, steps_per_epoch)

    def factor(n: int) -> float:
        if n < source_steps:
            return before(n)
        return settings['adaptation'] * adapting(n - source_steps)

    return factor


def _shape(
    settings: Mapping[str, Any], total_steps: int, steps_per_epoch: int
) -> Callable[[int], float]:
    every = max(settings['decay_epochs'] * steps_per_epoch, 1)
    shapes: dict[str, Callable[[int], float]] = {
        'constant': lambda n: 1.0,
        'step': lambda n: settings['decay'] ** (n // every),
        'cosine': lambda n: 0.5 * (1.0 + math.cos(math.pi * min(n / total_steps, 1.0))),
        'inverse': lambda n: (1.0 + 10.0 * n / total_steps) ** -0.75,
    }
    if settings['schedule'] not in shapes:
        raise InputError(f'unknown learning-rate schedule {settings["schedule"]!r}')
    shape, warmup = shapes[settings['schedule']], settings['warmup_steps']
    return lambda n: shape(n) * (min(1.0, (n + 1) / warmup) if warmup else 1.0)

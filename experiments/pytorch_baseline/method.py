"""DMSRL as one module: networks, centres and critic in, the loss of a pair of batches out."""

import copy
import dataclasses
import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from experiments.pytorch_baseline import critics, losses
from experiments.pytorch_baseline.layers import TARGET
from experiments.pytorch_baseline.models import Network, Outputs


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Constants of DMSRL; defaults are the authors' release. `dmsrl_jax.methods.dmsrl` explains.

    `mutual_information` is 'adversarial', 'mine' or 'none'; `threshold` 0 is the argmax rule.
    """

    use_margin: bool = True
    mutual_information: str = 'adversarial'
    alpha: float = 0.01
    beta: float = 0.01
    margin: float = 100.0
    cross_weight: float = 0.01
    center_scale: float = 1.0
    normalize: bool = False
    centers_follow: bool = False
    hidden: int = 512
    critic_dropout: float = 0.5
    ema_rate: float = 0.01
    reversal_steps: int = 10_000
    threshold: float = 0.0
    alignment: float = 0.0
    teacher: bool = False


class Coefficients:
    """The ramps of a step: `weight` of the margin term, `scale` of the gradient reversal."""

    def __init__(self, recipe: Recipe, steps: int, device: torch.device | str = 'cpu') -> None:
        self.recipe, self.steps, self.device = recipe, steps, device

    def __call__(self, done: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Both, when `done` of the `steps` of adaptation have been taken before this one."""
        steps = self.recipe.reversal_steps
        weight = losses.ramp(done / self.steps)
        scale = losses.ramp((done + 1) / steps) if steps else weight
        return tuple(torch.tensor([weight, scale], device=self.device))


class SourceOnly(nn.Module):
    """Cross-entropy on source; the baseline."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by optimiser group: the network's head apart from the rest."""
        head = list(getattr(self.network, self.network.head_name).parameters())
        own = {id(parameter) for parameter in head}
        rest = [p for p in self.network.parameters() if id(p) not in own]
        return {'backbone': rest, 'head': head}

    def forward(
        self, images_s: torch.Tensor, labels_s: torch.Tensor, *_: Any
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss and its terms; what belongs to target is not looked at."""
        loss = functional.cross_entropy(self.network(images_s, None).logits, labels_s)
        return loss, {'classification': loss.detach()}


class DMSRL(SourceOnly):
    """Cross-entropy on source, margin metric loss, mutual-information minimisation."""

    log_average: torch.Tensor
    shares_s: torch.Tensor
    shares_t: torch.Tensor
    critic: nn.Module

    def __init__(self, network: Network, recipe: Recipe, num_classes: int = 7) -> None:
        super().__init__(network)
        self.recipe = recipe
        dim = network.feature_dim
        if recipe.use_margin:
            self.centers = losses.Centers(num_classes, dim, recipe.center_scale)
            for domain in ('s', 't'):  # running class shares
                even = torch.full((num_classes,), 1.0 / num_classes)
                self.register_buffer(f'shares_{domain}', even)
        if recipe.mutual_information == 'adversarial':
            self.critic = critics.AdversarialNetwork(dim, recipe.hidden, recipe.critic_dropout)
        elif recipe.mutual_information == 'mine':
            self.critic = critics.StatisticsNetwork(dim, recipe.hidden)
            self.register_buffer('log_average', torch.tensor(float('nan')))

    def groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by optimiser group."""
        extra = {
            name: list(getattr(self, name).parameters())
            for name in ('centers', 'critic')
            if hasattr(self, name)
        }
        return {**super().groups(), **extra}

    def forward(
        self,
        images_s: torch.Tensor,
        labels_s: torch.Tensor,
        images_t: torch.Tensor,
        weight: torch.Tensor,
        scale: torch.Tensor,
        predicted: Outputs | None = None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of a source and a target batch [B, 3, H, W], and its terms.

        `predicted` are a teacher's outputs on the target batch, from which pseudo labels come
        instead of the network's own.
        """
        source, target = self.network.pair(images_s, images_t)
        return self.combine(source, labels_s, target, weight, scale, predicted)

    def combine(
        self,
        source: Outputs,
        labels_s: torch.Tensor,
        target: Outputs,
        weight: torch.Tensor,
        scale: torch.Tensor,
        predicted: Outputs | None,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The loss of both domains' outputs."""
        recipe = self.recipe
        loss = functional.cross_entropy(source.logits, labels_s)
        terms = {'classification': loss}
        if recipe.use_margin:
            margin = self._margin(source, labels_s, target, weight, predicted or target, terms)
            loss = loss + recipe.alpha * margin
        if recipe.mutual_information != 'none':
            adversary, bound = self._information(
                losses.gradient_reversal(source.features, scale),
                losses.gradient_reversal(target.features, scale),
            )
            terms['mutual_information'] = bound
            loss = loss + recipe.beta * adversary
        return loss, {name: value.detach() for name, value in terms.items()}

    def pseudo_labels(self, predicted: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The likeliest class of each sample [B], and whether it is sure enough to count [B]."""
        shift = (self.shares_s.clamp(min=1e-3) / self.shares_t.clamp(min=1e-3)).log()
        aligned = predicted.logits.detach() + self.recipe.alignment * shift
        confidence, labels = aligned.softmax(dim=1).max(dim=1)
        return labels, (confidence >= self.recipe.threshold).float()

    @torch.no_grad()
    def _count_classes(self, labels_s: torch.Tensor, predicted: Outputs) -> None:
        probabilities = predicted.logits.softmax(dim=1)
        known = functional.one_hot(labels_s, probabilities.shape[1]).to(probabilities)
        self.shares_s.lerp_(known.mean(dim=0), 0.02)
        self.shares_t.lerp_(probabilities.mean(dim=0), 0.02)

    def _margin(
        self,
        source: Outputs,
        labels_s: torch.Tensor,
        target: Outputs,
        weight: torch.Tensor,
        predicted: Outputs,
        terms: dict[str, torch.Tensor],
    ) -> torch.Tensor:
        self._count_classes(labels_s, predicted)
        labels_t, counts = self.pseudo_labels(predicted)
        features = [source.features, target.features]
        if self.recipe.normalize:
            features = [functional.normalize(f, dim=1, eps=1e-6) for f in features]
        # Where centres follow, only what reaches the features is weighed.
        pull = weight if self.recipe.centers_follow else 1.0
        features = [losses.gradient_reversal(f, -pull) for f in features]
        found = losses.margin_metric_loss(
            features[0],
            labels_s,
            features[1],
            labels_t,
            self.centers.source,
            self.centers.target,
            margin=self.recipe.margin,
            cross_weight=self.recipe.cross_weight,
            weights_t=counts,
        )
        terms |= {'margin': found.loss, **found._asdict(), 'coverage': counts.mean()}
        del terms['loss']
        return found.loss if self.recipe.centers_follow else weight * found.loss

    def _information(
        self, features_s: torch.Tensor, features_t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the critic minimises, and the bound of the information in nats."""
        if self.recipe.mutual_information == 'adversarial':
            logits_s, logits_t = self.critic(torch.cat([features_s, features_t])).chunk(2)
            entropy = losses.domain_adversarial_loss(logits_s, logits_t)
            return entropy, math.log(2.0) - entropy.detach()
        joint, marginal = critics.joint_and_marginal(self.critic, features_s, features_t)
        loss, bound, average = losses.mine_loss(
            joint, marginal, self.log_average, self.recipe.ema_rate
        )
        self.log_average.copy_(average)
        return loss, bound


class Average(nn.Module):
    """Moving average of a network's parameters, with the network's own running statistics."""

    def __init__(self, network: Network, decay: float = 0.99) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        twins = zip(network.modules(), self.network.modules(), strict=True)
        for original, twin in twins:
            twin._buffers = original._buffers

    @torch.no_grad()
    def forward(self, images: torch.Tensor, domain: int = TARGET) -> Outputs:
        """Predictions in evaluation mode."""
        return self.network(images, domain)

    @torch.no_grad()
    def update(self, network: Network, done: int) -> None:
        """Takes in the parameters after step number `done` (from 0), at first with less memory."""
        decay = min(self.decay, (1 + done) / (10 + done))
        torch._foreach_lerp_(
            list(self.network.parameters()), list(network.parameters()), 1.0 - decay
        )

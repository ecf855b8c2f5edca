"""Loss terms of DMSRL; `dmsrl_jax.losses` has the formulas and the references."""

import math
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(scale)
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (scale,) = ctx.saved_tensors
        return -scale.to(gradient.dtype) * gradient, None


def gradient_reversal(x: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
    """Identity whose gradient is -scale times the incoming one."""
    # A tensor: torch.compile would compile anew for each value of a number.
    return _Reverse.apply(x, torch.as_tensor(scale, device=x.device))


def ramp(p: float, gamma: float = 10.0) -> float:
    """Rises from 0: 2 / (1 + exp(-gamma p)) - 1, and stays 0 for negative p."""
    return 2.0 / (1.0 + math.exp(-gamma * max(p, 0.0))) - 1.0


class Centers(nn.Module):
    """A trainable centre for each class and domain, each [C, D]."""

    def __init__(self, num_classes: int, dim: int, scale: float = 1.0) -> None:
        super().__init__()
        self.source = nn.Parameter(scale * torch.randn(num_classes, dim))
        self.target = nn.Parameter(scale * torch.randn(num_classes, dim))


class MarginTerms(NamedTuple):
    """The margin loss and its parts before weighing and hinge."""

    loss: torch.Tensor
    intra_s: torch.Tensor
    intra_t: torch.Tensor
    inter_s: torch.Tensor
    inter_t: torch.Tensor
    cross: torch.Tensor


def center_distance(
    features: torch.Tensor,
    labels: torch.Tensor,
    centers: torch.Tensor,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Half the (weighted) mean of squared distances to the own class's centre."""
    distances = (features - centers[labels]).pow(2).sum(dim=1)
    if weights is None:
        return 0.5 * distances.mean()
    total = weights.sum()
    return 0.5 * (weights * distances).sum() / torch.where(total > 0, total, torch.ones_like(total))


def center_spread(centers: torch.Tensor) -> torch.Tensor:
    """Sum of squared distances of all pairs i < j of centres, divided by C (C - 1)."""
    count = centers.shape[0]
    left, right = torch.triu_indices(count, count, offset=1, device=centers.device)
    return (centers[left] - centers[right]).pow(2).sum() / (count * (count - 1))


def margin_metric_loss(
    features_s: torch.Tensor,
    labels_s: torch.Tensor,
    features_t: torch.Tensor,
    labels_t: torch.Tensor,
    centers_s: torch.Tensor,
    centers_t: torch.Tensor,
    *,
    margin: float = 100.0,
    cross_weight: float = 0.01,
    weights_t: torch.Tensor | None = None,
) -> MarginTerms:
    """Samples to their centres, centres apart up to the margin, domains together."""
    intra_s = center_distance(features_s, labels_s, centers_s)
    intra_t = center_distance(features_t, labels_t, centers_t, weights_t)
    inter_s, inter_t = center_spread(centers_s), center_spread(centers_t)
    cross = (centers_s - centers_t).pow(2).sum() / centers_s.shape[0]
    hinges = functional.relu(margin - inter_s) + functional.relu(margin - inter_t)
    loss = intra_s + intra_t + hinges + cross_weight * cross
    return MarginTerms(loss, intra_s, intra_t, inter_s, inter_t, cross)


def domain_adversarial_loss(logits_s: torch.Tensor, logits_t: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of the domain critic, source 1 and target 0, mean over all samples."""
    logits = torch.cat([logits_s, logits_t]).float()
    truth = torch.cat([torch.ones_like(logits_s), torch.zeros_like(logits_t)]).float()
    return functional.binary_cross_entropy_with_logits(logits, truth)


def moving_log_average(
    log_average: torch.Tensor, log_value: torch.Tensor, rate: float = 0.01
) -> torch.Tensor:
    """Running mean of exp, kept as a logarithm; NaN stands for no mean yet.

    One more than e^5 times the value says nothing of the critic of now, and begins anew.
    """
    mixed = torch.logaddexp(log_average + math.log1p(-rate), log_value + math.log(rate))
    return torch.where(log_average < log_value + 5, mixed, log_value)


def mine_loss(
    joint: torch.Tensor, marginal: torch.Tensor, log_average: torch.Tensor, rate: float = 0.01
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Donsker and Varadhan's bound with MINE's gradient.

    Returns the loss to minimise, whose value is minus the bound and whose gradient divides by the
    moving average of E exp T; the bound in nats; the logarithm of the new average.
    """
    log_mean = torch.logsumexp(marginal, dim=0) - math.log(marginal.numel())
    bound = (joint.mean() - log_mean).detach()
    log_average = moving_log_average(log_average, log_mean.detach(), rate)
    surrogate = (marginal - log_average).exp().mean() - joint.mean()
    return surrogate - surrogate.detach() - bound, bound, log_average

"""BatchNorm with one or two sets of running statistics, and how weights start."""

import math

import torch
from torch import nn
from torch.nn import functional

SOURCE, TARGET = 0, 1
STATISTICS = ('shared', 'per_domain', 'joint')


class DomainBatchNorm(nn.BatchNorm2d):
    """BatchNorm of maps [B, C, H, W], a row of statistics [2, C] per domain, one set of weights.

    `domain` chooses the row that a pass updates, or evaluates with; `Network.forward` sets it.
    None, in training, updates both: the one domain stands for the other until that is seen.
    """

    domain: int | None = TARGET

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        for name in ('running_mean', 'running_var'):
            self.register_buffer(name, getattr(self, name).repeat(2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises by the batch in training, by the domain's running statistics else."""
        self._check_input_dim(x)
        if self.domain is not None:
            return self._normalised(x, self.domain)
        with torch.no_grad():
            self._normalised(x, TARGET)
        return self._normalised(x, SOURCE)

    def _normalised(self, x: torch.Tensor, domain: int) -> torch.Tensor:
        assert self.running_mean is not None
        assert self.running_var is not None
        return functional.batch_norm(
            x,
            self.running_mean[domain],
            self.running_var[domain],
            self.weight,
            self.bias,
            self.training,
            0.1,
            self.eps,
        )


def norm(channels: int, statistics: str) -> nn.Module:
    """PyTorch's own BatchNorm of maps, or the one with statistics per domain."""
    return DomainBatchNorm(channels) if statistics == 'per_domain' else nn.BatchNorm2d(channels)


def init_convolutions(module: nn.Module) -> None:
    """He-normal by fan-out, biases 0: N(0, sqrt(2 / (k k out))); BatchNorm starts at 1 and 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode='fan_out', nonlinearity='relu')
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_dense(module: nn.Module, *, std: float | None = None) -> None:
    """N(0, std) or, without it, Xavier-normal; biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            if std is None:
                nn.init.xavier_normal_(layer.weight)
            else:
                nn.init.normal_(layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def window_side(length: int) -> int:
    """Side of a corner window: 5 on a map of 7."""
    return math.ceil(5 * length / 7)


class LocalUnit(nn.Module):
    """Convolutions on one window of the map, flattened into a dense layer."""

    def __init__(
        self,
        channels: int,
        widths: tuple[int, ...],
        side: int,
        out: int,
        bias: bool,
        statistics: str,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            layers += [
                nn.Conv2d(channels, width, 3, padding=1, bias=bias),
                norm(width, statistics),
                nn.ReLU(inplace=True),
            ]
            channels = width
        layers += [nn.Flatten(), nn.Linear(channels * side * side, out)]
        self.localnet = nn.Sequential(*layers)

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Maps a window [B, C, h, w] to [B, out]."""
        return self.localnet(window)

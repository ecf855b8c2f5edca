"""The two critics on features. Key names of the adversarial one as in the authors' code."""

import torch
from torch import nn
from torch.nn import functional

from experiments.pytorch_baseline import layers


class AdversarialNetwork(nn.Module):
    """Domain critic D -> hidden -> hidden -> 1 with ReLU and dropout; positive means source."""

    def __init__(self, dim: int, hidden: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.ad_layer1 = nn.Linear(dim, hidden)
        self.ad_layer2 = nn.Linear(hidden, hidden)
        self.ad_layer3 = nn.Linear(hidden, 1)
        self.dropout = nn.Dropout(dropout)
        layers.init_dense(self)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits [B]."""
        x = self.dropout(functional.relu(self.ad_layer1(features)))
        x = self.dropout(functional.relu(self.ad_layer2(x)))
        return self.ad_layer3(x).squeeze(1)


class StatisticsNetwork(nn.Module):
    """MINE's T(f, d) on features and one-hot domain."""

    def __init__(self, dim: int, hidden: int = 512) -> None:
        super().__init__()
        self.layer1 = nn.Linear(dim + 2, hidden)
        self.layer2 = nn.Linear(hidden, hidden)
        self.layer3 = nn.Linear(hidden, 1)
        layers.init_dense(self)

    def forward(self, features: torch.Tensor, domains: torch.Tensor) -> torch.Tensor:
        """Scores [B] of features [B, D] with domains [B] (0 source, 1 target)."""
        onehot = functional.one_hot(domains, 2).to(features.dtype)
        x = functional.relu(self.layer1(torch.cat([features, onehot], dim=1)))
        return self.layer3(functional.relu(self.layer2(x))).squeeze(1)


def joint_and_marginal(
    network: nn.Module, features_s: torch.Tensor, features_t: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores of (f, own domain) [2B], and of every f with both domains [4B]."""
    features = torch.cat([features_s, features_t])
    domains = torch.zeros(len(features), dtype=torch.long, device=features.device)
    domains[len(features_s) :] = 1
    joint = network(features, domains)
    return joint, torch.cat([joint, network(features, 1 - domains)])

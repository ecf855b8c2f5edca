"""Critics on features: the domain critic and the statistics network of mutual information."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.models.layers import Dropout, Mode, xavier_normal


class DomainCritic(nn.Module):
    """Tells source from target: D -> hidden -> hidden -> 1, ReLU and dropout in between."""

    hidden: int = 512
    dropout: float = 0.5
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features: jax.Array, train: bool = False, domains: int = 1) -> jax.Array:
        """Domain scores.

        Args:
            features: [B, D].
            train: dropout on; needs the rng `dropout`.
            domains: 2 if features are [source; target] stacked; it decides nothing but the global
                positions on which the dropout masks depend.

        Returns:
            Logits [B], positive for source.
        """
        mode = Mode(train, domains)
        x = features
        for i in range(2):
            x = nn.relu(nn.Dense(self.hidden, kernel_init=xavier_normal, name=f'dense{i}')(x))
            x = Dropout(self.dropout, self.axis_name, name=f'dropout{i}')(x, mode)
        return nn.Dense(1, kernel_init=xavier_normal, name='score')(x)[:, 0]


class StatisticsNetwork(nn.Module):
    """T(f, d) of the Donsker-Varadhan bound: two hidden layers on [f ; onehot(d)].

    Reference:
        Belghazi et al. Mutual Information Neural Estimation. ICML 2018.
    """

    hidden: int = 512

    @nn.compact
    def __call__(self, features: jax.Array, domain: jax.Array) -> jax.Array:
        """Scores [B] of features [B, D] paired with one-hot domains [B, 2]."""
        x = jnp.concatenate([features, domain.astype(features.dtype)], axis=-1)
        for i in range(2):
            x = nn.relu(nn.Dense(self.hidden, kernel_init=xavier_normal, name=f'dense{i}')(x))
        return nn.Dense(1, kernel_init=xavier_normal, name='score')(x)[:, 0]

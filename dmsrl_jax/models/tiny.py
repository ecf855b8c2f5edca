"""A small multi-level network for 48x48 faces, which trains on a CPU."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.models import layers
from dmsrl_jax.models.layers import ConvBlock, Dropout, Mode
from dmsrl_jax.models.multilevel import CORNERS, LocalBranch, corner_windows


class TinyBackbone(nn.Module):
    """Four convolution blocks and the global + four-corner structure of `vgg16_multilevel`.

    At 48x48 the last map is 6x6 and its corner windows are 5x5. Features are the last hidden layer,
    after ReLU and dropout.
    """

    dtype: Any = jnp.float32
    dropout: float = 0.5
    axis_name: str | None = None
    local: bool = True
    statistics: str = 'shared'
    widths: tuple[int, ...] = (32, 64, 96)
    local_width: int = 32
    feature_dim: int = 256
    minimum_size: int = 16
    head_init: Any = layers.xavier_normal

    @nn.compact
    def __call__(self, images: jax.Array, mode: Mode) -> dict[str, Any]:
        """Maps images [B, H, W, 3] to `map`, `local` [B, 4 * 32], `global` and `features`."""
        shared = {
            'use_bias': False,  # the BatchNorm behind it has one
            'dtype': self.dtype,
            'axis_name': self.axis_name,
            'statistics': self.statistics,
        }
        x = images.astype(self.dtype)
        x = ConvBlock(self.widths[0], 5, strides=2, **shared, name='block0')(x, mode)
        for i, width in enumerate(self.widths[1:], start=1):
            x = ConvBlock(width, **shared, name=f'block{i}')(
                layers.max_pool(x) if i > 1 else x, mode
            )
        x = layers.max_pool(x)
        outputs = {'map': x, 'global': x.reshape(x.shape[0], -1)}
        joined = outputs['global']
        if self.local:
            branches = [
                LocalBranch(
                    (self.local_width,), self.local_width, layers.xavier_normal, **shared, name=name
                )(window, mode)
                for name, window in zip(CORNERS, corner_windows(x), strict=True)
            ]
            outputs['local'] = jnp.concatenate(branches, axis=-1)
            joined = jnp.concatenate([outputs['local'], joined], axis=-1)
        x = nn.Dense(
            self.feature_dim, dtype=self.dtype, kernel_init=layers.xavier_normal, name='fc'
        )(joined)
        outputs['features'] = Dropout(self.dropout, self.axis_name, name='dropout')(
            nn.relu(x), mode
        )
        return outputs

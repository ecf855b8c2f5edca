"""A small multi-level network for 48x48 faces, which trains on a CPU."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.models import pooling
from dmsrl_jax.models.layers import ConvBlock, Dropout, Mode, xavier_normal
from dmsrl_jax.models.multilevel import CORNERS, LocalBranch, corner_windows

# (output channels, whether a 2x2 max-pool comes first)
_PLAN = ((32, False), (32, True), (64, False), (96, True))


class TinyBackbone(nn.Module):
    """Four convolutions and the global + four-corner structure of `vgg16_multilevel`.

    2x2 pixels are stacked first, so that the first convolution sees what a 6x6 one of stride 2
    sees, on twelve channels: CPUs are slow on three. At 48x48 the maps are 24x24 (32 channels),
    12x12 (32, then 64) and 6x6 (96), and corner windows are 5x5. Features are the last hidden
    layer, after ReLU and dropout.
    """

    dtype: Any = jnp.float32
    dropout: float = 0.5
    axis_name: str | None = None
    local: bool = True
    statistics: str = 'shared'
    local_width: int = 16
    local_features: int = 32
    feature_dim: int = 256
    minimum_size: int = 16
    head_init: Any = xavier_normal

    @nn.compact
    def __call__(self, images: jax.Array, mode: Mode) -> dict[str, Any]:
        """Maps images [B, H, W, 3] to `map`, `local` [B, 4 * 32], `global` and `features`."""
        shared = {
            'use_bias': False,  # the BatchNorm behind it has one
            'dtype': self.dtype,
            'axis_name': self.axis_name,
            'statistics': self.statistics,
        }
        x = pooling.space_to_depth(images.astype(self.dtype))
        for i, (width, pool) in enumerate(_PLAN):
            x = pooling.max_pool(x) if pool else x
            x = ConvBlock(width, **shared, name=f'block{i}')(x, mode)
        outputs = {'map': x, 'global': x.reshape(x.shape[0], -1)}
        joined = outputs['global']
        if self.local:
            widths, init = (self.local_width,), xavier_normal
            branches = [
                LocalBranch(widths, self.local_features, init, **shared, name=name)(window, mode)
                for name, window in zip(CORNERS, corner_windows(x), strict=True)
            ]
            outputs['local'] = jnp.concatenate(branches, axis=-1)
            joined = jnp.concatenate([outputs['local'], joined], axis=-1)
        x = nn.Dense(
            self.feature_dim, use_bias=False, dtype=self.dtype, kernel_init=xavier_normal, name='fc'
        )(joined)
        # Without it the layer dies on some data: all units off, the loss stays at ln C. BatchNorm
        # would take away what a domain's images have in common, which here is its class shares.
        x = nn.LayerNorm(epsilon=1e-5, dtype=self.dtype, name='norm')(x)
        outputs['features'] = Dropout(self.dropout, self.axis_name, name='dropout')(
            nn.relu(x), mode
        )
        return outputs

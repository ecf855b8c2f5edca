"""VGG-16 with BatchNorm, alone or with four local branches: the extractor of DMSRL."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.models import pooling
from dmsrl_jax.models.layers import ConvBlock, Dropout, Mode
from dmsrl_jax.models.multilevel import CORNERS, LocalBranch, corner_windows

# output channels of the convolutions between two max-pools
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_GLOBAL_SIDE = 7

dense_normal = nn.initializers.normal(0.01)


class VGG16(nn.Module):
    """VGG-16 trunk, four corner branches, two dense layers of 4096 (ReLU, dropout) = features.

    At 224x224 the last map is 7x7x512: four branches on its 5x5 corner windows give 512 features
    each and the map 25,088, joined to 27,136. At other sizes the windows scale with the map, and
    the map is average-pooled to 7x7. Without `local` it is plain VGG-16.

    References:
        Simonyan, Zisserman. Very Deep Convolutional Networks for Large-Scale Image Recognition.
        ICLR 2015.
        Li, Zhang, Chen, Lu, Zhang. Deep Margin-Sensitive Representation Learning for Cross-Domain
        Facial Expression Recognition. IEEE Trans. Multimedia 25, 2023.
    """

    dtype: Any = jnp.float32
    dropout: float = 0.5
    axis_name: str | None = None
    local: bool = True
    statistics: str = 'shared'
    feature_dim: int = 4096
    minimum_size: int = 32
    head_init: Any = dense_normal

    @nn.compact
    def __call__(self, images: jax.Array, mode: Mode) -> dict[str, Any]:
        """Maps images [B, H, W, 3] to `map`, `local` [B, 2048], `global` [B, 25088], `features`."""
        feature_map = self._trunk(images.astype(self.dtype), mode)
        pooled = pooling.adaptive_average_pool(feature_map, _GLOBAL_SIDE)
        outputs = {'map': feature_map, 'global': pooled.reshape(pooled.shape[0], -1)}
        x = outputs['global']
        if self.local:
            outputs['local'] = self._branches(feature_map, mode)
            x = jnp.concatenate([outputs['local'], x], axis=-1)
        for i in (1, 2):
            dense = nn.Dense(
                self.feature_dim, dtype=self.dtype, kernel_init=dense_normal, name=f'fc{i}'
            )
            x = Dropout(self.dropout, self.axis_name, name=f'dropout{i}')(nn.relu(dense(x)), mode)
        return {**outputs, 'features': x}

    def _shared(self) -> dict[str, Any]:
        return {
            'dtype': self.dtype,
            'axis_name': self.axis_name,
            'statistics': self.statistics,
        }

    def _trunk(self, x: jax.Array, mode: Mode) -> jax.Array:
        """The thirteen convolutions `block0` to `block12`: [B, H / 32, W / 32, 512]."""
        index = 0
        for widths in _STAGES:
            for width in widths:
                x = ConvBlock(width, **self._shared(), name=f'block{index}')(x, mode)
                index += 1
            x = pooling.max_pool(x)
        return x

    def _branches(self, feature_map: jax.Array, mode: Mode) -> jax.Array:
        """Local features [B, 4 * 512] of the corner windows, in the order of CORNERS."""
        branches = [
            LocalBranch((256, 128, 64), 512, dense_normal, **self._shared(), name=name)(
                window, mode
            )
            for name, window in zip(CORNERS, corner_windows(feature_map), strict=True)
        ]
        return jnp.concatenate(branches, axis=-1)

"""ResNet-50 with three stacked dense levels: the extractor of JDMAN."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.models import pooling
from dmsrl_jax.models.layers import ConvBlock, Mode, xavier_normal

# (blocks, bottleneck width, stride of the first block) of layer1 to layer4
_STAGES = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))


class Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1 with the stride on the 3x3 convolution ("v1.5")."""

    width: int
    strides: int = 1
    dtype: Any = jnp.float32
    axis_name: str | None = None
    statistics: str = 'shared'

    @nn.compact
    def __call__(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Maps [B, H, W, C] to [B, H / strides, W / strides, 4 * width]."""
        shared = {
            'use_bias': False,
            'dtype': self.dtype,
            'axis_name': self.axis_name,
            'statistics': self.statistics,
        }
        out = 4 * self.width
        y = ConvBlock(self.width, 1, **shared, name='block0')(x, mode)
        y = ConvBlock(self.width, 3, self.strides, **shared, name='block1')(y, mode)
        y = ConvBlock(out, 1, relu=False, **shared, name='block2')(y, mode)
        if x.shape != y.shape:
            x = ConvBlock(out, 1, self.strides, relu=False, **shared, name='shortcut')(x, mode)
        return nn.relu(x + y)


class ResNet50(nn.Module):
    """ResNet-50, global average pool, dense levels f1, f2, f3 of 1024; features are all three.

    The levels follow each other without activation: f1 = W1 pool, f2 = W2 f1, f3 = W3 f2. Without
    `local` there is f1 alone.

    References:
        He, Zhang, Ren, Sun. Deep Residual Learning for Image Recognition. CVPR 2016.
        Li, Gao, Chen, Zhang, Zhu, Lu. Joint Discriminative and Mutual Adaptation Networks for
        Cross-Domain Facial Expression Recognition. ACM MM 2021.
    """

    dtype: Any = jnp.float32
    dropout: float = 0.5  # there is no dropout layer; kept so that all networks take one
    axis_name: str | None = None
    local: bool = True
    statistics: str = 'shared'
    level_dim: int = 1024
    minimum_size: int = 32
    head_init: Any = xavier_normal

    @property
    def feature_dim(self) -> int:
        """Width of the features: one or three levels."""
        return self.level_dim * (3 if self.local else 1)

    @nn.compact
    def __call__(self, images: jax.Array, mode: Mode) -> dict[str, Any]:
        """Maps images [B, H, W, 3] to `map`, `pooled` [B, 2048], `levels` and `features`."""
        feature_map = self._trunk(images.astype(self.dtype), mode)
        # averaged in float32: a mean of 49 bfloat16 values would lose digits
        pooled = feature_map.astype(jnp.float32).mean(axis=(1, 2)).astype(self.dtype)
        levels, x = [], pooled
        for i in range(3 if self.local else 1):
            x = nn.Dense(
                self.level_dim, dtype=self.dtype, kernel_init=xavier_normal, name=f'level{i + 1}'
            )(x)
            levels.append(x)
        return {
            'map': feature_map,
            'pooled': pooled,
            'levels': tuple(levels),
            'features': jnp.concatenate(levels, axis=-1),
        }

    def _trunk(self, x: jax.Array, mode: Mode) -> jax.Array:
        """Stem and the sixteen bottlenecks: [B, H / 32, W / 32, 2048]."""
        shared = {
            'dtype': self.dtype,
            'axis_name': self.axis_name,
            'statistics': self.statistics,
        }
        x = ConvBlock(64, 7, 2, use_bias=False, **shared, name='stem')(x, mode)
        x = pooling.overlapping_max_pool(x)
        for stage, (blocks, width, strides) in enumerate(_STAGES, start=1):
            for block in range(blocks):
                step = strides if block == 0 else 1
                x = Bottleneck(width, step, **shared, name=f'layer{stage}_{block}')(x, mode)
        return x

"""Global and local features: corner windows, local branches, the classifier around a backbone."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from dmsrl_jax.models.layers import ConvBlock, Mode, check_images

CORNERS = ('top_left', 'top_right', 'bottom_left', 'bottom_right')


def window_side(length: int) -> int:
    """Side of a corner window on a map axis: ceil(5/7 * length), which is 5 on a map of 7."""
    return -(-5 * length // 7)


def corner_windows(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Four overlapping windows of a feature map, anchored at its corners.

    Args:
        x: [B, H, W, C].

    Returns:
        Top-left, top-right, bottom-left and bottom-right windows, each
        [B, ceil(5/7 H), ceil(5/7 W), C].

    Reference:
        Li, Zhang, Chen, Lu, Zhang. Deep Margin-Sensitive Representation Learning for Cross-Domain
        Facial Expression Recognition. IEEE Trans. Multimedia 25, 2023.
    """
    height, width = x.shape[1:3]
    top, bottom = slice(0, window_side(height)), slice(height - window_side(height), height)
    left, right = slice(0, window_side(width)), slice(width - window_side(width), width)
    return x[:, top, left], x[:, top, right], x[:, bottom, left], x[:, bottom, right]


class LocalBranch(nn.Module):
    """A branch on one window: 3x3 convolutions, flatten, dense without activation."""

    widths: Sequence[int]
    features: int
    kernel_init: Callable[..., jax.Array]
    use_bias: bool = True
    dtype: Any = jnp.float32
    axis_name: str | None = None
    statistics: str = 'shared'

    @nn.compact
    def __call__(self, window: jax.Array, mode: Mode) -> jax.Array:
        """Maps a window [B, h, w, C] to local features [B, features]."""
        x = window
        for i, width in enumerate(self.widths):
            x = ConvBlock(
                width,
                use_bias=self.use_bias,
                dtype=self.dtype,
                axis_name=self.axis_name,
                statistics=self.statistics,
                name=f'block{i}',
            )(x, mode)
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(
            self.features, dtype=self.dtype, kernel_init=self.kernel_init, name='dense'
        )(x)


class Classifier(nn.Module):
    """A backbone and a linear head; parameters have the two keys `backbone` and `head`.

    The backbone maps (images, mode) to a dict with `features` and its named intermediates, and
    knows its `feature_dim`, `minimum_size` and the initialiser `head_init`.
    """

    backbone: nn.Module
    num_classes: int = 7

    @property
    def feature_dim(self) -> int:
        """Width D of the features."""
        return self.backbone.feature_dim

    @nn.compact
    def __call__(
        self,
        images: jax.Array,
        train: bool = False,
        domains: int = 1,
        domain: int | jax.Array | None = None,
    ) -> dict[str, Any]:
        """Features and class scores of a batch.

        Args:
            images: floating [B, H, W, 3] in 0..1.
            train: batch statistics and dropout on. The caller makes `batch_stats` mutable and gives
                the rng `dropout`.
            domains: 2 in training if the batch is [source; target] stacked, equally many of each:
                batch statistics are then per domain, equal to two passes, unless they are `joint`.
                Ignored in evaluation.
            domain: with running statistics per domain, the domain (0 source, 1 target) whose
                statistics evaluation uses (default: target), or that a training batch of one domain
                updates (default: both).

        Returns:
            `logits` [B, C] and `features` [B, D], both float32, and the backbone's intermediates.

        Raises:
            InputError: images or domains that the network cannot take; the message gives sizes.
        """
        mode = Mode(train, domains, domain)
        check_images(images, mode, self.backbone.minimum_size)
        outputs = self.backbone(images, mode)
        features = outputs['features'].astype(jnp.float32)
        # The scores decide losses and pseudo labels: float32 whatever the compute dtype is.
        head = nn.Dense(self.num_classes, kernel_init=self.backbone.head_init, name='head')
        return {**outputs, 'logits': head(features), 'features': features}

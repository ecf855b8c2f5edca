"""Augmentation of image batches on the device, inside the jitted step, with dm-pix.

Every image has its own random key, made from its global position in the batch: however a batch is
split over devices, the same images come out.
"""

from typing import Any, NamedTuple

import chex
import dm_pix as pix
import jax
import jax.numpy as jnp

from dmsrl_jax.errors import InputError

CROPS = ('none', 'release', 'resize_crop')
# The release crops 224 x 224 windows out of images of 256 x 256.
_RELEASE_STORED, _RELEASE_CROP = 256, 224


class Recipe(NamedTuple):
    """What happens to a training image; hashable, so that it can be a static argument of jit.

    Attributes:
        flip: mirror left-right with probability 0.5.
        crop: 'none' (the whole image), 'release' (a random window of the final size, no resize), or
            'resize_crop' (a random square window, resized).
        min_scale: smallest side of the 'resize_crop' window, as a share of the image's side.
        brightness: largest shift, up or down, of the values in 0..1.
        contrast: largest relative change of the distance to the channel's mean.
        bgr: reverse the channel order, as the release does.
    """

    flip: bool = False
    crop: str = 'none'
    min_scale: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    bgr: bool = False


_RECIPES = {
    'none': Recipe(),
    'release': Recipe(flip=True, crop='release'),
    'standard': Recipe(flip=True, crop='resize_crop', min_scale=0.8, brightness=0.2, contrast=0.2),
}


def names() -> tuple[str, ...]:
    """Returns the names of all recipes."""
    return tuple(_RECIPES)


def recipe(name: str, **overrides: Any) -> Recipe:
    """Returns a recipe by name, with some fields replaced.

    Args:
        name: 'none' (only the deterministic resize: also the view of test images), 'release' (flip,
            random crop from a stored image of side `stored_size`) or 'standard' (flip, random
            resized crop, brightness and contrast).
        **overrides: fields of `Recipe` and their new values, for instance `bgr=True`.

    Returns:
        The recipe.

    Raises:
        InputError: unknown name or field, or a value out of range.
    """
    if name not in _RECIPES:
        raise InputError(f'unknown augmentation {name!r}; known: {", ".join(_RECIPES)}')
    unknown = sorted(set(overrides) - set(Recipe._fields))
    if unknown:
        raise InputError(
            f'augmentation {name!r} has no option {", ".join(unknown)}; '
            f'options: {", ".join(Recipe._fields)}'
        )
    result = _RECIPES[name]._replace(**overrides)
    if result.crop not in CROPS:
        raise InputError(
            f'augmentation crop must be one of {", ".join(CROPS)}, got {result.crop!r}'
        )
    if not 0 < result.min_scale <= 1:
        raise InputError(f'augmentation min_scale must be in (0, 1], got {result.min_scale}')
    for field in ('brightness', 'contrast'):
        value = getattr(result, field)
        if not 0 <= value <= 1:
            raise InputError(f'augmentation {field} must be in 0..1, got {value}')
    return result


def stored_size(size: int, recipe: Recipe) -> int:
    """Returns the side at which the host must decode images for a recipe.

    Args:
        size: side of the image that enters the network.
        recipe: the augmentation of this stream.

    Returns:
        `size * 256 / 224` (rounded) for the release's crop, `size` for all others.
    """
    return round(size * _RELEASE_STORED / _RELEASE_CROP) if recipe.crop == 'release' else size


def augment(
    key: chex.PRNGKey,
    images: chex.Array,
    *,
    size: int,
    recipe: Recipe,
    positions: chex.Array,
) -> jax.Array:
    """Augments a batch of images; image i uses the key `fold_in(key, positions[i])`.

    The order is: flip, release crop, scaling to 0..1, brightness, contrast, clip, random or plain
    resize, channel order.

    Args:
        key: one random key for the whole batch (of this step and this domain).
        images: uint8 [B, H, H, 3].
        size: side of the result.
        recipe: what to do.
        positions: integers [B], the global position of each image in the batch: of B images per
            device, device r has the positions r * B .. r * B + B - 1.

    Returns:
        float32 [B, size, size, 3] in 0..1.

    Raises:
        TypeError: the images are not uint8, or the positions are not integers.
        InputError: the images are smaller than the window to crop.
    """
    if images.dtype != jnp.uint8:
        raise TypeError(f'augment takes uint8 images 0..255, got {images.dtype}')
    if not jnp.issubdtype(positions.dtype, jnp.integer):
        raise TypeError(f'augment takes integer positions, got {positions.dtype}')
    chex.assert_shape(images, (positions.shape[0], None, images.shape[1], 3))
    side = images.shape[1]
    if recipe.crop == 'release' and side < size:
        raise InputError(
            f"augmentation 'release' crops {size} x {size} windows, but the images have side "
            f'{side}; decode them at {stored_size(size, recipe)} (see stored_size)'
        )

    of_one = lambda position: jax.random.split(jax.random.fold_in(key, position), 4)
    keys = jax.vmap(of_one)(positions)
    result = jax.vmap(lambda k, image: _augment_one(k, image, size, recipe))(keys, images)
    if recipe.crop == 'resize_crop':
        result = _random_resized_crops(keys[:, 1], result, size, recipe.min_scale)
    return result[..., ::-1] if recipe.bgr else result


def match(
    key: chex.PRNGKey,
    images: chex.Array,
    references: chex.Array,
    *,
    share: float,
    positions: chex.Array,
) -> jax.Array:
    """Gives some images the light and contrast of another one each.

        x' = clip((x - m_x) * s_y / s_x + m_y, 0, 1)

    with m the mean of each channel and s the standard deviation of all values about these means:
    brightness, tint and contrast are those of the reference y, what is to be seen is that of x.

    Args:
        key: one random key for the whole batch; image i uses `fold_in(key, positions[i])`.
        images: float [B, H, W, 3] in 0..1, here of the source.
        references: float [B, H', W', 3] in 0..1; image i goes by reference i, here of the target.
        share: probability of an image to be changed, 0 to 1.
        positions: integers [B], the global position of each image in the batch.

    Returns:
        float [B, H, W, 3] in 0..1.

    Reference:
        Reinhard et al., Color Transfer between Images, IEEE Computer Graphics and Applications
        21(5), 2001 (there in another colour space, with a deviation of each channel).
    """
    chex.assert_type([images, references], float)
    chex.assert_equal_shape_prefix([images, references], 1)
    mean_x, deviation_x = _moments(images)
    mean_y, deviation_y = _moments(references)
    changed = (images - mean_x) * (deviation_y / deviation_x) + mean_y
    draw = lambda position: jax.random.bernoulli(jax.random.fold_in(key, position), share)
    chosen = jax.vmap(draw)(positions)[:, None, None, None]
    return jnp.where(chosen, jnp.clip(changed, 0.0, 1.0), images)


def _moments(images: chex.Array) -> tuple[jax.Array, jax.Array]:
    """Mean per channel, [B, 1, 1, 3], and deviation about it, [B, 1, 1, 1]."""
    mean = jnp.mean(images, axis=(1, 2), keepdims=True)
    variance = jnp.mean(jnp.square(images - mean), axis=(1, 2, 3), keepdims=True)
    return mean, jnp.sqrt(variance + 1e-6)  # of an image of one colour a thousandth, not 0


def _augment_one(keys: chex.PRNGKey, image: chex.Array, size: int, recipe: Recipe) -> jax.Array:
    """Everything but the random resize and the channel order."""
    key_flip, key_crop, key_brightness, key_contrast = keys
    if recipe.flip:
        image = pix.random_flip_left_right(key_flip, image, probability=0.5)
    if recipe.crop == 'release':
        image = pix.random_crop(key_crop, image, (size, size, 3))
    # Within one unit in the last place of the quotient: XLA multiplies by the reciprocal.
    image = image.astype(jnp.float32) / 255.0
    # Before the resize, or XLA on CPU repeats its gathers for the mean that contrast needs.
    if recipe.brightness:
        image = pix.random_brightness(key_brightness, image, recipe.brightness)
    if recipe.contrast:
        image = pix.random_contrast(key_contrast, image, 1 - recipe.contrast, 1 + recipe.contrast)
    if recipe.brightness or recipe.contrast:
        image = jnp.clip(image, 0.0, 1.0)  # dm-pix leaves the range
    if recipe.crop != 'resize_crop' and image.shape[0] != size:
        image = jax.image.resize(image, (size, size, 3), 'linear')
    return image


def _random_resized_crops(
    keys: chex.PRNGKey, images: chex.Array, size: int, min_scale: float
) -> jax.Array:
    """Cuts square windows of side uniform in [min_scale, 1], and resizes them bilinearly."""
    side = images.shape[1]
    windows, offsets = jax.vmap(lambda key: _random_window(key, side, min_scale))(keys)
    one = lambda window, offset, image: _resized_window(window, offset, image, size)
    # In one batch, XLA on a CPU computes each pixel anew wherever a gather reads it.
    return jax.lax.platform_dependent(
        *(windows, offsets, images),
        cpu=lambda *batch: jax.lax.map(lambda each: one(*each), batch),
        default=jax.vmap(one),
    )


def _random_window(key: chex.PRNGKey, side: int, min_scale: float) -> tuple[jax.Array, jax.Array]:
    key_scale, key_offset = jax.random.split(key)
    window = side * jax.random.uniform(key_scale, (), minval=min_scale, maxval=1.0)
    return window, (side - window) * jax.random.uniform(key_offset, (2,))


def _resized_window(
    window: chex.Array, offset: chex.Array, image: chex.Array, size: int
) -> jax.Array:
    for start in offset:  # rows, then columns as the rows of the transposed image
        image = _sample_rows(image, start, window / size, size).transpose(1, 0, 2)
    return image


def _sample_rows(image: chex.Array, start: chex.Array, step: chex.Array, count: int) -> jax.Array:
    """Samples `count` rows of width `step` from `start` on, bilinearly.

    Equals `jax.image.scale_and_translate(..., 'linear', antialias=False)`; two gathers of whole
    rows are several times faster than its dense weights when each image has its own window.
    """
    last = image.shape[0] - 1
    centres = jnp.clip(start + (jnp.arange(count) + 0.5) * step - 0.5, 0.0, last)
    low = jnp.floor(centres).astype(jnp.int32)
    share = (centres - low)[:, None, None]
    below = jnp.take(image, low, axis=0, mode='clip')
    above = jnp.take(image, low + 1, axis=0, mode='clip')
    return below + (above - below) * share  # stays within 0..1, unlike a weighted sum

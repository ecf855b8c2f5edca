import functools

import dm_pix as pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax.data import augment
from dmsrl_jax.errors import InputError

KEY = jax.random.key(0)


def noise(batch, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, side, side, 3), np.uint8)


def apply(images, *, size=None, key=KEY, positions=None, **fields):
    chosen = augment.recipe('none', **fields)
    positions = jnp.arange(len(images)) if positions is None else positions
    size = size or images.shape[1]
    run = jax.jit(augment.augment, static_argnames=('size', 'recipe'))
    return np.asarray(run(key, images, size=size, recipe=chosen, positions=positions))


class TestRecipes:
    def test_values(self):
        assert augment.names() == ('none', 'release', 'standard')
        assert augment.recipe('none') == augment.Recipe(False, 'none', 1.0, 0.0, 0.0, False)
        assert augment.recipe('release') == augment.Recipe(flip=True, crop='release')
        standard = augment.recipe('standard', contrast=0.4, bgr=True)
        assert standard == augment.Recipe(True, 'resize_crop', 0.8, 0.2, 0.4, True)
        assert hash(standard) == hash(augment.recipe('standard', contrast=0.4, bgr=True))

    @pytest.mark.parametrize(
        ('fields', 'message'),
        [
            ({'name': 'strong'}, "unknown augmentation 'strong'; known: none, release, standard"),
            ({'colour': 1}, "'none' has no option colour; options: flip, crop"),
            ({'crop': 'center'}, "one of none, release, resize_crop, got 'center'"),
            ({'min_scale': 0.0}, r'min_scale must be in \(0, 1\], got 0\.0'),
            ({'min_scale': 1.5}, 'min_scale'),
            ({'brightness': -0.1}, r'brightness must be in 0\.\.1'),
            ({'contrast': 1.1}, r'contrast must be in 0\.\.1'),
        ],
    )
    def test_mistakes(self, fields, message):
        with pytest.raises(InputError, match=message):
            augment.recipe(**({'name': 'none'} | fields))

    def test_stored_size(self):
        release = augment.recipe('release')
        assert augment.stored_size(224, release) == 256
        assert augment.stored_size(48, release) == 55
        assert augment.stored_size(224, augment.recipe('standard')) == 224
        assert augment.stored_size(224, augment.recipe('none')) == 224


class TestNone:
    def test_only_scales_to_the_unit_range(self):
        images = noise(3, 8)
        out = apply(images)
        assert out.dtype == np.float32
        np.testing.assert_array_max_ulp(out, images.astype(np.float32) / np.float32(255), maxulp=1)

    def test_the_ends_of_the_range_are_exact(self):
        images = np.array([0, 255], np.uint8)[:, None, None, None] * np.ones((2, 4, 4, 3), np.uint8)
        np.testing.assert_array_equal(apply(images), images > 0)

    def test_bgr_reverses_the_channels(self):
        images = noise(2, 8)
        np.testing.assert_array_equal(apply(images, bgr=True), apply(images)[..., ::-1])

    def test_resizes_if_needed_and_keeps_a_ramp_a_ramp(self):
        ramp = np.broadcast_to(
            np.arange(16, dtype=np.uint8)[None, None, :, None] * 10, (1, 16, 16, 3)
        )
        out = apply(ramp, size=8)
        assert out.shape == (1, 8, 8, 3)
        # each output pixel covers two of the input: means 5, 25, 45, ... away from the border
        np.testing.assert_allclose(out[0, 4, 1:-1, 0] * 255, np.arange(25, 145, 20), atol=1e-3)


class TestFlip:
    def test_each_image_is_itself_or_its_mirror_half_of_the_time(self):
        images = noise(400, 4)
        plain, out = apply(images), apply(images, flip=True)
        same = (out == plain).all(axis=(1, 2, 3))
        mirrored = (out == plain[:, :, ::-1]).all(axis=(1, 2, 3))
        assert (same ^ mirrored).all()
        assert 160 < mirrored.sum() < 240  # 4 standard deviations

    def test_coins_are_tossed_per_image_and_per_key(self):
        images = np.repeat(noise(1, 4), 64, axis=0)
        one, other = (apply(images, flip=True, key=jax.random.key(seed)) for seed in (1, 2))
        assert len(np.unique(one.reshape(64, -1), axis=0)) == 2
        assert (one != other).any()


class TestReleaseCrop:
    @staticmethod
    def find(window, image):
        size, side = window.shape[0], image.shape[0]
        return [
            (y, x)
            for y in range(side - size + 1)
            for x in range(side - size + 1)
            if (image[y : y + size, x : x + size] == window).all()
        ]

    def test_exact_windows_at_all_offsets(self):
        images = noise(200, 8)
        plain, out = apply(images), apply(images, crop='release', size=6)
        found = [self.find(window, image) for window, image in zip(out, plain, strict=True)]
        assert all(len(places) == 1 for places in found)
        assert {place for places in found for place in places} == {
            (y, x) for y in range(3) for x in range(3)
        }

    def test_whole_recipe_is_a_window_of_the_image_or_its_mirror(self):
        images = noise(24, 9)
        chosen = augment.recipe('release', bgr=True)
        out = augment.augment(KEY, images, size=8, recipe=chosen, positions=jnp.arange(24))
        plain = apply(images)
        straight = mirrored = 0
        for window, image in zip(np.asarray(out)[..., ::-1], plain, strict=True):
            straight += len(self.find(window, image))
            mirrored += len(self.find(window, image[:, ::-1]))
        assert straight + mirrored == 24
        assert straight > 4
        assert mirrored > 4

    def test_image_of_the_final_size_is_left_alone(self):
        images = noise(2, 8)
        np.testing.assert_array_equal(apply(images, crop='release'), apply(images))

    def test_too_small_an_image(self):
        with pytest.raises(InputError, match=r'have side 47; decode them at 55'):
            apply(noise(1, 47), crop='release', size=48)


class TestResizeCrop:
    def test_scale_one_is_the_identity(self):
        images = noise(3, 9)
        out = apply(images, crop='resize_crop', min_scale=1.0)
        np.testing.assert_allclose(out, apply(images), atol=1e-6)

    def test_a_plane_stays_a_plane_within_the_drawn_window(self):
        # value = column / 31: of the crop, the slope tells the scale and the mean the offset
        ramp = np.broadcast_to(
            (np.arange(32) * 8).astype(np.uint8)[None, None, :, None], (200, 32, 32, 3)
        )
        out = apply(ramp, crop='resize_crop', min_scale=0.5)[:, 0, :, 0] * 255 / 8
        slopes = (out[:, 20] - out[:, 12]) / 8
        assert slopes.min() >= 0.5 - 1e-4
        assert slopes.max() <= 1 + 1e-4
        assert slopes.min() < 0.55
        assert slopes.max() > 0.95
        np.testing.assert_allclose(slopes.mean(), 0.75, atol=0.05)
        starts = out[:, 12] - 12.5 * slopes + 0.5
        assert starts.min() > -1e-2
        assert (starts + 32 * slopes).max() < 32 + 1e-2
        assert (np.diff(out, axis=1) >= -1e-4).all()

    @pytest.mark.parametrize(('side', 'size'), [(12, 12), (12, 20), (20, 12)])
    def test_equals_scale_and_translate(self, side, size):
        image = jnp.asarray(noise(1, side)[0] / 255.0, jnp.float32)

        def dense(key, image):
            key_scale, key_offset = jax.random.split(key)
            window = side * jax.random.uniform(key_scale, (), minval=0.6, maxval=1.0)
            offset = (side - window) * jax.random.uniform(key_offset, (2,))
            zoom = jnp.stack([size / window] * 2)
            return jax.image.scale_and_translate(
                image, (size, size, 3), (0, 1), zoom, -offset * zoom, 'linear', antialias=False
            )

        crop = jax.jit(
            lambda key, image: augment._random_resized_crops(key[None], image[None], size, 0.6)[0]
        )
        np.testing.assert_allclose(crop(KEY, image), jax.jit(dense)(KEY, image), atol=2e-5)


class TestBrightnessAndContrast:
    def test_brightness_shifts_each_image_within_bounds(self):
        images = np.full((200, 4, 4, 3), 128, np.uint8)
        out = apply(images, brightness=0.2)
        shifts = out[:, 0, 0, 0] - 128 / 255
        np.testing.assert_allclose(out, np.broadcast_to(out[:, :1, :1, :1], out.shape), atol=1e-7)
        assert np.abs(shifts).max() <= 0.2 + 1e-6
        assert shifts.min() < -0.15
        assert shifts.max() > 0.15

    def test_contrast_scales_around_the_mean_within_bounds(self):
        images = np.full((200, 2, 2, 3), 100, np.uint8)
        images[:, 0] = 140
        out = apply(images, contrast=0.5)
        np.testing.assert_allclose(out.mean(axis=(1, 2, 3)), 120 / 255, atol=1e-6)
        factors = (out[:, 0, 0, 0] - out[:, 1, 0, 0]) / (40 / 255)
        assert factors.min() >= 0.5 - 1e-5
        assert factors.max() <= 1.5 + 1e-5
        assert np.ptp(factors) > 0.9

    def test_result_stays_in_the_unit_range(self):
        fields = {'crop': 'resize_crop', 'min_scale': 0.5}
        out = apply(noise(32, 6), brightness=1.0, contrast=1.0, **fields)
        assert out.min() == 0.0
        assert out.max() == 1.0

    def test_same_numbers_as_dm_pix(self):
        images = noise(3, 6)
        out = apply(images, brightness=0.3, contrast=0.3)
        for position, image in enumerate(apply(images)):
            keys = jax.random.split(jax.random.fold_in(KEY, position), 4)
            wanted = pix.random_brightness(keys[2], image, 0.3)
            wanted = jnp.clip(pix.random_contrast(keys[3], wanted, 0.7, 1.3), 0, 1)
            np.testing.assert_allclose(out[position], wanted, atol=1e-6)


class TestBatch:
    @pytest.mark.parametrize(('name', 'side'), [('none', 8), ('release', 10), ('standard', 8)])
    def test_whole_batch_equals_its_quarters(self, name, side):
        images, positions = noise(16, side), jnp.arange(16, dtype=jnp.int32)
        run = functools.partial(augment.augment, KEY, size=8, recipe=augment.recipe(name))
        run = jax.jit(run)
        whole = run(images, positions=positions)
        quarters = [run(images[i : i + 4], positions=positions[i : i + 4]) for i in range(0, 16, 4)]
        assert whole.shape == (16, 8, 8, 3)
        np.testing.assert_allclose(whole, np.concatenate(quarters), atol=1e-6)

    @pytest.mark.parametrize(('name', 'side'), [('none', 8), ('release', 10), ('standard', 8)])
    def test_jit_equals_eager(self, name, side):
        images, positions = noise(4, side), jnp.arange(4)
        run = functools.partial(augment.augment, size=8, recipe=augment.recipe(name))
        eager = run(KEY, images, positions=positions)
        np.testing.assert_allclose(jax.jit(run)(KEY, images, positions=positions), eager, atol=1e-6)

    def test_same_key_same_images_and_position_decides(self):
        images = np.repeat(noise(1, 8), 4, axis=0)
        fields = {'crop': 'resize_crop', 'min_scale': 0.5}
        first = apply(images, positions=jnp.asarray([0, 1, 2, 1]), **fields)
        np.testing.assert_array_equal(first[1], first[3])
        assert (first[0] != first[1]).any()
        np.testing.assert_array_equal(
            first, apply(images, positions=jnp.asarray([0, 1, 2, 1]), **fields)
        )

    def test_on_four_devices_as_on_one(self):
        mesh = jax.make_mesh((4,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
        shards = jax.sharding.PartitionSpec('data')
        run = functools.partial(augment.augment, size=8, recipe=augment.recipe('standard'))
        images, positions = noise(8, 8), jnp.arange(8)
        mapped = jax.shard_map(
            lambda images, positions: run(KEY, images, positions=positions),
            mesh=mesh,
            in_specs=(shards, shards),
            out_specs=shards,
        )
        np.testing.assert_allclose(
            jax.jit(mapped)(images, positions), run(KEY, images, positions=positions), atol=1e-6
        )

    @pytest.mark.parametrize('dtype', [np.float32, np.int32])
    def test_images_must_be_uint8(self, dtype):
        with pytest.raises(TypeError, match=f'takes uint8 images 0..255, got {np.dtype(dtype)}'):
            apply(noise(1, 4).astype(dtype))

    def test_positions_must_be_integers_one_per_image(self):
        with pytest.raises(TypeError, match='integer positions, got float32'):
            apply(noise(2, 4), positions=jnp.zeros(2))
        with pytest.raises(AssertionError, match='shape'):
            apply(noise(2, 4), positions=jnp.arange(3))


def moments(images):
    mean = images.mean(axis=(1, 2), keepdims=True)
    return mean, np.sqrt(np.square(images - mean).mean(axis=(1, 2, 3), keepdims=True))


class TestMatch:
    def soft(self, batch, side, seed, low, high):
        return np.random.default_rng(seed).uniform(low, high, (batch, side, side, 3)).astype('f4')

    def matched(self, images, references, share=1.0, positions=None, key=KEY):
        positions = np.arange(len(images)) if positions is None else positions
        found = augment.match(key, images, references, share=share, positions=positions)
        return np.asarray(found)

    def test_light_of_the_reference_and_content_of_the_image(self):
        images = self.soft(4, 8, 0, 0.2, 0.8)
        references = self.soft(4, 6, 1, 0.4, 0.6) * np.float32([1.0, 0.9, 0.8])
        found = self.matched(images, references)
        for one, other in zip(moments(found), moments(references), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3)
        mean, deviation = moments(images)
        still = (found - moments(found)[0]) / moments(found)[1]
        np.testing.assert_allclose(still, (images - mean) / deviation, atol=1e-3)

    def test_its_own_light_changes_nothing(self):
        images = self.soft(4, 8, 0, 0.0, 1.0)
        np.testing.assert_allclose(self.matched(images, images), images, atol=1e-6)

    def test_stays_in_the_unit_range(self):
        found = self.matched(self.soft(4, 8, 0, 0.0, 1.0) ** 8, self.soft(4, 8, 1, 0.0, 1.0))
        assert found.min() >= 0.0
        assert found.max() == 1.0  # cut there

    def test_an_image_of_one_colour(self):
        flat, soft = np.full((1, 4, 4, 3), 0.25, np.float32), self.soft(1, 4, 0, 0.3, 0.9)
        mean = np.broadcast_to(moments(soft)[0], flat.shape)
        np.testing.assert_allclose(self.matched(flat, soft), mean, rtol=1e-5)
        np.testing.assert_allclose(self.matched(soft, flat), flat, atol=0.003)

    def test_each_image_with_the_probability_by_its_position(self):
        images, references = self.soft(400, 2, 0, 0.2, 0.4), self.soft(400, 2, 1, 0.6, 0.8)
        found = self.matched(images, references, share=0.25)
        changed = found.mean(axis=(1, 2, 3)) > 0.5
        assert 70 < changed.sum() < 130
        np.testing.assert_array_equal(found[~changed], images[~changed])
        part = self.matched(images[8:12], references[8:12], 0.25, np.arange(8, 12))
        np.testing.assert_allclose(part, found[8:12], rtol=1e-6)
        other = self.matched(images, references, 0.25, key=jax.random.key(1))
        assert ((other.mean(axis=(1, 2, 3)) > 0.5) != changed).any()
        np.testing.assert_array_equal(self.matched(images, references, share=0.0), images)

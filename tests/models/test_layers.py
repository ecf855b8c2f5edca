"""Layers against NumPy: batch statistics, running averages, dropout masks, padding, devices."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

from dmsrl_jax.errors import InputError
from dmsrl_jax.models import layers, normalization
from dmsrl_jax.models.layers import BatchNorm, Conv, ConvBlock, Dropout, Mode

TRAIN = Mode(train=True)
FUSED = Mode(train=True, domains=2)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(1.5, 2.0, shape).astype(np.float32)


def on_devices(function, count=4):
    """Maps `function(x [2 * b, ...]) -> y [2 * b, ...]` over devices; each holds both domains."""

    def local(x):
        y = function(x.reshape(-1, *x.shape[2:]))
        return y.reshape(2, -1, *y.shape[1:])

    spec = PartitionSpec(None, 'data')
    mesh = Mesh(np.array(jax.devices()[:count]), ('data',))
    mapped = jax.jit(
        jax.shard_map(local, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    )

    def run(x):
        y = mapped(x.reshape(2, -1, *x.shape[1:]))
        return y.reshape(-1, *y.shape[2:])

    return run


@partial(jax.jit, static_argnums=(0, 3))
def train_norm(norm, variables, x, mode):
    y, updated = norm.apply(variables, x, mode, mutable=['batch_stats'])
    return y, {**variables, **updated}


class TestBatchNorm:
    def test_starts_as_the_identity_with_unit_running_statistics(self):
        norm = BatchNorm()
        variables = norm.init(jax.random.key(0), normal(0, 2, 3, 3, 4), Mode())
        np.testing.assert_array_equal(variables['batch_stats']['mean'], np.zeros(4))
        np.testing.assert_array_equal(variables['batch_stats']['var'], np.ones(4))
        x = normal(1, 2, 3, 3, 4)
        np.testing.assert_allclose(norm.apply(variables, x, Mode()), x / np.sqrt(1 + 1e-5), 1e-6)

    def test_training_matches_numpy_and_keeps_the_unbiased_variance(self):
        x = normal(0, 4, 3, 2, 5)
        scale, bias = normal(1, 5), normal(2, 5)
        norm = BatchNorm()
        variables = norm.init(jax.random.key(0), x, Mode())
        variables = {**variables, 'params': {'scale': scale, 'bias': bias}}
        y, variables = train_norm(norm, variables, x, TRAIN)
        flat = x.reshape(-1, 5).astype(np.float64)
        expected = (flat - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * scale + bias
        np.testing.assert_allclose(y, expected.reshape(x.shape), rtol=1e-4, atol=1e-5)
        stats = variables['batch_stats']
        np.testing.assert_allclose(stats['mean'], 0.1 * flat.mean(0), rtol=1e-5)
        np.testing.assert_allclose(stats['var'], 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)

    def test_evaluation_uses_the_running_statistics(self):
        x = normal(0, 3, 2, 2, 2)
        variables = {
            'params': {'scale': np.float32([2, 3]), 'bias': np.float32([-1, 0.5])},
            'batch_stats': {'mean': np.float32([1, 2]), 'var': np.float32([4, 9])},
        }
        expected = (x - [1, 2]) / np.sqrt([4 + 1e-5, 9 + 1e-5]) * [2, 3] + [-1, 0.5]
        y = BatchNorm().apply(variables, x, Mode(domains=2))
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)

    def test_variance_survives_a_large_mean(self):
        x = 1000.0 + normal(0, 64, 2, 2, 3)
        moments, count = normalization.batch_moments(x, 1, None)
        exact = x.astype(np.float64).reshape(-1, 3)
        assert count == 256
        np.testing.assert_allclose(moments.mean[0], exact.mean(0), rtol=1e-6)
        np.testing.assert_allclose(moments.var[0], exact.var(0), rtol=1e-4)

    @pytest.mark.parametrize('statistics', ['shared', 'per_domain'])
    def test_fused_pass_equals_two_passes(self, statistics):
        x_s, x_t = normal(0, 4, 3, 3, 6), 3.0 * normal(1, 4, 3, 3, 6)
        norm = BatchNorm(statistics=statistics)
        start = norm.init(jax.random.key(0), x_s, Mode())
        fused, after = train_norm(norm, start, np.concatenate([x_s, x_t]), FUSED)
        y_s, middle = train_norm(norm, start, x_s, Mode(True, domain=0))
        y_t, last = train_norm(norm, middle, x_t, Mode(True, domain=1))
        np.testing.assert_allclose(fused, np.concatenate([y_s, y_t]), rtol=1e-6, atol=1e-6)
        for name in ('mean', 'var'):
            np.testing.assert_allclose(
                after['batch_stats'][name], last['batch_stats'][name], rtol=1e-6
            )

    def test_per_domain_rows_and_which_one_evaluation_takes(self):
        x_s, x_t = normal(0, 4, 2, 2, 3), 5.0 + normal(1, 4, 2, 2, 3)
        norm = BatchNorm(statistics='per_domain')
        start = norm.init(jax.random.key(0), x_s, Mode())
        _, variables = train_norm(norm, start, np.concatenate([x_s, x_t]), FUSED)
        means = np.stack([x_s.mean((0, 1, 2)), x_t.mean((0, 1, 2))])
        np.testing.assert_allclose(variables['batch_stats']['mean'], 0.1 * means, rtol=1e-5)
        source, target, default = (
            norm.apply(variables, x_t, Mode(domain=domain)) for domain in (0, 1, None)
        )
        np.testing.assert_array_equal(default, target)
        assert np.abs(source - target).max() > 0.1
        traced = jax.jit(lambda d: norm.apply(variables, x_t, Mode(domain=d)))
        np.testing.assert_allclose(traced(0), source, rtol=1e-6)

    def test_joint_statistics_are_those_of_both_domains(self):
        x = np.concatenate([normal(0, 4, 2, 2, 3), 5.0 + 2.0 * normal(1, 4, 2, 2, 3)])
        norm = BatchNorm(statistics='joint')
        start = norm.init(jax.random.key(0), x, Mode())
        y, variables = train_norm(norm, start, x, FUSED)
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variables['batch_stats']['mean'], 0.1 * mean, rtol=1e-5)
        unbiased = var * 32 / 31  # of 8 images of 2x2
        np.testing.assert_allclose(variables['batch_stats']['var'], 0.9 + 0.1 * unbiased, rtol=1e-5)
        y_source, y_target = (norm.apply(variables, x, Mode(domain=domain)) for domain in (0, 1))
        np.testing.assert_array_equal(y_source, y_target)

    def test_joint_gradients_are_those_of_one_domain(self):
        x = np.concatenate([normal(0, 4, 2, 2, 3), 5.0 + 2.0 * normal(1, 4, 2, 2, 3)])
        weight = normal(2, *x.shape)

        def gradient(kind, mode):
            norm = BatchNorm(statistics=kind)
            start = norm.init(jax.random.key(0), x, Mode())
            return jax.grad(lambda x: (train_norm(norm, start, x, mode)[0] * weight).sum())(x)

        joint, alone = gradient('joint', FUSED), gradient('shared', TRAIN)
        np.testing.assert_allclose(joint, alone, rtol=1e-4, atol=1e-5)

    def test_joint_statistics_of_one_domain_alone_are_the_shared_ones(self):
        x = normal(0, 4, 2, 2, 3)
        start = BatchNorm().init(jax.random.key(0), x, Mode())
        joint, shared = (
            train_norm(BatchNorm(statistics=kind), start, x, TRAIN) for kind in ('joint', 'shared')
        )
        jax.tree.map(np.testing.assert_array_equal, joint, shared)

    def test_one_domain_alone_feeds_both_rows(self):
        x = normal(0, 4, 2, 2, 3)
        norm = BatchNorm(statistics='per_domain')
        _, variables = train_norm(norm, norm.init(jax.random.key(0), x, Mode()), x, TRAIN)
        mean = variables['batch_stats']['mean']
        np.testing.assert_array_equal(mean[0], mean[1])
        np.testing.assert_allclose(mean[0], 0.1 * x.mean((0, 1, 2)), rtol=1e-5)

    @pytest.mark.parametrize(
        ('mode', 'kind'), [(TRAIN, 'shared'), (FUSED, 'shared'), (FUSED, 'joint')]
    )
    def test_gradient_matches_finite_differences(self, mode, kind):
        x, weight = normal(0, 4, 2, 1, 2), normal(1, 4, 2, 1, 2)
        x[2:] += 3.0
        norm = BatchNorm(statistics=kind)
        variables = norm.init(jax.random.key(0), x, Mode())
        loss = lambda x: (train_norm(norm, variables, x, mode)[0] * weight).sum()
        check_grads(loss, (x,), order=1, modes=['rev'], eps=1e-2, atol=0.02, rtol=0.02)

    @pytest.mark.parametrize('kind', ['shared', 'joint'])
    def test_synchronised_over_devices_equals_one_device(self, kind):
        x = normal(0, 16, 2, 2, 3)
        alone, devices = BatchNorm(statistics=kind), BatchNorm(axis_name='data', statistics=kind)
        variables = devices.init(jax.random.key(0), x, FUSED)

        def statistics(norm, x):
            stats = train_norm(norm, variables, x, FUSED)[1]['batch_stats']
            return jnp.broadcast_to(jnp.stack([stats['mean'], stats['var']])[None], (2, 2, 3))

        y, _ = train_norm(alone, variables, x, FUSED)
        mapped = on_devices(lambda x: train_norm(devices, variables, x, FUSED)[0])
        np.testing.assert_allclose(mapped(x), y, rtol=1e-5, atol=1e-5)
        rows = np.asarray(on_devices(lambda x: statistics(devices, x))(x)).reshape(2, 4, 2, 3)
        expected = np.asarray(statistics(alone, x))[0]
        np.testing.assert_allclose(rows, np.broadcast_to(expected, rows.shape), rtol=1e-5)

    def test_without_axis_name_devices_differ(self):
        x = normal(0, 16, 2, 2, 3)
        norm = BatchNorm()
        variables = norm.init(jax.random.key(0), x, FUSED)
        train = lambda x: train_norm(norm, variables, x, FUSED)[0]
        assert np.abs(on_devices(train)(x) - train(x)).max() > 0.05

    def test_bfloat16_input_keeps_float32_statistics(self):
        x = jnp.asarray(normal(0, 4, 3, 3, 2), jnp.bfloat16)
        norm = BatchNorm(dtype=jnp.bfloat16)
        y, variables = train_norm(norm, norm.init(jax.random.key(0), x, Mode()), x, TRAIN)
        assert y.dtype == jnp.bfloat16
        exact = np.asarray(x, np.float32).reshape(-1, 2)
        np.testing.assert_allclose(variables['batch_stats']['mean'], 0.1 * exact.mean(0), rtol=1e-5)

    def test_one_value_per_channel_is_refused(self):
        with pytest.raises(InputError, match='more than one value per channel'):
            normalization.batch_moments(jnp.ones((2, 1, 1, 3)), 2, None)


class TestDropout:
    def apply(self, x, key, mode=TRAIN, **options):
        return Dropout(**options).apply({}, x, mode, rngs={'dropout': key})

    def test_identity_in_evaluation_and_at_rate_zero(self):
        x = normal(0, 3, 4)
        np.testing.assert_array_equal(Dropout().apply({}, x, Mode()), x)
        np.testing.assert_array_equal(Dropout(0.0).apply({}, x, TRAIN), x)

    @pytest.mark.parametrize('rate', [0.1, 0.5, 0.8])
    def test_rate_and_scale(self, rate):
        y = np.asarray(self.apply(jnp.ones((64, 512)), jax.random.key(0), rate=rate))
        kept = y != 0
        # four standard deviations of a share of 32,768 draws
        assert abs(kept.mean() - (1 - rate)) < 4 * np.sqrt(rate * (1 - rate) / y.size)
        np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
        assert len(np.unique(kept, axis=0)) == 64

    def test_one_device_and_four_drop_the_same_units(self):
        x, key = jnp.ones((16, 32)), jax.random.key(3)
        alone = self.apply(x, key, FUSED)
        mapped = on_devices(lambda x: self.apply(x, key, FUSED, axis_name='data'))(x)
        np.testing.assert_array_equal(mapped, alone)

    def test_the_key_decides(self):
        x = jnp.ones((4, 64))
        first, again, other = (self.apply(x, jax.random.key(seed)) for seed in (0, 0, 1))
        np.testing.assert_array_equal(first, again)
        assert (np.asarray(first) != np.asarray(other)).any()


class TestPositions:
    def test_one_device_counts(self):
        np.testing.assert_array_equal(layers.example_positions(6, 2), np.arange(6))

    def test_devices_share_each_domain(self):
        positions = on_devices(lambda x: layers.example_positions(len(x), 2, 'data'))
        np.testing.assert_array_equal(positions(jnp.zeros((16, 1))), np.arange(16))


class TestConv:
    def test_kernel_is_he_normal_by_fan_out_and_not_truncated(self):
        module = Conv(256)
        kernel = module.init(jax.random.key(0), jnp.zeros((1, 4, 4, 64)))['params']['kernel']
        deviation = np.sqrt(2 / (3 * 3 * 256))
        assert kernel.shape == (3, 3, 64, 256)
        np.testing.assert_allclose(np.std(kernel), deviation, rtol=0.01)
        np.testing.assert_allclose(np.mean(kernel), 0, atol=4 * deviation / np.sqrt(kernel.size))
        assert np.abs(kernel).max() > 3.5 * deviation

    def test_strided_padding_is_symmetric(self):
        x = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1)
        module = Conv(1, strides=2, use_bias=False)
        y = module.apply({'params': {'kernel': np.ones((3, 3, 1, 1), np.float32)}}, x)
        padded = np.pad(x[0, :, :, 0], 1)
        expected = [
            [padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3].sum() for j in range(3)] for i in range(3)
        ]
        np.testing.assert_array_equal(y[0, :, :, 0], expected)

    def test_block_is_convolution_norm_relu(self):
        x = normal(0, 2, 4, 4, 3)
        block = ConvBlock(5)
        variables = block.init(jax.random.key(0), x, Mode())
        y = block.apply(variables, x, Mode())
        plain = Conv(5).apply({'params': variables['params']['conv']}, x)
        np.testing.assert_allclose(
            y, np.maximum(plain, 0) / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-6
        )
        linear = ConvBlock(5, relu=False).apply(variables, x, Mode())
        assert np.asarray(linear).min() < 0 <= np.asarray(y).min()
        trained, straight = (
            ConvBlock(5, relu=relu).apply(variables, x, TRAIN, mutable=['batch_stats'])[0]
            for relu in (True, False)
        )
        np.testing.assert_array_equal(trained, np.maximum(straight, 0))

    def test_a_bias_before_batch_norm_trains_in_evaluation_only(self):
        x = normal(0, 4, 4, 4, 3)
        block = ConvBlock(5)
        variables = block.init(jax.random.key(0), x, Mode())

        def gradient(mode):
            def loss(params):
                both = {**variables, 'params': params}
                return block.apply(both, x, mode, mutable=['batch_stats'])[0].sum()

            return jax.grad(loss)(variables['params'])['conv']['bias']

        np.testing.assert_array_equal(gradient(TRAIN), np.zeros(5))
        assert np.abs(gradient(Mode())).min() > 0.1

    def test_the_bias_moves_the_running_mean(self):
        x = normal(0, 4, 4, 4, 3)
        block = ConvBlock(5)
        variables = block.init(jax.random.key(0), x, Mode())
        kernel = variables['params']['conv']['kernel']
        params = {**variables['params'], 'conv': {'kernel': kernel, 'bias': jnp.full(5, 7.0)}}
        means = [
            block.apply({**variables, 'params': p}, x, TRAIN, mutable=['batch_stats'])[1]
            for p in (variables['params'], params)
        ]
        without, moved = (m['batch_stats']['norm']['mean'] for m in means)
        np.testing.assert_allclose(moved - without, np.full(5, 0.7), rtol=1e-5)


class TestCheckImages:
    @pytest.mark.parametrize(
        ('images', 'mode', 'message'),
        [
            (jnp.zeros((8, 8, 3)), Mode(), r'shape \[B, H, W, 3\], got \[8, 8, 3\]'),
            (jnp.zeros((1, 8, 8, 1)), Mode(), r'got \[1, 8, 8, 1\]'),
            (jnp.zeros((1, 8, 8, 3), jnp.uint8), Mode(), 'got uint8; divide'),
            (jnp.zeros((1, 8, 3, 3)), Mode(), 'of 8x3 pixels are too small.*at least 4x4'),
            (jnp.zeros((3, 8, 8, 3)), FUSED, 'batch of 3 images does not split into 2'),
            (jnp.zeros((3, 8, 8, 3)), Mode(True, 3), 'domains must be 1 or 2, got 3'),
        ],
    )
    def test_refuses(self, images, mode, message):
        with pytest.raises(InputError, match=message):
            layers.check_images(images, mode, 4)

    def test_takes_an_odd_batch_in_evaluation(self):
        assert layers.check_images(jnp.zeros((3, 8, 8, 3)), Mode(domains=2), 4) is None

"""Critics: shapes, initialisation, dropout, and what the statistics network sees."""

import jax
import jax.numpy as jnp
import numpy as np

from dmsrl_jax.models import DomainCritic, StatisticsNetwork

FEATURES = jax.random.normal(jax.random.key(0), (6, 40))


def test_domain_critic_shapes_and_initialisation():
    variables = DomainCritic().init(jax.random.key(1), FEATURES)
    params = variables['params']
    assert params['dense0']['kernel'].shape == (40, 512)
    assert params['dense1']['kernel'].shape == (512, 512)
    assert params['score']['kernel'].shape == (512, 1)
    np.testing.assert_allclose(np.std(params['dense1']['kernel']), np.sqrt(2 / 1024), rtol=0.01)
    assert all(not np.any(layer['bias']) for layer in params.values())
    assert DomainCritic().apply(variables, FEATURES).shape == (6,)


def test_domain_critic_matches_numpy():
    critic = DomainCritic(hidden=8)
    variables = critic.init(jax.random.key(1), FEATURES)
    x = np.asarray(FEATURES)
    for name in ('dense0', 'dense1'):
        x = np.maximum(x @ np.asarray(variables['params'][name]['kernel']), 0)
    expected = (x @ np.asarray(variables['params']['score']['kernel']))[:, 0]
    np.testing.assert_allclose(critic.apply(variables, FEATURES), expected, rtol=1e-4, atol=1e-5)


def test_domain_critic_drops_in_training_only():
    critic = DomainCritic(hidden=32)
    variables = critic.init(jax.random.key(1), FEATURES)
    train = lambda seed: critic.apply(
        variables, FEATURES, train=True, rngs={'dropout': jax.random.key(seed)}
    )
    np.testing.assert_array_equal(train(0), train(0))
    assert np.abs(train(0) - train(1)).max() > 1e-3
    calm = DomainCritic(hidden=32, dropout=0.0)
    np.testing.assert_array_equal(
        calm.apply(variables, FEATURES, train=True), critic.apply(variables, FEATURES)
    )


def test_domain_critic_drops_half_of_each_hidden_layer():
    critic = DomainCritic(hidden=400)
    variables = critic.init(jax.random.key(1), FEATURES)
    rngs = {'dropout': jax.random.key(2)}
    _, seen = critic.apply(variables, FEATURES, train=True, rngs=rngs, capture_intermediates=True)
    for i in range(2):
        dense, dropped = (
            seen['intermediates'][f'{name}{i}']['__call__'][0] for name in ('dense', 'dropout')
        )
        kept = np.asarray(dropped / dense)[np.asarray(dense) > 0]
        np.testing.assert_allclose(kept[kept > 0], 2, rtol=1e-5)
        assert 0.45 < (kept > 0).mean() < 0.55


def test_statistics_network_reads_feature_and_domain():
    network = StatisticsNetwork(hidden=16)
    source, target = (jnp.tile(jnp.eye(2)[d][None], (6, 1)) for d in (0, 1))
    variables = network.init(jax.random.key(1), FEATURES, source)
    params = variables['params']
    assert params['dense0']['kernel'].shape == (42, 16)
    scores = [network.apply(variables, FEATURES, domain) for domain in (source, target)]
    assert scores[0].shape == (6,)
    assert np.abs(scores[0] - scores[1]).min() > 0
    # the last two rows of the first kernel are the domain's
    x = np.asarray(FEATURES) @ np.asarray(params['dense0']['kernel'][:40])
    x = np.maximum(x + np.asarray(params['dense0']['kernel'][41:]), 0)
    x = np.maximum(x @ np.asarray(params['dense1']['kernel']), 0)
    expected = (x @ np.asarray(params['score']['kernel']))[:, 0]
    np.testing.assert_allclose(scores[1], expected, rtol=1e-4, atol=1e-5)


def test_parameters_stay_float32_for_bfloat16_features():
    variables = StatisticsNetwork(hidden=4).init(
        jax.random.key(1), FEATURES.astype(jnp.bfloat16), jnp.ones((6, 2))
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype('float32')}

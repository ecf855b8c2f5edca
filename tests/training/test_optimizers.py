"""PyTorch's SGD as a loop in NumPy, and one optimiser per parameter group."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import optimizers

SETTINGS = {'learning_rate': 0.1, 'momentum': 0.0, 'nesterov': False, 'weight_decay': 0.0}
LENGTH = {'total_steps': 100, 'steps_per_epoch': 10}


def torch_sgd(p, gradients, *, rate, momentum, nesterov, decay):
    """torch.optim.SGD, dampening 0, written out."""
    buffer = None
    for g in gradients:
        g = g + decay * p
        if momentum:
            buffer = g if buffer is None else momentum * buffer + g
            g = g + momentum * buffer if nesterov else buffer
        p = p - rate * g
    return p


def after(tx, p, gradients):
    state = tx.init(p)
    for g in gradients:
        updates, state = tx.update(jnp.asarray(g), state, p)
        p = optax.apply_updates(p, updates)
    return p


@pytest.mark.parametrize('nesterov', [True, False])
@pytest.mark.parametrize(('momentum', 'decay'), [(0.9, 5e-2), (0.9, 0.0), (0.0, 5e-2)])
def test_sgd_is_pytorchs(nesterov, momentum, decay):
    rng = np.random.default_rng(0)
    p = rng.normal(size=5).astype(np.float32)
    gradients = rng.normal(size=(6, 5)).astype(np.float32)
    tx = optimizers.sgd(0.1, momentum=momentum, nesterov=nesterov, weight_decay=decay)
    expected = torch_sgd(p, gradients, rate=0.1, momentum=momentum, nesterov=nesterov, decay=decay)
    np.testing.assert_allclose(after(tx, jnp.asarray(p), gradients), expected, rtol=1e-5, atol=1e-6)


def test_sgd_by_hand():
    # g1 = 1 + 0.5 * 2 = 2, buf = 2, p = 2 - 0.1 * (2 + 0.9 * 2) = 1.62
    # g2 = 1 + 0.5 * 1.62 = 1.81, buf = 1.8 + 1.81 = 3.61, p = 1.62 - 0.1 * (1.81 + 3.249)
    tx = optimizers.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=0.5)
    assert float(after(tx, jnp.asarray(2.0), [1.0])) == pytest.approx(1.62)
    assert float(after(tx, jnp.asarray(2.0), [1.0, 1.0])) == pytest.approx(1.1141)


def test_a_changing_rate_counts_updates():
    tx = optimizers.sgd(lambda n: 1.0 / (n + 1), momentum=0.0, nesterov=False, weight_decay=0.0)
    assert float(after(tx, jnp.asarray(0.0), [1.0, 1.0, 1.0])) == pytest.approx(
        -(1 + 1 / 2 + 1 / 3)
    )


def step_of(settings, group, p=1.0, g=1.0):
    """The first step of a group's optimiser: p = 1, gradient 1."""
    tx = optimizers.create(settings, [group], **LENGTH)[group]
    updates, _ = tx.update(jnp.asarray(g), tx.init(jnp.asarray(p)), jnp.asarray(p))
    return float(updates)


def test_each_group_has_its_own_settings():
    groups = {
        'head': {'multiplier': 10.0},
        'centers': {'learning_rate': 1.0, 'weight_decay': 0.5},
        'critic': {'name': 'adamw', 'learning_rate': 0.25},
    }
    settings = {**SETTINGS, 'groups': groups}
    assert step_of(settings, 'backbone') == pytest.approx(-0.1)
    assert step_of(settings, 'head') == pytest.approx(-1.0)
    assert step_of(settings, 'centers') == pytest.approx(-1.5)
    assert step_of(settings, 'critic') == pytest.approx(-0.25, rel=1e-4)  # Adam's step is the rate
    made = optimizers.create(settings, ['backbone', 'critic'], **LENGTH)
    assert sorted(made) == ['backbone', 'critic']


def test_adamw_decays_beside_the_gradient():
    settings = {**SETTINGS, 'name': 'adamw', 'weight_decay': 1.0}
    # Adam's first step is the sign of the gradient; 1 * p = 2 joins it, times the rate.
    assert step_of(settings, 'head', p=2.0) == pytest.approx(-0.1 * (1 + 2), rel=1e-4)


def test_settings_are_not_changed():
    settings = {**SETTINGS, 'groups': {'head': {'multiplier': 10.0}}}
    for _ in range(2):
        assert step_of(settings, 'head') == pytest.approx(-1.0)


def test_the_schedule_counts_epochs_in_steps():
    settings = {**SETTINGS, 'schedule': 'step', 'decay_epochs': 2, 'decay': 0.5}
    tx = optimizers.create(settings, ['head'], total_steps=100, steps_per_epoch=2)['head']
    p, state, steps = jnp.asarray(0.0), tx.init(jnp.asarray(0.0)), []
    for _ in range(9):
        updates, state = tx.update(jnp.asarray(1.0), state, p)
        steps.append(-float(updates))
    np.testing.assert_allclose(steps, [0.1] * 4 + [0.05] * 4 + [0.025], rtol=1e-6)


def test_what_a_method_adds_begins_with_adaptation():
    settings = {**SETTINGS, 'schedule': 'cosine', 'adaptation': 0.5}
    made = optimizers.create(
        settings, ['head', 'critic'], total_steps=100, source_steps=60, steps_per_epoch=2
    )
    zero = jnp.asarray(0.0)
    states = {group: tx.init(zero) for group, tx in made.items()}
    rates = {group: [] for group in made}
    for number in range(100):
        for group, tx in made.items():
            if group == 'head' or number >= 60:  # the others are not trained before
                updates, states[group] = tx.update(jnp.asarray(1.0), states[group], zero)
                rates[group].append(-float(updates))
    np.testing.assert_allclose(rates['head'][30], 0.05, rtol=1e-5)
    np.testing.assert_allclose(rates['critic'], rates['head'][60:], rtol=1e-6)
    np.testing.assert_allclose([rates['critic'][n] for n in (0, 20)], [0.05, 0.025], rtol=1e-5)


def test_a_group_of_several_phases_keeps_the_pace_of_the_run():
    settings = {**SETTINGS, 'schedule': 'cosine'}
    lengths = {'total_steps': 10, 'source_steps': 4, 'steps_per_epoch': 2}
    groups = ['head', 'critic']
    once = optimizers.create(settings, groups, **lengths)
    thrice = optimizers.create(settings, groups, **lengths, updates={'head': 3, 'critic': 1})

    def rates(tx, updates):
        state, found, zero = tx.init(jnp.asarray(0.0)), [], jnp.asarray(0.0)
        for _ in range(updates):
            update, state = tx.update(jnp.asarray(1.0), state, zero)
            found.append(-float(update))
        return found

    expected = rates(once['head'], 10)
    expected = expected[:4] + [rate for rate in expected[4:] for _ in range(3)]
    np.testing.assert_allclose(rates(thrice['head'], 22), expected, rtol=1e-6)
    np.testing.assert_allclose(rates(thrice['critic'], 6), rates(once['critic'], 6), rtol=1e-6)


def test_clipping_comes_before_momentum_and_decay():
    settings = {**SETTINGS, 'clip_norm': 0.5, 'weight_decay': 1.0}
    assert step_of(settings, 'head', g=100.0) == pytest.approx(-0.1 * (0.5 + 1.0))


def test_defaults_are_the_releases():
    expected = torch_sgd(
        np.ones(1), [np.ones(1)] * 3, rate=0.01, momentum=0.9, nesterov=True, decay=5e-4
    )
    tx = optimizers.create({}, ['backbone'], **LENGTH)['backbone']
    np.testing.assert_allclose(after(tx, jnp.ones(1), [np.ones(1)] * 3), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'rate': 1}, "group 'head' have unknown fields rate; known: name, learning_rate"),
        ({'groups': {'head': {'momentun': 1}}}, "group 'head' have unknown fields momentun"),
        ({'name': 'lion'}, "unknown optimizer 'lion'; there are: sgd, adamw"),
        ({'schedule': 'poly'}, "unknown learning-rate schedule 'poly'"),
        ({'learning_rate': -1.0}, r"optimizer.learning_rate of group 'head' must be at least 0"),
        ({'learning_rate': float('nan')}, 'learning_rate .* must be at least 0, got nan'),
        ({'decay': 0.0}, 'optimizer.decay of .* must be positive, got 0.0'),
        ({'adaptation': -0.5}, 'optimizer.adaptation .* must be positive'),
        ({'momentum': 1.0}, r'optimizer.momentum of .* must be in \[0, 1\), got 1.0'),
        ({'weight_decay': float('inf')}, 'optimizer.weight_decay .* must be at least 0, got inf'),
        ({'warmup_steps': -1}, 'optimizer.warmup_steps .* must be at least 0, got -1'),
        ({'clip_norm': -1.0}, 'optimizer.clip_norm .* must be at least 0'),
        ({'groups': {'head': {'multiplier': -1.0}}}, 'groups.head.multiplier must be at least 0'),
    ],
)
def test_mistakes(settings, message):
    with pytest.raises(InputError, match=message):
        optimizers.create(settings, ['head'], **LENGTH)


def test_state_is_a_pytree_of_the_parameters_shape():
    tx = optimizers.create({}, ['head'], **LENGTH)['head']
    shapes = [x.shape for x in jax.tree.leaves(tx.init({'w': jnp.ones((2, 3))})) if x.ndim]
    assert shapes == [(2, 3)]

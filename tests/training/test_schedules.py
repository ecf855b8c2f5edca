"""Ramp and learning rates at known points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax.errors import InputError
from dmsrl_jax.training import schedules


@pytest.mark.parametrize(
    ('p', 'value'),
    [
        (0.0, 0.0),
        (0.1, 0.46211716),
        (0.5, 0.98661430),
        (1.0, 0.99990920),
        (-1.0, 0.0),
        (1.5, 0.99999939),
    ],
)
def test_ramp_golden(p, value):
    assert float(schedules.ramp(p)) == pytest.approx(value, abs=1e-7)


def test_ramp_is_the_formula_of_the_paper():
    p = np.linspace(0, 1, 21)
    for gamma in (1.0, 10.0):
        expected = 2 / (1 + np.exp(-gamma * p)) - 1
        np.testing.assert_allclose(schedules.ramp(p, gamma), expected, atol=2e-7)


def test_ramp_is_exactly_zero_at_the_start_and_rises():
    values = np.asarray(schedules.ramp(jnp.linspace(0, 1, 50)))
    assert values[0] == 0
    assert (np.diff(values) >= 0).all()
    assert float(jax.grad(schedules.ramp)(0.01)) == pytest.approx(
        5 * (1 - np.tanh(0.05) ** 2), rel=1e-5
    )


def at(name, n, **options):
    return float(schedules.learning_rate(name, 0.2, total_steps=100, **options)(jnp.asarray(n)))


@pytest.mark.parametrize(
    ('name', 'options', 'values'),
    [
        ('constant', {}, {0: 0.2, 99: 0.2}),
        ('step', {'decay_steps': 30}, {0: 0.2, 29: 0.2, 30: 0.02, 59: 0.02, 60: 0.002}),
        ('step', {'decay_steps': 50, 'decay': 0.5}, {49: 0.2, 50: 0.1}),
        ('cosine', {}, {0: 0.2, 25: 0.1707107, 50: 0.1, 100: 0.0}),
        ('inverse', {}, {0: 0.2, 10: 0.2 * 2**-0.75, 100: 0.2 * 11**-0.75}),
        ('constant', {'warmup': 4}, {0: 0.05, 1: 0.1, 3: 0.2, 4: 0.2, 50: 0.2}),
        ('cosine', {'warmup': 10}, {0: 0.02, 50: 0.1}),
    ],
)
def test_learning_rates_golden(name, options, values):
    for n, value in values.items():
        assert at(name, n, **options) == pytest.approx(value, rel=1e-5, abs=1e-8), n


@pytest.mark.parametrize(
    ('name', 'options', 'values'),
    [
        ('cosine', {}, {0: 0.2, 20: 0.1, 39: 0.00030827, 40: 0.1, 70: 0.05, 100: 0.0}),
        ('constant', {'warmup': 4}, {0: 0.05, 4: 0.2, 39: 0.2, 40: 0.025, 44: 0.1}),
        ('step', {'decay_steps': 30}, {39: 0.02, 40: 0.1, 69: 0.1, 70: 0.01}),
    ],
)
def test_a_schedule_begins_anew_when_adaptation_does(name, options, values):
    for n, value in values.items():
        found = at(name, n, source_steps=40, adaptation=0.5, **options)
        assert found == pytest.approx(value, rel=1e-4, abs=1e-8), n


def test_without_a_part_on_the_source_all_is_adaptation():
    assert at('cosine', 0, adaptation=0.5) == pytest.approx(0.1)
    assert at('cosine', 50, adaptation=0.5) == pytest.approx(0.05)


def test_learning_rates_work_under_jit():
    for name in schedules.RATES:
        rate = schedules.learning_rate(name, 0.2, total_steps=100, decay_steps=7, warmup=3)
        traced = jax.jit(rate)(jnp.asarray(40))
        assert float(traced) == pytest.approx(float(rate(40)), rel=1e-5)


def test_mistakes():
    with pytest.raises(InputError, match="'linear'; there are: constant, step, cosine, inverse"):
        at('linear', 0)
    with pytest.raises(InputError, match='needs decay_steps >= 1'):
        at('step', 0)

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import losses
from dmsrl_jax.errors import InputError
from experiments import mutual_information as experiment


@pytest.mark.parametrize(('information', 'rho'), [(2, 0.4258), (8, 0.7421)])
def test_gaussians_have_the_correlation_of_their_information(information, rho):
    x, y = experiment.correlated_gaussians(jax.random.key(0), 20000, information)
    assert x.shape == y.shape == (20000, 20)
    np.testing.assert_allclose([float(x.std()), float(y.std())], 1, atol=0.01)
    np.testing.assert_allclose((x * y).mean(axis=0), rho, atol=0.04)
    across = np.asarray(x.T @ y / 20000) - rho * np.eye(20)
    assert np.abs(across).max() < 0.04


def test_domains_are_balanced_and_apart():
    features, domain = experiment.separable_domains(jax.random.key(0), 4000)
    assert float(domain.mean()) == pytest.approx(0.5, abs=0.03)
    assert bool(((features[:, 0] > 4) == (domain == 1)).mean() > 0.999)
    assert float(features[:, 1:].mean()) == pytest.approx(0, abs=0.02)


def test_cases_and_their_answers():
    answers = {case.name: case.answer for case in experiment.cases()}
    assert answers == {
        'independent': 0,
        'Gaussians 2': 2,
        'Gaussians 4': 4,
        'Gaussians 6': 6,
        'Gaussians 8': 8,
        'Gaussians 0.5, one column': 0.5,
        'Gaussians 2, one column': 2,
        'separable domains': math.log(2),
    }


def test_mean_bias_and_deviations_over_seeds(monkeypatch):
    found = iter([1.0, 2.0, 6.0])
    estimate = lambda *_, **__: losses.estimation.MIEstimate(
        jnp.array(next(found)), jnp.zeros(1), jnp.array([0.0, 2.0])
    )
    monkeypatch.setattr(losses, 'estimate_mutual_information', estimate)
    case = experiment.Case('case', 5.0, 1.0, lambda key, n: (jnp.zeros(n), jnp.zeros(n)))
    monkeypatch.setattr(experiment, 'cases', lambda: (case,))
    row = next(experiment.measure(seeds=3, steps=1, samples=4))
    assert (row.mean, row.bias, row.batches) == (3.0, -2.0, 1.0)
    assert row.deviation == pytest.approx(math.sqrt(7))  # of a sample: (4 + 1 + 9) / 2


def test_rows_become_a_table_between_the_markers():
    row = experiment.Row('Gaussians 2', 2.0, 'dv', 1.75, -0.25, 0.01, 0.125)
    table = experiment.render([row], 'made today')
    assert table.splitlines()[-1] == '| Gaussians 2 | 2.000 | dv | 1.750 | -0.250 | 0.010 | 0.125 |'
    page = f'a\n{experiment.BEGIN}\nold\n{experiment.END}\nb\n'
    assert experiment.insert(page, table) == (
        f'a\n{experiment.BEGIN}\n{table}\n{experiment.END}\nb\n'
    )


@pytest.mark.parametrize('page', ['', experiment.BEGIN, experiment.END + experiment.BEGIN])
def test_page_without_markers_is_refused(page):
    with pytest.raises(InputError, match='table: begin'):
        experiment.insert(page, 'table')


def test_page_in_the_docs_has_every_bound_on_every_problem():
    text = experiment.PAGE.read_text()
    table = text.partition(experiment.BEGIN)[2].partition(experiment.END)[0]
    for case in experiment.cases():
        for bound in losses.BOUNDS:
            assert f'| {case.name} | {case.answer:.3f} | {bound} |' in table

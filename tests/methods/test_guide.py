"""The method printed in docs/adding_a_method.md works as printed, in a file of its own."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import methods

GUIDE = pathlib.Path(__file__).parents[2] / 'docs' / 'adding_a_method.md'


@pytest.fixture
def dann(tmp_path, monkeypatch):
    code = re.search(r'```python\n(.*?)```', GUIDE.read_text(), re.S)[1]
    (tmp_path / 'dann.py').write_text(code)
    monkeypatch.setattr(methods, '__path__', [*methods.__path__, str(tmp_path)])
    return methods.create('dann', weight=0.5, hidden=4)


def test_the_file_alone_makes_it_known(dann):
    assert 'dann' in methods.names()
    assert methods.options('dann') == {'weight': 1.0, 'hidden': 512}
    assert dann.phases[0].groups == ('backbone', 'head', 'critic')


def test_its_loss_is_classification_plus_half_the_domain_loss(dann):
    params = dann.init(jax.random.key(0), 3, 7)
    outputs = {
        domain: {'logits': jnp.zeros((2, 7)), 'features': jnp.ones((2, 3))}
        for domain in ('source', 'target')
    }
    context = methods.Context(
        jnp.array([0, 6]), jnp.array(0.5), jnp.array(1), jax.random.key(1), ()
    )
    loss, (metrics, state) = dann.phases[0].loss(params, outputs, context)
    np.testing.assert_allclose(metrics['classification'], np.log(7), rtol=1e-6)
    np.testing.assert_allclose(loss, metrics['classification'] + 0.5 * metrics['domain'], rtol=1e-6)
    assert metrics['domain'] > 0
    assert state == ()

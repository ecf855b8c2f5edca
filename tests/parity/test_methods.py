"""DMSRL's loss and its gradients from the outputs of a network, in the recipes of both sides."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dmsrl_jax import methods
from dmsrl_jax.methods.base import Context, ramp
from experiments.configs import release
from experiments.pytorch_baseline import method as torch_method
from experiments.pytorch_baseline.models import Outputs

B, D, C = 16, 12, 7
DEFAULTS = methods.options('dmsrl')
SHARED = {field for field in torch_method.Recipe.__dataclass_fields__ if field in DEFAULTS}


class Stub(torch.nn.Module):
    """What the baseline's method asks of a network."""

    feature_dim = D


def domains(seed):
    """Logits and features of source, target and the teacher's view of the target."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 2, shape).astype(np.float32)
    return {
        domain: {'logits': draw(B, C), 'features': draw(B, D)}
        for domain in ('source', 'target', 'teacher')
    }


@pytest.mark.parametrize('progress', [0.1, 0.8])
@pytest.mark.parametrize(
    'changes',
    [
        {'threshold': 0.6},
        {'threshold': 0.6, 'centers_follow': False},
        {'threshold': 0.6, 'mutual_information': 'none', 'alignment': 1.0},
        {**release.DMSRL, 'mutual_information': 'none', 'threshold': 0.0},
    ],
    ids=['default', 'centres wait', 'margin alone', 'margin of the release'],
)
def test_loss_and_gradients(changes, progress, flax_layers):
    options = {**DEFAULTS, 'hidden': 8, **changes}
    ours = methods.create('dmsrl', **options)
    params = ours.init(jax.random.key(0), D, C)
    labels = np.arange(B) % C
    outputs = domains(0)

    torch.manual_seed(0)
    recipe = torch_method.Recipe(**{field: options[field] for field in SHARED})
    twin = torch_method.DMSRL(Stub(), recipe)
    with torch.no_grad():
        twin.centers.source.copy_(torch.from_numpy(np.array(params['centers'].source)))
        twin.centers.target.copy_(torch.from_numpy(np.array(params['centers'].target)))
    if options['mutual_information'] == 'mine':
        names = {'layer1': 'dense0', 'layer2': 'dense1', 'layer3': 'score'}
        params['critic'] = flax_layers(twin.critic, names)

    def loss(centers, outputs):
        context = Context(
            labels_s=jnp.asarray(labels),
            progress=jnp.float32(progress),
            step=jnp.asarray(1),
            key=jax.random.key(1),
            state=ours.init_state(C),
        )
        return ours.phases[0].loss({**params, 'centers': centers}, outputs, context)

    (found, (metrics, _)), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        params['centers'], outputs
    )

    leaves = {
        domain: {name: torch.from_numpy(value).requires_grad_() for name, value in parts.items()}
        for domain, parts in outputs.items()
    }
    source, target, teacher = (Outputs(**leaves[domain]) for domain in outputs)
    weight = torch.tensor(float(ramp(progress)))
    expected, terms = twin.combine(
        source,
        torch.from_numpy(labels),
        target,
        weight,
        weight,
        teacher if options['teacher'] else None,
    )
    expected.backward()

    assert float(found) == pytest.approx(expected.item(), rel=1e-5)
    counts = terms['coverage'].item()
    assert float(metrics['coverage']) == counts
    assert counts == 1 if options['pseudo_label'] == 'argmax' else 0 < counts < 1
    same = {'rtol': 1e-4, 'atol': 1e-6}
    np.testing.assert_allclose(gradients[0].source, twin.centers.source.grad, **same)
    np.testing.assert_allclose(gradients[0].target, twin.centers.target.grad, **same)
    for domain in ('source', 'target'):
        wanted = leaves[domain]['features'].grad
        assert wanted.abs().max() > 1e-3
        np.testing.assert_allclose(gradients[1][domain]['features'], wanted, **same)

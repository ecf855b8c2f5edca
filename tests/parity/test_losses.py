"""Each loss against PyTorch's autograd: values and gradients on random inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dmsrl_jax import losses
from dmsrl_jax.models.critics import DomainCritic, StatisticsNetwork
from dmsrl_jax.training import optimizers, schedules
from experiments.pytorch_baseline import critics as torch_critics
from experiments.pytorch_baseline import losses as torch_losses
from experiments.pytorch_baseline import method as torch_method
from experiments.pytorch_baseline import optimisers as torch_optimisers

B, C, D = 12, 7, 16


def close(found, expected, tolerance):
    found, expected = (np.asarray(x, np.float64) for x in (found, expected))
    assert np.linalg.norm(found - expected) <= tolerance * max(np.linalg.norm(expected), 1e-12)


def check(ours, theirs, *inputs):
    """Value to 1e-6 and the gradient of every input to 1e-5."""
    tensors = [torch.from_numpy(x).requires_grad_() for x in inputs]
    expected = theirs(*tensors)
    expected.backward()
    value, gradients = jax.value_and_grad(ours, tuple(range(len(inputs))))(
        *map(jnp.asarray, inputs)
    )
    close(value, expected.detach(), 1e-6)
    for found, tensor in zip(gradients, tensors, strict=True):
        close(found, tensor.grad, 1e-5)


def normal(seed, *shapes, scale=1.0):
    rng = np.random.default_rng(seed)
    return [(scale * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]


def test_cross_entropy():
    (logits,) = normal(0, (B, C), scale=3.0)
    labels = np.arange(B, dtype=np.int32) % C
    theirs = lambda x: torch.nn.functional.cross_entropy(x, torch.from_numpy(labels).long())
    check(lambda x: losses.cross_entropy(x, labels), theirs, logits)


# With D = 16 and N(0, 1) centres, the pair sum over C (C - 1) is near 16.
@pytest.mark.parametrize('margin', [1.0, 16.0, 100.0], ids=['inactive', 'between', 'active'])
@pytest.mark.parametrize('classes', [C, 3, 1])
@pytest.mark.parametrize('weighing', ['none', 'some', 'zero'])
def test_margin(margin, classes, weighing):
    inputs = normal(classes, (B, D), (B, D), (C, D), (C, D))
    inputs[2], inputs[3] = 1.5 * inputs[2], 0.7 * inputs[3]  # for one hinge of two at M = 16
    rng = np.random.default_rng(9)
    labels_s, labels_t = rng.integers(0, classes, (2, B)).astype(np.int32)
    chosen = {'none': None, 'some': (rng.random(B) < 0.5), 'zero': np.zeros(B)}[weighing]
    weights = None if chosen is None else chosen.astype(np.float32)

    def ours(f_s, f_t, c_s, c_t):
        centers = losses.ClassCenters(c_s, c_t)
        return losses.margin_metric_loss(
            f_s, labels_s, f_t, labels_t, centers, margin=margin, weights_t=weights
        )[0]

    def theirs(f_s, f_t, c_s, c_t):
        found = torch_losses.margin_metric_loss(
            f_s,
            torch.from_numpy(labels_s).long(),
            f_t,
            torch.from_numpy(labels_t).long(),
            c_s,
            c_t,
            margin=margin,
            weights_t=None if weights is None else torch.from_numpy(weights),
        )
        spread = (found.inter_s.item() > margin, found.inter_t.item() > margin)
        assert spread == {1.0: (True, True), 16.0: (True, False), 100.0: (False, False)}[margin]
        return found.loss

    check(ours, theirs, *inputs)


@pytest.mark.parametrize('scale', [1.0, 50.0])
def test_domain_adversarial(scale):
    inputs = normal(1, (B,), (B,), scale=scale)
    check(losses.domain_adversarial_loss, torch_losses.domain_adversarial_loss, *inputs)


@pytest.mark.parametrize('coefficient', [0.0, 0.37, 1.0])
def test_gradient_reversal(coefficient):
    inputs = normal(2, (B, D), (D,))
    ours = lambda x, w: jnp.square(losses.gradient_reversal(x, coefficient) @ w).sum()
    theirs = lambda x, w: (torch_losses.gradient_reversal(x, coefficient) @ w).pow(2).sum()
    check(ours, theirs, *inputs)


@pytest.mark.parametrize('average', [None, 0.2, 5.0])
@pytest.mark.parametrize('scale', [1.0, 20.0])
def test_mine(average, scale):
    joint, marginal = normal(3, (2 * B,), (4 * B,), scale=scale)
    start = torch.tensor(float('nan') if average is None else np.log(average), dtype=torch.float32)
    averages = {}

    def theirs(j, m):
        loss, _, averages['theirs'] = torch_losses.mine_loss(j, m, start)
        return loss

    ours = lambda j, m: losses.mine_loss(j, m, jnp.float32(average or 0.0))[0]
    check(ours, theirs, joint, marginal)
    found = losses.mine_loss(joint, marginal, jnp.float32(average or 0.0))[1][1]
    np.testing.assert_allclose(np.log(found), averages['theirs'], rtol=1e-5, atol=1e-5)


def test_adversarial_critic(flax_layers):
    torch.manual_seed(0)
    twin = torch_critics.AdversarialNetwork(D, 32, dropout=0.0)
    torch.nn.init.normal_(twin.ad_layer1.bias)
    names = {'ad_layer1': 'dense0', 'ad_layer2': 'dense1', 'ad_layer3': 'score'}
    params = {'params': flax_layers(twin, names)}
    ours = lambda x: jnp.square(DomainCritic(32).apply(params, x)).sum()
    check(ours, lambda x: twin(x).pow(2).sum(), *normal(4, (B, D)))


def test_statistics_network_behind_the_bound(flax_layers):
    torch.manual_seed(0)
    twin = torch_critics.StatisticsNetwork(D, 32)
    names = {'layer1': 'dense0', 'layer2': 'dense1', 'layer3': 'score'}
    params, network = {'params': flax_layers(twin, names)}, StatisticsNetwork(32)

    def ours(f_s, f_t):
        score = lambda f, d: network.apply(params, f, d)
        joint, marginal = losses.domain_scores(score, f_s, f_t)
        return losses.mine_loss(joint, marginal, jnp.float32(0.0))[0]

    def theirs(f_s, f_t):
        joint, marginal = torch_critics.joint_and_marginal(twin, f_s, f_t)
        return torch_losses.mine_loss(joint, marginal, torch.tensor(float('nan')))[0]

    check(ours, theirs, *normal(5, (B, D), (B, D)))


def test_ramps_over_a_long_run():
    """g(n) goes on to rise behind n = 10,000."""
    recipe = torch_method.Recipe()
    coefficients = torch_method.Coefficients(recipe, 30_000)
    for done in (0, 1, 500, 9_999, 15_000, 29_999):
        weight, scale = coefficients(done)
        np.testing.assert_allclose(schedules.ramp(done / 30_000), weight, rtol=1e-5, atol=1e-7)
        found = schedules.ramp((done + 1) / recipe.reversal_steps)
        np.testing.assert_allclose(found, scale, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    'settings',
    [
        {'name': 'sgd', 'schedule': 'step', 'decay_epochs': 2},
        {'name': 'sgd', 'schedule': 'inverse', 'nesterov': False},
        {'name': 'adamw', 'schedule': 'cosine', 'weight_decay': 0.1, 'warmup_steps': 3},
        {'name': 'sgd', 'schedule': 'constant', 'groups': {'head': {'multiplier': 0.5}}},
    ],
    ids=lambda s: f'{s["name"]}-{s["schedule"]}',
)
@pytest.mark.parametrize('waits', [False, True])
def test_optimisers(settings, waits):
    (start, *gradients) = normal(6, *[(D,)] * 9)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    common = {'total_steps': 8, 'source_steps': 5 * waits, 'steps_per_epoch': 2}
    settings = {**settings, 'adaptation': 0.5}
    theirs = torch_optimisers.Optimisers({'head': [parameter]}, settings, **common)
    tx = optimizers.create(settings, ['head'], **common)['head']
    value = jnp.asarray(start)
    carried = tx.init(value)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        theirs.step()
        update, carried = tx.update(jnp.asarray(gradient), carried, value)
        value = value + update
        close(value, parameter.detach(), 1e-6)

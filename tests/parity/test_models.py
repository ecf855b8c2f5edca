"""Each network against its PyTorch twin: outputs and running statistics, in both modes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from dmsrl_jax import models
from dmsrl_jax.interop import torch_weights
from experiments.pytorch_baseline import models as torch_models
from experiments.pytorch_baseline import parity

SIZES = {
    'resnet50_multilevel': 64,
    'tiny_multilevel': 48,
    'vgg16': 64,
    'vgg16_multilevel': 96,  # maps of 3x3: windows overlap, pooled bins have several pixels
}
BATCH = 4


def deviation(found, expected):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def pair(name, **options):
    """Both networks with the same weights, those of norms drawn too, and no dropout."""
    torch.manual_seed(0)
    twin = torch_models.create(name, image_size=SIZES[name], dropout=0.0, **options)
    for module in twin.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm | torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    model = models.create(name, dropout=0.0, **options)
    return twin, model, torch_weights.load(name, twin.state_dict())


def pictures(name, seed):
    """Images that differ in the large: deep BatchNorms magnify what little noise leaves of that."""
    rng, size = np.random.default_rng(seed), SIZES[name]
    coarse = rng.random((BATCH, 4, 4, 3), np.float32).repeat(size // 4, 1).repeat(size // 4, 2)
    return 0.8 * coarse + 0.2 * rng.random((BATCH, size, size, 3), np.float32)


def torch_images(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@functools.partial(jax.jit, static_argnames=('model', 'domain'))
def evaluated(variables, images, *, model, domain=None):
    outputs = model.apply(variables, images, domain=domain)
    return outputs['logits'], outputs['features']


@functools.partial(jax.jit, static_argnames='model')
def trained(variables, images, *, model):
    outputs, changed = model.apply(
        variables, images, train=True, domains=2, mutable=['batch_stats']
    )
    return outputs['logits'], outputs['features'], changed['batch_stats']


# float32 moves PyTorch's own ResNet by 1.7e-4 from its float64 in training, ours by 0.9e-4.
FLOAT32_TRAINING = {'resnet50_multilevel': 5e-4}


@pytest.mark.parametrize(
    ('name', 'options'),
    [
        *((name, {}) for name in SIZES),
        ('tiny_multilevel', {'statistics': 'per_domain'}),
        ('tiny_multilevel', {'statistics': 'joint'}),
        ('tiny_multilevel', {'local': False}),
    ],
    ids=str,
)
def test_evaluation_then_a_training_pass(name, options):
    twin, model, variables = pair(name, **options)
    target = pictures(name, 2)
    twin.eval()
    with torch.no_grad():
        for domain in (0, 1):
            expected = twin(torch_images(target), domain)
            logits, features = evaluated(variables, target, model=model, domain=domain)
            assert deviation(logits, expected.logits) < 1e-4
            assert deviation(features, expected.features) < 1e-4
    check_training(name, twin, model, variables, FLOAT32_TRAINING.get(name, 1e-4))


def test_a_training_pass_on_the_source_alone_feeds_both_domains():
    twin, model, variables = pair('tiny_multilevel', statistics='per_domain')
    images = pictures('tiny_multilevel', 1)
    twin.train()
    with torch.no_grad():
        expected = twin(torch_images(images), None).logits
    outputs, changed = model.apply(variables, images, train=True, mutable=['batch_stats'])
    assert deviation(outputs['logits'], expected) < 1e-4
    state = {'params': variables['params'], 'batch_stats': changed['batch_stats']}
    found = torch_weights.to_state_dict('tiny_multilevel', state)
    running = {k: v for k, v in twin.state_dict().items() if 'running' in k}
    assert max(deviation(found[key], value) for key, value in running.items()) < 1e-4


def test_a_training_pass_of_the_resnet_in_float64():
    name = 'resnet50_multilevel'
    twin, model, variables = pair(name)
    with parity.precision(True):
        model = model.clone(backbone=model.backbone.clone(dtype=jnp.float64))
        variables = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), variables)
        check_training(name, twin.double(), model, variables, 1e-6, np.float64)


def check_training(name, twin, model, variables, bound, dtype=np.float32):
    source, target = (pictures(name, seed).astype(dtype) for seed in (1, 2))
    twin.train()
    with torch.no_grad():
        expected = twin.pair(torch_images(source), torch_images(target))
    images = np.concatenate([source, target])
    logits, features, stats = trained(variables, images, model=model)
    assert deviation(logits, torch.cat([e.logits for e in expected])) < bound
    assert deviation(features, torch.cat([e.features for e in expected])) < bound
    found = torch_weights.to_state_dict(name, {'params': variables['params'], 'batch_stats': stats})
    running = {k: v for k, v in twin.state_dict().items() if 'running' in k}
    norms = [m for m in twin.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert len(running) == 2 * len(norms) >= 8
    assert all(found[key].shape == value.shape for key, value in running.items())
    assert max(deviation(found[key], value) for key, value in running.items()) < bound


def test_per_domain_statistics_differ_between_domains():
    _, model, variables = pair('tiny_multilevel', statistics='per_domain')
    images = pictures('tiny_multilevel', 3)
    by_domain = [evaluated(variables, images, model=model, domain=d)[0] for d in (0, 1)]
    assert deviation(*by_domain) > 1e-2


@pytest.mark.parametrize('name', SIZES)
def test_both_have_the_same_number_of_parameters(name):
    with torch.device('meta'):
        twin = torch_models.create(name)
    size = torch_models.IMAGE_SIZES[name]
    shapes = jax.eval_shape(
        models.create(name).init,
        jax.random.key(0),
        jax.ShapeDtypeStruct((2, size, size, 3), np.float32),
    )
    ours = sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))
    assert ours == sum(p.numel() for p in twin.parameters())

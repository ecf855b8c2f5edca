"""PyTorch on one thread: tests share the machine, and rounding stays the same from run to run."""

import jax.numpy as jnp
import pytest
import torch


@pytest.fixture(autouse=True, scope='session')
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='session')
def flax_layers():
    """Turns a PyTorch critic into Flax parameters; `names` maps its layers to ours."""

    def layers(network, names):
        found = dict(network.named_children())
        return {
            ours: {
                'kernel': jnp.asarray(found[theirs].weight.detach().numpy().T),
                'bias': jnp.asarray(found[theirs].bias.detach().numpy()),
            }
            for theirs, ours in names.items()
        }

    return layers

"""DMSRL in the release's recipe: the library's step against the PyTorch baseline, step by step."""

import pytest

from experiments.pytorch_baseline import parity

NAME, SIZE, BATCH = 'tiny_multilevel', 48, 16


def compared(steps, *, double):
    theirs = parity.TorchSide(NAME, SIZE, double=double)
    ours = parity.JaxSide(NAME, SIZE, theirs)
    return parity.compare(ours, theirs, parity.batches(steps, SIZE, BATCH))


def test_twenty_steps_in_float64():
    """Parameters, centres, critic, momentum, running statistics; rounding does not hide anything.

    What is left is float32: weights are compared in it, and PyTorch's ramps are of it.
    """
    found = compared(20, double=True)
    assert max(found.losses.values()) < 1e-6
    assert len(found.layers) > 50
    assert max(found.layers.values()) < 1e-6


@pytest.mark.parametrize(('steps', 'momentum'), [(1, 1e-5), (20, 3e-3)])
def test_steps_in_float32(steps, momentum):
    """Rounding grows from step to step, in momentum buffers most: see docs/parity.md."""
    found = compared(steps, double=False)
    assert max(found.losses.values()) < (1e-5 if steps == 1 else 1e-4)
    buffers = {name: v for name, v in found.layers.items() if name.startswith('momentum')}
    others = [v for name, v in found.layers.items() if name not in buffers]
    assert max(others) < (1e-5 if steps == 1 else 1e-3)
    assert max(buffers.values()) < momentum


def test_a_tensor_that_one_side_lacks_is_an_error():
    side = parity.TorchSide(NAME, SIZE).tensors()
    with pytest.raises(ValueError, match=r'fc2\.bias'):
        parity.layer_deviations({k: v for k, v in side.items() if k != 'network.fc2.bias'}, side)

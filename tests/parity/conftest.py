"""PyTorch on one thread: tests share the machine, and rounding stays the same from run to run."""

import pytest
import torch


@pytest.fixture(autouse=True, scope='session')
def one_thread():
    torch.set_num_threads(1)

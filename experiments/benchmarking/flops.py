"""Arithmetic of a network: its multiplications counted in its own program, and a device's peak."""

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dmsrl_jax import models
from experiments.benchmarking.sides import NUM_CLASSES

_IN_A_ROW = 8


def count(function: Any, *arguments: Any) -> int:
    """Multiply-adds of the convolutions and matrix products in a function.

    Args:
        function: of arrays, without loops.
        *arguments: arrays or their shapes.

    Returns:
        How many pairs of numbers are multiplied and added; elementwise work is left out.
    """
    return _of_program(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_program(program: Any) -> int:
    total = 0
    for step in program.eqns:
        if step.primitive.name == 'dot_general':
            (contracted, _), _ = step.params['dimension_numbers']
            left = step.invars[0].aval.shape
            total += step.outvars[0].aval.size * math.prod(left[i] for i in contracted)
        elif step.primitive.name == 'conv_general_dilated':
            kernel = step.invars[1].aval
            features = kernel.shape[step.params['dimension_numbers'].rhs_spec[0]]
            total += step.outvars[0].aval.size * kernel.size // features
        else:
            total += sum(_of_parameter(value) for value in step.params.values())
    return total


def _of_parameter(value: Any) -> int:
    """That of a program inside an operation; of several, which are alternatives, the largest."""
    if isinstance(value, tuple | list):
        return max((_of_parameter(one) for one in value), default=0)
    return _of_program(getattr(value, 'jaxpr', value)) if hasattr(value, 'eqns') else 0


def forward(model: str, image_size: int) -> int:
    """Multiply-adds of one image's way through a network.

    Args:
        model: one of `models.names()`.
        image_size: side in pixels.

    Returns:
        Multiply-adds; VGG-16 at 224 has 15.5e9.
    """
    network = models.create(model, NUM_CLASSES)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), image)
    return count(lambda v, x: network.apply(v, x, train=False), variables, image)


def training(model: str, image_size: int, images: int) -> int:
    """Floating-point operations of a training step on some images.

        2 operations per multiply-add, 3 products per layer: outputs, and both gradients

    Args:
        model: one of `models.names()`.
        image_size: side in pixels.
        images: how many, source and target.

    Returns:
        Operations that the model needs; what is computed twice or in vain does not count.
    """
    return 6 * images * forward(model, image_size)


def peak(
    dtype: str,
    side: int,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Operations per second of large square matrix products on one device.

    Random numbers, because a GPU is quicker on ones, which cost it less power; several products in
    a row, because the time to start one would count.

    Args:
        dtype: of both matrices.
        side: of the matrices.
        rounds: how many rows of products; the quickest counts.
        clock: seconds.

    Returns:
        2 side^3 / seconds.
    """
    a = jax.random.normal(jax.random.key(0), (side, side), dtype)
    product = jax.jit(jnp.matmul)
    jax.block_until_ready([product(a, a) for _ in range(_IN_A_ROW)])
    best = math.inf
    for _ in range(rounds):
        begun = clock()
        jax.block_until_ready([product(a, a) for _ in range(_IN_A_ROW)])
        best = min(best, clock() - begun)
    return 2 * side**3 * _IN_A_ROW / best

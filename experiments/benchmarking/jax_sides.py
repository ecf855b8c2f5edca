"""Our side: the train step under each mapping, evaluation, one image; jax, flax and optax only."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmsrl_jax import methods, models
from dmsrl_jax.training import mapping, optimizers, state, step
from experiments.benchmarking.sides import NUM_CLASSES, Problem, Task

# The authors' release, as in experiments/configs/release.py, which needs more than the core.
RELEASE = {
    'alpha': 0.01,
    'beta': 0.01,
    'margin': 100.0,
    'cross_weight': 0.01,
    'centers': 'separate',
    'center_scale': 1.0,
    'normalize': False,
    'centers_follow': False,
    'mutual_information': 'adversarial',
    'reversal_steps': 10_000,
    'pseudo_label': 'argmax',
    'alignment': 0.0,
    'teacher': False,
}
OPTIMIZER = {
    'schedule': 'step',
    'groups': {'centers': {'learning_rate': 1.0, 'schedule': 'constant'}},
}
TOTAL_STEPS, STEPS_PER_EPOCH = 10_000, 200


def scaled(key: jax.Array, images: jax.Array, positions: jax.Array) -> jax.Array:
    """The augmentation of the step alone: floats in 0..1."""
    del key, positions
    return images.astype(jnp.float32) / 255.0


def count(tree: Any) -> int:
    """Number of values in a tree."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


class Trainer:
    """State and mapped step of DMSRL in the release's recipe."""

    def __init__(self, problem: Problem, mapping_name: str, augment: step.Augment = scaled):
        """Draws the weights and places everything on the devices; compiles nothing yet."""
        self.chosen = mapping.devices()
        mapping.split_batch(problem.batch_size, 1, len(self.chosen))
        model = models.create(problem.model, NUM_CLASSES, dtype=problem.dtype, axis_name=step.AXIS)
        method = methods.create('dmsrl', **RELEASE)
        initial = state.create(
            jax.random.key(problem.seed),
            model,
            method,
            image_size=problem.image_size,
            num_classes=NUM_CLASSES,
            averaged=False,
        )
        tx = optimizers.create(
            OPTIMIZER, initial.params, total_steps=TOTAL_STEPS, steps_per_epoch=STEPS_PER_EPOCH
        )
        settings = step.StepSettings(
            model=model,
            method=method,
            optimizers=tx,
            augment_s=augment,
            augment_t=augment,
            plain=scaled,
            total_steps=TOTAL_STEPS,
        )
        self.parameters = count(initial.params)
        self.state = mapping.replicate(state.with_optimizers(initial, tx), self.chosen)
        self.step = mapping.map_train_step(
            partial(step.train_step, settings=settings), self.chosen, mapping_name
        )

    def train(self, next_batch: Callable[[], Any], steps: int) -> None:
        """Takes some steps and waits for the last."""
        for _ in range(steps):
            self.state, _ = self.step(self.state, next_batch())
            if mapping.can_dead_lock(self.chosen):
                jax.block_until_ready(self.state)
        jax.block_until_ready(self.state)

    def memory(self, batch: Any) -> int | None:
        """Bytes of the compiled step: what it is given, gives back and works with."""
        lower = getattr(self.step, 'lower', None)
        if lower is None:
            return None
        found = lower(self.state, batch).compile().memory_analysis()
        return (
            found.argument_size_in_bytes
            + found.output_size_in_bytes
            - found.alias_size_in_bytes
            + found.temp_size_in_bytes
        )


def training(problem: Problem, mapping_name: str) -> Task:
    """Training steps on one batch that lies on the devices."""
    trainer = Trainer(problem, mapping_name)
    batch = mapping.shard(problem.batch(), trainer.chosen)
    return Task(
        lambda steps: trainer.train(lambda: batch, steps),
        images=2 * problem.batch_size,
        parameters=trainer.parameters,
        dtype=problem.dtype,
        memory=lambda: trainer.memory(batch),
    )


def _network(problem: Problem) -> tuple[Any, Any]:
    model = models.create(problem.model, NUM_CLASSES, dtype=problem.dtype)
    size = problem.image_size
    images = jnp.zeros((2, size, size, 3), jnp.float32)
    return model, jax.jit(model.init)(jax.random.key(problem.seed), images)


def evaluation(problem: Problem) -> Task:
    """Counts the right predictions for a batch that lies on the devices."""
    chosen = mapping.devices()
    model, variables = _network(problem)
    variables = mapping.replicate(variables, chosen)
    found = problem.batch()
    batch = {'image': found['image_s'], 'label': found['label_s']}
    shared = mapping.shard(batch, chosen)

    def right(variables: Any, batch: Any) -> jax.Array:
        outputs = step.eval_step(variables, batch, model=model, plain=scaled, domain=1)
        hits = jnp.argmax(outputs['logits'], axis=-1) == batch['label']
        return jax.lax.psum(jnp.sum(hits), step.AXIS)

    mapped = mapping.map_eval_step(right, chosen)

    def run(steps: int) -> None:
        jax.block_until_ready([mapped(variables, shared) for _ in range(steps)])

    return Task(run, problem.batch_size, count(variables['params']), problem.dtype)


def latency(problem: Problem) -> Task:
    """From one image on the host to its probabilities on the host."""
    model, variables = _network(problem)
    image = problem.batch()['image_s'][:1]

    @jax.jit
    def probabilities(variables: Any, image: jax.Array) -> jax.Array:
        outputs = model.apply(variables, image.astype(jnp.float32) / 255.0, train=False)
        return jax.nn.softmax(outputs['logits'])

    def run(steps: int) -> None:
        for _ in range(steps):
            np.asarray(probabilities(variables, image))

    return Task(run, 1, count(variables['params']), problem.dtype)

"""Batches from disk on both sides: grain here, DataLoader there, from the same prepared corpora."""

from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from dmsrl_jax.data import augment, corpora, pipeline
from dmsrl_jax.training import mapping
from experiments.benchmarking import jax_sides
from experiments.benchmarking.sides import Problem, Task

RECIPE = augment.recipe('release')


class Data(NamedTuple):
    """The corpora of both domains, and how many processor cores may prepare batches."""

    source: Any
    target: Any
    workers: int


def load(source: str, target: str, data_dir: str | None, workers: int) -> Data:
    """Opens both training splits.

    Args:
        source: name of a prepared corpus.
        target: another one.
        data_dir: where they lie; None for the default folder.
        workers: processes of grain, or of DataLoader.

    Returns:
        The corpora.

    Raises:
        InputError: one is not prepared; the message says how to.
    """
    open_ = lambda name: corpora.load(name, 'train', data_dir=data_dir)
    return Data(open_(source), open_(target), workers)


def grain_batches(problem: Problem, data: Data, *, in_memory: bool) -> pipeline.Batches:
    """Our batches as the training loop takes them."""
    return pipeline.paired_batches(
        data.source,
        data.target,
        batch_size=problem.batch_size,
        size_s=augment.stored_size(problem.image_size, RECIPE),
        seed=problem.seed,
        in_memory=in_memory,
        workers=data.workers,
    )


def grain_pipeline(problem: Problem, data: Data, *, in_memory: bool) -> Task:
    """Decoding and batching alone, with grain."""
    batches = grain_batches(problem, data, in_memory=in_memory)

    def run(steps: int) -> None:
        for _ in range(steps):
            next(batches)

    return Task(run, 2 * problem.batch_size, reads_ahead=True, close=batches.close)


def jax_end_to_end(problem: Problem, data: Data, mapping_name: str, *, in_memory: bool) -> Task:
    """Training from disk: grain, then augmentation and update on the devices."""
    trainer = jax_sides.Trainer(
        problem,
        mapping_name,
        lambda key, images, positions: augment.augment(
            key, images, size=problem.image_size, recipe=RECIPE, positions=positions
        ),
    )
    batches = grain_batches(problem, data, in_memory=in_memory)
    following = lambda: mapping.shard(next(batches), trainer.chosen)
    return Task(
        lambda steps: trainer.train(following, steps),
        2 * problem.batch_size,
        trainer.parameters,
        problem.dtype,
        reads_ahead=True,
        close=batches.close,
    )


def _loaders(problem: Problem, data: Data) -> Generator[tuple[Any, Any, Any], None, None]:
    from experiments.benchmarking import torch_sides
    from experiments.pytorch_baseline import data as torch_data

    def one(corpus: Any, labels: bool) -> Iterator[Any]:
        faces = torch_data.Faces(corpus, problem.image_size, RECIPE._asdict(), labels=labels)
        loader = torch_data.training_loader(
            faces,
            batch_size=problem.batch_size,
            shuffle=True,
            # Each loader has its own processes.
            workers=max(data.workers // 2, 1),
            seed=problem.seed,
            pin=torch_sides.device().type == 'cuda',
            start='forkserver',  # a fork would copy the locks of JAX's threads
        )
        return torch_data.endless(loader)

    source, target = one(data.source, True), one(data.target, False)
    while True:
        images_s, labels_s = next(source)
        yield images_s, labels_s, next(target)[0]


def loader_pipeline(problem: Problem, data: Data) -> Task:
    """Decoding, cropping and batching alone, with DataLoader processes."""
    batches = _loaders(problem, data)

    def run(steps: int) -> None:
        for _ in range(steps):
            next(batches)

    return Task(run, 2 * problem.batch_size, reads_ahead=True, close=batches.close)


def torch_end_to_end(problem: Problem, data: Data, *, compiled: bool) -> Task:
    """Training from disk with the baseline's loaders."""
    from experiments.benchmarking import torch_sides
    from experiments.pytorch_baseline.data import colour

    trainer = torch_sides.Trainer(problem, compiled=compiled)
    there = torch_sides.device()

    def moved() -> Generator[Any, None, None]:
        for images_s, labels_s, images_t in _loaders(problem, data):
            images = [
                colour(x.to(there, non_blocking=True), RECIPE._asdict())
                for x in (images_s, images_t)
            ]
            yield images[0], labels_s.to(there, non_blocking=True), images[1]

    batches = moved()
    return Task(
        torch_sides.loop(trainer, batches),
        2 * problem.batch_size,
        trainer.parameters,
        problem.dtype,
        reads_ahead=True,
        close=batches.close,
    )

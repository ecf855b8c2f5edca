"""The PyTorch side: the baseline as its users would run it; imported where torch is installed."""

from collections.abc import Callable, Iterator
from typing import Any

import torch

from experiments.benchmarking.sides import NUM_CLASSES, Problem, Task
from experiments.pytorch_baseline import method, models, optimisers

TOTAL_STEPS, STEPS_PER_EPOCH = 10_000, 200
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


def synchronise() -> None:
    """Waits for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def prepare() -> None:
    """Settings that users of PyTorch turn on for speed; XLA has the same by default."""
    torch.set_float32_matmul_precision('high')  # TF32, where the GPU has it
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def _autocast(problem: Problem) -> Any:
    on = problem.dtype == 'bfloat16'
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=on)


def floats(images: torch.Tensor) -> torch.Tensor:
    """Floats in 0..1, channels last, from uint8 [B, H, W, 3]."""
    return images.permute(0, 3, 1, 2).float().div_(255.0)


class Trainer:
    """DMSRL in the release's recipe: channels_last, autocast for bfloat16, fused optimiser."""

    def __init__(self, problem: Problem, *, compiled: bool):
        """Draws the weights; compiles nothing yet."""
        torch.manual_seed(problem.seed)
        self.problem = problem
        recipe = method.Recipe()
        network = models.create(problem.model, NUM_CLASSES, image_size=problem.image_size)
        module = method.DMSRL(network, recipe).to(device(), memory_format=torch.channels_last)
        self.parameters = sum(p.numel() for p in module.parameters())
        self.coefficients = method.Coefficients(recipe, TOTAL_STEPS, device())
        self.optimisers = optimisers.Optimisers(
            module.groups(), total_steps=TOTAL_STEPS, steps_per_epoch=STEPS_PER_EPOCH
        )
        self.loss: Callable[..., Any] = torch.compile(module) if compiled else module
        self.done = 0

    def step(self, images_s: torch.Tensor, labels_s: torch.Tensor, images_t: torch.Tensor) -> None:
        """One update from float images [B, 3, H, W]."""
        weight, scale = self.coefficients(self.done)
        self.optimisers.zero_grad()
        with _autocast(self.problem):
            loss, _ = self.loss(images_s, labels_s, images_t, weight, scale)
        loss.backward()
        self.optimisers.step()
        self.done += 1


def _on_device(problem: Problem) -> Batch:
    found = {name: torch.from_numpy(x).to(device()) for name, x in problem.batch().items()}
    return found['image_s'], found['label_s'].long(), found['image_t']


def training(problem: Problem, *, compiled: bool) -> Task:
    """Training steps on one batch that lies on the device."""
    trainer = Trainer(problem, compiled=compiled)
    images_s, labels_s, images_t = _on_device(problem)

    def run(steps: int) -> None:
        for _ in range(steps):
            trainer.step(floats(images_s), labels_s, floats(images_t))
        synchronise()

    return Task(
        run,
        images=2 * problem.batch_size,
        parameters=trainer.parameters,
        dtype=problem.dtype,
        memory=lambda: _peak_memory(run),
    )


def _peak_memory(run: Callable[[int], None]) -> int | None:
    """Most bytes allocated during a step, everything that was there before included."""
    if not torch.cuda.is_available():
        return None
    torch.cuda.reset_peak_memory_stats()
    run(1)
    return torch.cuda.max_memory_allocated()


def _network(problem: Problem, *, compiled: bool) -> tuple[Callable[..., Any], int]:
    torch.manual_seed(problem.seed)
    network = models.create(problem.model, NUM_CLASSES, image_size=problem.image_size)
    network = network.eval().to(device(), memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in network.parameters())
    return torch.compile(network) if compiled else network, parameters


def evaluation(problem: Problem, *, compiled: bool) -> Task:
    """Counts the right predictions for a batch that lies on the device."""
    network, parameters = _network(problem, compiled=compiled)
    images, labels, _ = _on_device(problem)

    @torch.inference_mode()
    def run(steps: int) -> None:
        for _ in range(steps):
            with _autocast(problem):
                logits = network(floats(images)).logits
            (logits.argmax(1) == labels).sum()
        synchronise()

    return Task(run, problem.batch_size, parameters, problem.dtype)


def latency(problem: Problem, *, compiled: bool) -> Task:
    """From one image on the host to its probabilities on the host."""
    network, parameters = _network(problem, compiled=compiled)
    image = torch.from_numpy(problem.batch()['image_s'][:1])

    @torch.inference_mode()
    def run(steps: int) -> None:
        for _ in range(steps):
            with _autocast(problem):
                logits = network(floats(image.to(device()))).logits
            logits.float().softmax(1).cpu().numpy()

    return Task(run, 1, parameters, problem.dtype)


def loop(trainer: Trainer, batches: Iterator[Batch]) -> Callable[[int], None]:
    """Training steps on batches (float images, labels) as they come."""

    def run(steps: int) -> None:
        for _ in range(steps):
            trainer.step(*next(batches))
        synchronise()

    return run

"""Scores on whole corpora, on all devices, each image counted once."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dmsrl_jax.data import pipeline, reading
from dmsrl_jax.errors import InputError
from dmsrl_jax.evaluation import metrics, selection
from dmsrl_jax.methods import Method
from dmsrl_jax.training import mapping, step
from dmsrl_jax.training.state import TrainState, model_params

DOMAINS = {'source': 0, 'target': 1}


class Evaluator:
    """Evaluates one model on the devices of a run."""

    def __init__(
        self,
        model: Any,
        plain: step.Augment,
        chosen: Sequence[jax.Device],
        *,
        num_classes: int,
        batch_size: int,
        image_size: int,
    ):
        """Prepares the evaluation.

        Args:
            model: a Linen module.
            plain: brings images to the model's input without randomness.
            chosen: the devices.
            num_classes: C.
            batch_size: images at a time; rounded up to a multiple of the number of devices.
            image_size: side at which images are decoded.
        """
        self._chosen = chosen
        self._per_process = -(-batch_size // len(chosen)) * len(chosen) // jax.process_count()
        self._image_size = image_size
        self._num_classes = num_classes
        self._forward = {
            name: partial(step.eval_step, model=model, plain=plain, domain=domain)
            for name, domain in DOMAINS.items()
        }
        self._confusion = {
            name: mapping.map_eval_step(partial(self._count, forward), chosen)
            for name, forward in self._forward.items()
        }
        self._probabilities = mapping.map_eval_step(self._predict_target, chosen)

    def _predict_target(self, variables: Any, batch: step.Batch) -> Any:
        logits = self._forward['target'](variables, batch)['logits'].astype(jnp.float32)
        found = (jax.nn.softmax(logits, axis=-1), batch['mask'])
        return jax.tree.map(lambda x: jax.lax.all_gather(x, step.AXIS, tiled=True), found)

    def _count(self, forward: Any, variables: Any, batch: step.Batch) -> jax.Array:
        predicted = jnp.argmax(forward(variables, batch)['logits'], axis=-1)
        counts = metrics.confusion(
            batch['label'], predicted, batch['mask'], num_classes=self._num_classes
        )
        return jax.lax.psum(counts, step.AXIS)

    def _batches(self, corpus: Any) -> Any:
        batches = pipeline.evaluation_batches(
            corpus,
            batch_size=self._per_process,
            size=self._image_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        for batch in batches:
            yield mapping.shard({k: v for k, v in batch.items() if k != 'index'}, self._chosen)

    def score(self, variables: dict[str, Any], corpus: Any, *, domain: str) -> dict[str, Any]:
        """Accuracy, mean class accuracy, macro F1, confusion and count on a corpus.

        Args:
            variables: the model's `params` and `batch_stats`.
            corpus: a corpus or its decoded form.
            domain: `source` or `target`: whose running statistics to use, where kept per domain.

        Returns:
            See `evaluation.metrics.summarize`.

        Raises:
            InputError: the corpus has no labels.
        """
        if not reading.is_labelled(corpus):
            raise InputError(f'{reading.describe(corpus)} has no labels, it cannot be scored')
        count = self._confusion[domain]
        return metrics.summarize(sum(count(variables, batch) for batch in self._batches(corpus)))

    def criteria(self, variables: dict[str, Any], corpus: Any) -> dict[str, float]:
        """What can be said of the network on target without a label, for choosing settings.

        Args:
            variables: the model's `params` and `batch_stats`.
            corpus: target images; labels are not read.

        Returns:
            See `evaluation.selection.criteria`.
        """
        found = [self._probabilities(variables, batch) for batch in self._batches(corpus)]
        rows = [np.asarray(p)[np.asarray(mask) > 0] for p, mask in found]
        return selection.criteria(np.concatenate(rows))

    def pseudo_labels(
        self, state: TrainState, method: Method, corpus: Any
    ) -> dict[str, float | None]:
        """Coverage of the method's pseudo labels on target, and their accuracy where they count.

        For analysis only, outside the training step: the true labels are read here. The network
        runs in evaluation mode.

        Args:
            state: the training state.
            method: a method with pseudo labels.
            corpus: target images, with labels or without.

        Returns:
            `accuracy` (0 where nothing is covered, None without labels) and `coverage`, fractions.
        """
        count = mapping.map_eval_step(partial(self._count_pseudo, method), self._chosen)
        slim = state.replace(opt_state={})
        right, covered, total = sum(
            (count(slim, batch) for batch in self._batches(corpus)), jnp.zeros(3)
        ).tolist()
        accuracy = right / max(covered, 1) if reading.is_labelled(corpus) else None
        return {'accuracy': accuracy, 'coverage': covered / total}

    def _count_pseudo(self, method: Method, state: TrainState, batch: step.Batch) -> jax.Array:
        forward, outputs = self._forward['target'], {}
        stats = {'batch_stats': state.batch_stats}
        outputs['target'] = forward({'params': model_params(state.params), **stats}, batch)
        if method.uses_teacher:
            outputs['teacher'] = forward({'params': state.average, **stats}, batch)
        assert method.pseudo_labels is not None
        pseudo = method.pseudo_labels(state.params, outputs, state.method_state)
        covered = (pseudo.weights > 0) * batch['mask']
        right = covered * (pseudo.labels == batch['label'])
        counts = jnp.stack([jnp.sum(right), jnp.sum(covered), jnp.sum(batch['mask'])])
        return jax.lax.psum(counts.astype(jnp.float32), step.AXIS)

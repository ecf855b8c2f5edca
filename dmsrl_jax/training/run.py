"""From a config to the parts of a run: corpora, model, method, optimisers, mapped step."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax

from dmsrl_jax import methods
from dmsrl_jax.data import augment, corpora, pipeline, reading
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import NUM_CLASSES
from dmsrl_jax.training import from_config, mapping, optimizers, pretrained, state, step
from dmsrl_jax.training.evaluator import Evaluator

ROLES = ('source', 'source_test', 'target', 'target_test')


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything that the loop works with."""

    chosen: list[jax.Device]
    method: methods.Method
    data: dict[str, Any]
    batches: pipeline.Batches
    total_steps: int
    source_steps: int
    source_step: Callable[..., Any]
    train_step: Callable[..., Any]
    evaluator: Evaluator
    initial: state.TrainState


def prepare(config: Any, say: Callable[[str], None] = print) -> Run:
    """Builds a run from its config.

    Args:
        config: a config as in `experiments/configs/common.py`.
        say: told what takes time.

    Returns:
        The run, with its state at step 0 on the devices.

    Raises:
        InputError: anything in the config, the corpora or the devices that does not fit.
    """
    from_config.check(config)
    chosen = mapping.devices(config.devices)
    mapping.split_batch(config.batch_size, config.accumulate, len(chosen))
    method = methods.create(config.method, **config.get(config.method, {}))
    model = from_config.create_model(config, axis_name=step.AXIS)
    recipes = {d: from_config.recipe(config.augment[d]) for d in ('source', 'target')}
    data = load_data(config, say)
    epoch = max(len(data['source']) // config.batch_size, 1)
    total = from_config.length(config, epoch)
    before = from_config.source_steps(config, total)
    batches = _batches(config, data, recipes, before, uses_target=method.uses_target)
    initial = state.create(
        jax.random.key(config.seed),
        model,
        method,
        image_size=config.image_size,
        num_classes=NUM_CLASSES,
        averaged=config.average or method.uses_teacher,
        variables=pretrained.variables(config, model, say),
    )
    tx = optimizers.create(
        config.optimizer.to_dict(),
        initial.params,
        total_steps=total,
        source_steps=before,
        steps_per_epoch=epoch,
        updates=method.updates(),
    )
    settings = step.StepSettings(
        model=model,
        method=method,
        optimizers=tx,
        augment_s=from_config.augmentation(recipes['source'], config.image_size),
        augment_t=from_config.augmentation(recipes['target'], config.image_size),
        plain=from_config.plain_view(config),
        match=from_config.match(config),
        total_steps=total,
        source_steps=before,
        accumulate=config.accumulate,
        average_decay=config.average_decay,
    )
    map_step = lambda settings: mapping.map_train_step(
        partial(step.train_step, settings=settings), chosen, config.mapping
    )
    train_step, alone = map_step(settings), methods.on_source_alone(method)
    return Run(
        chosen=chosen,
        method=method,
        data=data,
        batches=batches,
        total_steps=total,
        source_steps=before,
        source_step=train_step
        if method == alone  # `source_only`: one program for all of its steps
        else map_step(dataclasses.replace(settings, method=alone)),
        train_step=train_step,
        evaluator=from_config.create_evaluator(config, chosen),
        initial=mapping.replicate(state.with_optimizers(initial, tx), chosen),
    )


def load_data(config: Any, say: Callable[[str], None]) -> dict[str, Any]:
    """Opens the corpora of all roles.

    Args:
        config: names each role's corpus (`source`, `target`) and split (`source_split`, ...).
        say: told how many images there are, and whether tests have images learned with labels.

    Returns:
        `{role: corpus}`; a target without labels has no `target_test`, nothing can be tested there.

    Raises:
        InputError: a corpus or split is missing, and the message says how to prepare it; the source
            has no labels.
    """
    data: dict[str, Any] = {}
    for role in ROLES:
        name, split = config[role.removesuffix('_test')], config[f'{role}_split']
        if role == 'source' and not has_labels(name, config.data_dir):
            raise InputError(
                f'source {name} has no labels, so nothing can be learned from it; take a corpus '
                f'with labels as source, and {name} as target'
            )
        if role == 'target_test' and not has_labels(name, config.data_dir):
            say(f'{role}: {name} has no labels, it is not evaluated')
            continue
        data[role] = corpora.load(name, split, data_dir=config.data_dir or None)
        say(f'{role}: {len(data[role])} images of {name}, split {split}')
        if role.endswith('_test') and (learned := corpora.shared(data['source'], data[role])):
            say(f'warning: {learned} of them are trained on with their labels ({role}_split)')
    return data


def has_labels(name: str, data_dir: str | None) -> bool:
    """Whether a prepared corpus has labels, whatever its splits are."""
    return reading.is_labelled(corpora.load(name, 'all', data_dir=data_dir or None))


def _batches(
    config: Any,
    data: Mapping[str, Any],
    recipes: Mapping[str, augment.Recipe],
    before: int,
    *,
    uses_target: bool,
) -> pipeline.Batches:
    count = jax.process_count()
    return pipeline.paired_batches(
        data['source'],
        data['target'] if uses_target else None,
        batch_size=config.batch_size // count,
        size_s=augment.stored_size(config.image_size, recipes['source']),
        size_t=augment.stored_size(config.image_size, recipes['target']),
        seed=config.seed,
        workers=config.pipeline.workers,
        in_memory=config.pipeline.in_memory,
        process_index=jax.process_index(),
        process_count=count,
        target_shuffle=config.pipeline.target_shuffle,
        target_from=before,
    )


def decoded(run: Run, config: Any, role: str) -> Any:
    """The role's corpus for evaluation: in memory where the config says so, and only once."""
    corpus = run.data[role]
    if not config.pipeline.in_memory:
        return corpus
    kept = run.batches.kept.get(role)
    if kept is not None and kept.size == config.image_size:
        return reading.Decoded(kept.image, corpus.labels())
    return reading.decode_all(corpus, config.image_size)

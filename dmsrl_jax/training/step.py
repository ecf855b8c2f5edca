"""The train step and the evaluation step: pure per-device functions that name their device axis.

Each device augments and forwards its own share of the batch; logits and features are then gathered
over the axis, so that losses which are no mean over samples (log-mean-exp, centres, hinges) see the
whole batch and one device and many give the same number. Every device computes the same loss, and
the mean of the gradients over devices is the gradient of that loss, under `pmap` as under
`shard_map(check_vma=False)`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dmsrl_jax.methods import Context, Method, Phase
from dmsrl_jax.training.state import TrainState, model_params

AXIS = 'data'
Augment = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
Match = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
Batch = dict[str, jax.Array]


@dataclasses.dataclass(frozen=True)
class StepSettings:
    """What a step needs besides state and batch; all static.

    Attributes:
        model: a Linen module, made with `axis_name=AXIS`.
        method: the adaptation method.
        optimizers: `{group: optax transformation}`.
        augment_s: `(key, uint8 [b, S, S, 3], positions [b]) -> float [b, s, s, 3]` for source.
        augment_t: the same for target.
        plain: the same without randomness, for the teacher's view of target.
        match: `(key, source, target, positions) -> source`, on what these made, in adaptation;
            None leaves the source as it is.
        total_steps: length of the run.
        source_steps: steps of the run before adaptation.
        accumulate: micro-batches per update.
        average_decay: decay of the averaged parameters.
    """

    model: Any
    method: Method
    optimizers: dict[str, optax.GradientTransformation]
    augment_s: Augment
    augment_t: Augment
    plain: Augment
    total_steps: int
    match: Match | None = None
    source_steps: int = 0
    accumulate: int = 1
    average_decay: float = 0.99


def train_step(
    state: TrainState, batch: Batch, settings: StepSettings
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One pass through the method's phases, one optimiser update each.

    Args:
        state: the same on all devices.
        batch: this device's share: `image_s` uint8 [b, S, S, 3], `label_s` int32 [b], and `image_t`
            uint8 [b, S', S', 3] where the method uses target. There is no target label.
        settings: static.

    Returns:
        The new state and scalar metrics, both the same on all devices.
    """
    key = jax.random.fold_in(state.key, state.step)
    metrics: dict[str, jax.Array] = {}
    for number, phase in enumerate(settings.method.phases):
        key_phase = jax.random.fold_in(key, number)
        grads, carried, seen = _gradients(state, batch, phase, key_phase, settings)
        params, opt_state = dict(state.params), dict(state.opt_state)
        for group in phase.groups:
            updates, opt_state[group] = settings.optimizers[group].update(
                grads[group], opt_state[group], params[group]
            )
            params[group] = optax.apply_updates(params[group], updates)
        batch_stats, method_state = carried
        state = state.replace(
            params=params, opt_state=opt_state, batch_stats=batch_stats, method_state=method_state
        )
        metrics |= seen
        norm = optax.tree.norm(grads)
        metrics['gradient_norm'] = metrics.get('gradient_norm', 0.0) + norm
    average = state.average
    if average is not None:
        # A short horizon at first, so that the initial parameters are soon forgotten.
        decay = jnp.minimum(settings.average_decay, (1.0 + state.step) / (10.0 + state.step))
        average = optax.incremental_update(model_params(state.params), average, 1.0 - decay)
    return state.replace(step=state.step + 1, average=average), metrics


def _gradients(
    state: TrainState, batch: Batch, phase: Phase, key: jax.Array, settings: StepSettings
) -> tuple[dict[str, Any], tuple[Any, Any], dict[str, jax.Array]]:
    """Mean gradient over devices and micro-batches for the groups of one phase."""
    trained = {group: state.params[group] for group in phase.groups}
    fixed = {group: p for group, p in state.params.items() if group not in phase.groups}

    def micro(carried: tuple[Any, Any], inputs: tuple[jax.Array, Batch]) -> tuple[Any, Any]:
        number, part = inputs

        def loss_fn(groups: dict[str, Any]) -> tuple[jax.Array, Any]:
            return _loss(
                {**fixed, **groups},
                state,
                carried,
                part,
                phase,
                jax.random.fold_in(key, number),
                settings,
            )

        (loss, (metrics, new)), grads = jax.value_and_grad(loss_fn, has_aux=True)(trained)
        return new, (grads, {**metrics, 'loss': loss})

    count = settings.accumulate
    # Sample i goes to micro-batch i mod count, on however many devices it lies.
    parts = jax.tree.map(
        lambda x: x.reshape(x.shape[0] // count, count, *x.shape[1:]).swapaxes(0, 1), batch
    )
    carried = (state.batch_stats, state.method_state)
    if count == 1:
        carried, results = micro(carried, (jnp.zeros((), jnp.int32), batch))
    else:
        carried, stacked = jax.lax.scan(micro, carried, (jnp.arange(count), parts))
        results = jax.tree.map(lambda x: jnp.mean(x, axis=0), stacked)
    grads, metrics = results
    # A mean over one device is a copy of all gradients on a CPU.
    mean = jax.lax.pmean(grads, AXIS) if jax.lax.axis_size(AXIS) > 1 else grads
    return mean, carried, metrics


def _loss(
    params: dict[str, Any],
    state: TrainState,
    carried: tuple[Any, Any],
    batch: Batch,
    phase: Phase,
    key: jax.Array,
    settings: StepSettings,
) -> tuple[jax.Array, Any]:
    batch_stats, method_state = carried
    key_augment, key_dropout, key_loss = jax.random.split(key, 3)
    images = augmented(key_augment, batch, settings)
    outputs, batch_stats = _forward(params, batch_stats, images, key_dropout, settings)
    if settings.method.uses_teacher:
        outputs['teacher'] = _teacher(state, batch_stats, batch['image_t'], key_augment, settings)
    gather = lambda x: jax.lax.all_gather(x, AXIS, tiled=True)
    outputs = jax.tree.map(gather, outputs)
    adapted = state.step - settings.source_steps
    context = Context(
        labels_s=gather(batch['label_s']),
        progress=adapted / (settings.total_steps - settings.source_steps),
        step=adapted + 1,
        key=key_loss,
        state=method_state,
    )
    loss, (metrics, method_state) = phase.loss(params, outputs, context)
    return loss, (metrics, (batch_stats, method_state))


def positions(size: int) -> jax.Array:
    """Places of this device's samples in the whole batch, int32 [size]."""
    return jax.lax.axis_index(AXIS) * size + jnp.arange(size, dtype=jnp.int32)


def augmented(key: jax.Array, batch: Batch, settings: StepSettings) -> list[jax.Array]:
    """The batch as the model sees it: [source] or [source, target], float in [0, 1]."""
    place = positions(batch['label_s'].shape[0])
    key_s, key_t = jax.random.split(key)
    source = settings.augment_s(key_s, batch['image_s'], place)
    if not settings.method.uses_target:
        return [source]
    target = settings.augment_t(key_t, batch['image_t'], place)
    if settings.match:
        source = settings.match(jax.random.fold_in(key, 2), source, target, place)
    return [source, target]


def _forward(
    params: dict[str, Any],
    batch_stats: Any,
    images: list[jax.Array],
    key: jax.Array,
    settings: StepSettings,
) -> tuple[dict[str, dict[str, jax.Array]], Any]:
    """One fused pass over all domains."""
    outputs, changed = settings.model.apply(
        {'params': model_params(params), 'batch_stats': batch_stats},
        jnp.concatenate(images),
        train=True,
        domains=len(images),
        mutable=['batch_stats'],
        rngs={'dropout': key},
    )
    shares = {name: jnp.split(outputs[name], len(images)) for name in ('logits', 'features')}
    by_domain = {
        domain: {name: parts[i] for name, parts in shares.items()}
        for i, domain in enumerate(('source', 'target')[: len(images)])
    }
    return by_domain, changed['batch_stats']


def _teacher(
    state: TrainState, batch_stats: Any, images: jax.Array, key: jax.Array, settings: StepSettings
) -> dict[str, jax.Array]:
    """Averaged parameters on plain target images, as the evaluation would see them."""
    images = settings.plain(key, images, positions(images.shape[0]))
    variables = {'params': state.average, 'batch_stats': batch_stats}
    outputs = settings.model.apply(variables, images, train=False)
    return jax.lax.stop_gradient({name: outputs[name] for name in ('logits', 'features')})


def eval_step(
    variables: dict[str, Any], batch: Batch, *, model: Any, plain: Augment, domain: int
) -> dict[str, jax.Array]:
    """Predictions for this device's share of an evaluation batch.

    Args:
        variables: the model's `params` and `batch_stats`.
        batch: `image` uint8 [b, S, S, 3].
        model: a Linen module.
        plain: brings images to the model's input without randomness.
        domain: 0 for source, 1 for target; matters where statistics are kept per domain.

    Returns:
        `logits` [b, C] and `features` [b, D].
    """
    size = batch['image'].shape[0]
    images = plain(jax.random.key(0), batch['image'], jnp.arange(size, dtype=jnp.int32))
    outputs = model.apply(variables, images, train=False, domain=domain)
    return {name: outputs[name] for name in ('logits', 'features')}

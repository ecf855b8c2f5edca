"""The step: what it hands to methods, how it averages, that it is traced once."""

import dataclasses
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import methods
from dmsrl_jax.methods.base import Method, Phase, cross_entropy
from dmsrl_jax.training import mapping, state, step

PLAIN = {'dropout': 0.0, 'recipe': 'none'}


def host(tree):
    return jax.device_get(tree)


def probing(seen, **changes):
    """Source-only, which also records what the step gives to a loss."""

    def loss(params, outputs, context):
        seen.append((params, outputs, context))
        value = cross_entropy(outputs['source']['logits'], context.labels_s)
        found = {
            f'{domain}_{name}': jnp.sum(x * jnp.arange(x.size, dtype=x.dtype).reshape(x.shape))
            for domain, parts in outputs.items()
            for name, x in parts.items()
        }
        return value, ({**found, 'progress': context.progress, 'n': context.step}, context.state)

    phase = Phase(loss, ('backbone', 'head'))
    return Method(init=lambda key, dim, classes: {}, phases=(phase,), **changes)


@pytest.fixture
def probe(monkeypatch, harness):
    """Makes a harness of the probing method."""

    def make(seen, options=None, **settings):
        monkeypatch.setattr(methods, 'create', lambda name, **_: probing(seen, **(options or {})))
        return harness(method='probe', **{**PLAIN, **settings})

    return make


def checksum(x):
    return float(jnp.sum(x * jnp.arange(x.size, dtype=x.dtype).reshape(x.shape)))


def test_a_loss_sees_the_whole_batch_and_no_target_label(probe, batch):
    seen = []
    made = probe(seen, devices=4)
    first, second = made.run(batch, 2)
    _, outputs, context = seen[0]
    assert set(outputs) == {'source', 'target'}
    assert {name: x.shape for name, x in outputs['target'].items()} == {
        'logits': (16, 7),
        'features': (16, 6),
    }
    assert context._fields == ('labels_s', 'progress', 'step', 'key', 'state')
    assert context.labels_s.shape == (16,)
    assert (first['progress'], first['n']) == (0.0, 1.0)
    assert second['progress'] == pytest.approx(0.1)
    assert second['n'] == 2.0


def test_source_and_target_keep_their_order_and_their_statistics(probe, batch):
    made = probe([], devices=4)
    variables = host({'params': made.state.params, 'batch_stats': made.state.batch_stats})
    (metrics,) = made.run(batch, 1)
    for domain, images in (('source', batch['image_s']), ('target', batch['image_t'])):
        # Each domain alone, with its own batch statistics, on one device without an axis.
        model = made.model.clone(backbone=made.model.backbone.clone(axis_name=None))
        apply = jax.jit(partial(model.apply, train=True, mutable=['batch_stats']))
        alone, _ = apply(variables, jnp.asarray(images / 255.0, jnp.float32))
        for name in ('logits', 'features'):
            assert metrics[f'{domain}_{name}'] == pytest.approx(checksum(alone[name]), rel=1e-4)


def test_the_teacher_is_the_average_in_evaluation_mode(probe, batch):
    made = probe([], options={'uses_teacher': True}, dropout=0.5, recipe='standard')
    made.run(batch, 2)
    average = host(made.state.average)
    (metrics,) = made.run(batch, 1)
    # The teacher sees plain target images, with the running statistics after this batch.
    variables = {'params': average, 'batch_stats': host(made.state.batch_stats)}
    plain = jnp.asarray(batch['image_t'] / 255.0, jnp.float32)
    outputs = jax.jit(made.model.apply)(variables, plain)
    assert metrics['teacher_logits'] == pytest.approx(checksum(outputs['logits']), rel=1e-4)
    assert metrics['teacher_features'] == pytest.approx(checksum(outputs['features']), rel=1e-4)


@pytest.mark.parametrize('start', [0, 2000])
def test_the_average_follows_its_formula(harness, batch, start):
    made = harness(method='source_only', **PLAIN)
    made.state = made.state.replace(step=made.state.step + start)
    average = host(made.state.average)
    chex.assert_trees_all_equal(average, host(state.model_params(made.state.params)))
    for number in range(start, start + 3):
        made.run(batch, 1)
        decay = min(0.99, (1 + number) / (10 + number))
        params = host(state.model_params(made.state.params))
        average = jax.tree.map(lambda a, p, d=decay: d * a + (1 - d) * p, average, params)
        chex.assert_trees_all_close(host(made.state.average), average, rtol=1e-5, atol=1e-7)


def test_no_average_where_none_is_kept(harness, batch):
    made = harness(method='source_only', averaged=False, **PLAIN)
    assert made.state.average is None
    made.run(batch, 1)
    assert made.state.average is None


def test_one_trace_for_all_steps_and_the_state_goes_on(harness, batch):
    made = harness(method='source_only', **PLAIN)
    first = made.state
    history = made.run(batch, 4)
    assert made.step._cache_size() == 1
    assert int(made.state.step) == 4
    assert all(np.isfinite(metrics['loss']) for metrics in history)
    with pytest.raises(RuntimeError, match='deleted'):  # donated, as it should be
        np.asarray(first.params['head']['kernel'])


def test_source_only_ignores_target_images(harness, batch):
    one, other = (harness(method='source_only') for _ in range(2))
    one.run(batch, 2)
    changed = {**batch, 'image_t': 255 - batch['image_t']}
    other.run(changed, 2)
    chex.assert_trees_all_equal(host(one.state.params), host(other.state.params))


@pytest.mark.parametrize('statistics', ['joint', 'per_domain', 'shared'])
def test_before_adaptation_dmsrl_is_source_only(harness, batch, statistics):
    common = {'statistics': statistics, 'source_steps': 3}
    adapting = harness(options={'threshold': 0.0}, **common)
    alone = harness(method='source_only', **common)
    learned = lambda made: host(
        (state.model_params(made.state.params), made.state.batch_stats, made.state.average)
    )
    own = lambda made: host(
        [{group: tree[group] for group in ('centers', 'critic')}
         for tree in (made.state.params, made.state.opt_state)] + [made.state.method_state]
    )  # fmt: skip
    before = own(adapting)
    history = adapting.run(batch, 3, alone=True), alone.run(batch, 3)
    chex.assert_trees_all_equal(learned(adapting), learned(alone))
    chex.assert_trees_all_equal(own(adapting), before)  # what the method adds waits, too
    assert history[0] == history[1]
    adapting.run(batch, 1)
    alone.run(batch, 1)
    stats = [made.state.batch_stats['backbone']['norm']['mean'] for made in (adapting, alone)]
    assert np.abs(host(stats[0]) - host(stats[1])).max() > 1e-3


def test_before_adaptation_no_target_images_are_needed(harness, batch):
    made = harness(source_steps=3)
    alone = {name: x for name, x in batch.items() if name != 'image_t'}
    (metrics,) = made.run(alone, 1, alone=True)
    assert metrics['loss'] == metrics['classification']


def test_a_loss_is_told_the_share_and_the_number_of_its_adaptation_step(
    harness, batch, monkeypatch
):
    def loss(params, outputs, context):
        told = {'progress': context.progress, 'number': context.step}
        return jnp.sum(params['head']['bias']), (told, ())

    telling = Method(init=lambda key, dim, classes: {}, phases=(Phase(loss, ('head',)),))
    monkeypatch.setattr(methods, 'create', lambda name, **_: telling)
    made = harness(method='telling', source_steps=6, **PLAIN)
    made.run(batch, 6, alone=True)
    told = [(seen['progress'], seen['number']) for seen in made.run(batch, 3)]
    assert told == [(0.0, 1), (0.25, 2), (0.5, 3)]


def test_training_learns_the_batch(harness, batch):
    made = harness(method='source_only', optimizer={'learning_rate': 0.1}, **PLAIN)
    same = {name: x for name, x in batch.items() if name != 'image_t'}
    losses = []
    for _ in range(40):
        made.state, metrics = made.step(made.state, mapping.shard(same, made.chosen))
        losses.append(float(metrics['loss']))
    assert losses[0] > 1.5
    assert losses[-1] < 0.1


def test_only_the_phases_groups_move(harness, batch, monkeypatch):
    method = methods.create('dmsrl', hidden=4)
    frozen = Method(
        init=method.init,
        init_state=method.init_state,
        phases=(method.phases[0]._replace(groups=('head', 'centers')),),
        uses_teacher=method.uses_teacher,
    )
    monkeypatch.setattr(methods, 'create', lambda name, **_: frozen)
    made = harness(method='frozen', **PLAIN)
    before = host(made.state.params)
    made.run(batch, 1)
    after = host(made.state.params)
    for group in ('backbone', 'critic'):
        chex.assert_trees_all_equal(before[group], after[group])
    assert np.abs(before['head']['kernel'] - after['head']['kernel']).max() > 0
    assert np.abs(before['centers'].target - after['centers'].target).max() > 0


def test_phases_run_in_order_each_on_the_parameters_of_the_one_before(harness, batch, monkeypatch):
    def loss(params, outputs, context):
        total = jnp.sum(params['head']['bias'])
        return total, ({'bias': total, 'first': params['head']['bias'][0]}, ())

    phase = Phase(loss, ('head',))
    twice = Method(init=lambda key, dim, classes: {}, phases=(phase, phase), uses_target=False)
    monkeypatch.setattr(methods, 'create', lambda name, **_: twice)
    plain = {'momentum': 0.0, 'nesterov': False, 'weight_decay': 0.0, 'learning_rate': 0.5}
    made = harness(method='twice', optimizer=plain, averaged=False, **PLAIN)
    (metrics,) = made.run(batch, 1)
    assert metrics['first'] == pytest.approx(-0.5)  # as the second phase sees it
    np.testing.assert_allclose(made.state.params['head']['bias'], [-1.0] * 7)
    assert metrics['gradient_norm'] == pytest.approx(2 * np.sqrt(7), rel=1e-6)


STILL = {'learning_rate': 0.0}  # the same parameters at each step: what differs is drawn


def test_each_step_draws_anew(harness, batch):
    made = harness(method='source_only', optimizer=STILL)
    key = host(jax.random.key_data(made.state.key))
    one, two = (made.run(batch, 1)[0]['loss'] for _ in range(2))
    assert one != two
    np.testing.assert_array_equal(key, jax.random.key_data(made.state.key))


def drawing(name):
    """A phase that reports a number drawn with the key it is given."""

    def loss(params, outputs, context):
        drawn = jax.random.uniform(context.key)
        return 0.0 * jnp.sum(params['head']['bias']), ({name: drawn, f'{name}^2': drawn**2}, ())

    return Phase(loss, ('head',))


def test_each_phase_and_each_micro_batch_draws_anew(harness, batch, monkeypatch):
    phases = (drawing('first'), drawing('second'))
    method = Method(init=lambda key, dim, classes: {}, phases=phases, uses_target=False)
    monkeypatch.setattr(methods, 'create', lambda name, **_: method)
    (found,) = harness(method='drawing', averaged=False, **PLAIN).run(batch, 1)
    assert found['first'] != found['second']
    assert found['first^2'] == pytest.approx(found['first'] ** 2)
    made = harness(method='drawing', averaged=False, accumulate=2, **PLAIN)
    (found,) = made.run(batch, 1)
    assert found['first^2'] > 1.0001 * found['first'] ** 2  # the mean of two that differ


def test_source_and_target_are_augmented_by_themselves(probe, batch):
    made = probe([], recipe='standard', optimizer=STILL)
    (same,) = made.run({**batch, 'image_t': batch['image_s']}, 1)
    assert same['source_logits'] != pytest.approx(same['target_logits'], rel=1e-3)


def test_source_images_are_matched_to_the_target_images_of_their_places(harness, batch):
    made = harness(method='dmsrl', **PLAIN)
    black = lambda key, source, target, places: 0.0 * source
    swapped = lambda key, source, target, places: target
    for match, source in ((None, 'image_s'), (swapped, 'image_t'), (black, None)):
        settings = dataclasses.replace(made.settings, match=match)
        views = lambda batch: step.augmented(jax.random.key(0), batch, settings)  # noqa: B023
        shards = jax.sharding.PartitionSpec(step.AXIS)
        mesh = jax.make_mesh((2,), (step.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
        mapped = jax.shard_map(views, mesh=mesh, in_specs=(shards,), out_specs=shards)
        found_s, found_t = jax.jit(mapped)(batch)
        expected = batch[source] / 255 if source else np.zeros_like(found_s)
        np.testing.assert_allclose(found_s, expected, atol=1e-6)
        np.testing.assert_allclose(found_t, batch['image_t'] / 255, atol=1e-6)


def test_which_images_are_matched_is_drawn_apart_from_their_augmentation(harness, batch):
    made, keys = harness(method='dmsrl', **PLAIN), {}

    def noted(name):
        def view(key, images, *_):
            keys[name] = jax.random.key_data(key)
            return images / 255.0

        return view

    views = {name: noted(name) for name in ('augment_s', 'augment_t', 'match')}
    settings = dataclasses.replace(made.settings, **views)
    with jax.disable_jit():
        jax.vmap(
            lambda part: step.augmented(jax.random.key(0), part, settings), axis_name=step.AXIS
        )(jax.tree.map(lambda x: x[None], batch))
    assert len({tuple(np.asarray(key).tolist()) for key in keys.values()}) == 3


def test_metrics_of_micro_batches_are_their_mean(probe, batch):
    (metrics,) = probe([], accumulate=4).run(batch, 1)
    assert metrics['n'] == 1.0


def test_evaluation_uses_the_statistics_of_the_domain(harness, batch):
    made = harness(method='source_only', **PLAIN)
    made.run(batch, 3)
    stats = jax.tree.map(lambda x: x.at[0].add(1.0), host_arrays(made.state.batch_stats))
    variables = {'params': state.model_params(made.state.params), 'batch_stats': stats}
    images = {'image': jnp.asarray(batch['image_s'])}
    forward = partial(step.eval_step, model=made.model, plain=made.settings.plain)
    logits = [
        jax.jit(partial(forward, domain=domain))(variables, images)['logits'] for domain in (0, 1)
    ]
    apply = jax.jit(partial(made.model.apply, domain=1))
    expected = apply(variables, images['image'] / 255.0)['logits']
    np.testing.assert_allclose(logits[1], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def host_arrays(tree):
    return jax.tree.map(jnp.asarray, host(tree))

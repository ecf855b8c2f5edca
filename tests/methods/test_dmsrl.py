"""The DMSRL loss against one put together by hand, module by module, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax import losses, methods
from dmsrl_jax.errors import InputError
from dmsrl_jax.methods import pseudo_labels
from dmsrl_jax.methods.base import Context
from dmsrl_jax.models import critics
from experiments.configs import release

C, D, B = 7, 5, 8
KEY = jax.random.key(3)
RELEASE = dict(release.get_config('a,b').dmsrl)
SCRATCH = {
    'alpha': 0.3,
    'beta': 0.2,
    'margin': 1.5,
    'cross_weight': 0.1,
    'center_scale': 0.5,
    'normalize': True,
    'centers_follow': True,
    'mutual_information': 'mine',
    'reversal_steps': 0,
    'pseudo_label': 'threshold',
    'threshold': 0.4,
    'alignment': 0.0,
    'teacher': True,
}


def ramp(p):
    return 2 / (1 + np.exp(-10 * max(p, 0))) - 1


def make(**options):
    """A method with its parameters and random outputs of a network."""
    method = methods.create('dmsrl', **{**SCRATCH, 'hidden': 4, **options})
    keys = iter(jax.random.split(jax.random.key(1), 8))
    outputs = {
        domain: {
            'logits': 2 * jax.random.normal(next(keys), (B, C)),
            'features': jax.random.normal(next(keys), (B, D)),
        }
        for domain in ('source', 'target', 'teacher')
    }
    return method, method.init(next(keys), D, C), outputs


def context(method, *, progress=0.5, step=1):
    return Context(
        labels_s=jnp.arange(B) % C,
        progress=jnp.asarray(progress),
        step=jnp.asarray(step),
        key=KEY,
        state=method.init_state(C),
    )


def unit(x, options):
    return x / np.linalg.norm(x, axis=-1, keepdims=True) if options['normalize'] else x


def by_hand(params, outputs, seen, options):
    """Classification, margin and mutual information, each from the functions of `losses`."""
    source, target = outputs['source'], outputs['target']
    log_p = jax.nn.log_softmax(source['logits'])
    classification = -np.mean([log_p[i, y] for i, y in enumerate(seen.labels_s)])
    judge = outputs['teacher' if options['teacher'] else 'target']
    top = jax.nn.softmax(judge['logits'])
    rule = pseudo_labels.create(options['pseudo_label'], threshold=options['threshold'])
    pseudo = rule(
        top, unit(judge['features'], options), params['centers'].target, seen.state['pseudo_labels']
    )
    margin, _ = losses.margin_metric_loss(
        unit(source['features'], options),
        seen.labels_s,
        unit(target['features'], options),
        pseudo.labels,
        params['centers'],
        margin=options['margin'],
        cross_weight=options['cross_weight'],
        weights_t=pseudo.weights,
    )
    weight = ramp(float(seen.progress))
    information = information_by_hand(params, source, target, options)
    margin_weight = 1.0 if options['centers_follow'] else weight
    total = classification + options['alpha'] * margin_weight * margin
    return total - options['beta'] * information, classification, margin, information


def information_by_hand(params, source, target, options):
    """What the critic says about the domains; minus it is its loss, up to ln 2."""
    features = jnp.concatenate([source['features'], target['features']])
    if options['mutual_information'] == 'adversarial':
        logits = critics.DomainCritic(4).apply(
            {'params': params['critic']}, features, train=True, rngs={'dropout': KEY}
        )
        return -losses.domain_adversarial_loss(logits[:B], logits[B:])
    network = critics.StatisticsNetwork(4)
    score = lambda f, d: network.apply({'params': params['critic']}, f, jnp.tile(d, (len(f), 1)))
    one, other = jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])
    joint = jnp.concatenate([score(features[:B], one), score(features[B:], other)])
    marginal = jnp.concatenate([score(features, one), score(features, other)])
    return losses.mutual_information_bound(joint, marginal, bound='dv')


@pytest.mark.parametrize(
    'options',
    [
        SCRATCH,
        {**methods.options('dmsrl'), **RELEASE},
        methods.options('dmsrl'),
        {**SCRATCH, 'teacher': False, 'normalize': False},
        {**SCRATCH, 'pseudo_label': 'nearest_center'},
    ],
    ids=['scratch', 'release', 'defaults', 'own labels', 'nearest centre'],
)
@pytest.mark.parametrize('progress', [0.1, 0.6])
def test_the_loss_is_the_sum_of_its_modules(options, progress):
    options = {**options, 'hidden': 4}
    method, params, outputs = make(**options)
    seen = context(method, progress=progress)
    loss, (metrics, _) = method.phases[0].loss(params, outputs, seen)
    total, classification, margin, information = by_hand(params, outputs, seen, options)
    assert float(loss) == pytest.approx(float(total), rel=1e-5)
    assert float(metrics['classification']) == pytest.approx(float(classification), rel=1e-5)
    assert float(metrics['margin']) == pytest.approx(float(margin), rel=1e-5)
    nats = information + (np.log(2) if options['mutual_information'] == 'adversarial' else 0)
    assert float(metrics['mutual_information']) == pytest.approx(float(nats), abs=1e-5)


def test_the_defaults_are_those_that_the_results_were_measured_with():
    assert methods.options('dmsrl') == {
        'use_margin': True, 'mutual_information': 'mine', 'alpha': 2.0, 'beta': 0.1, 'margin': 1.0,
        'cross_weight': 10.0, 'centers': 'separate', 'center_scale': 0.1, 'normalize': True,
        'centers_follow': True, 'hidden': 512, 'ema_rate': 0.01, 'reversal_steps': 0,
        'pseudo_label': 'threshold', 'threshold': 0.9, 'alignment': 0.5, 'teacher': True,
    }  # fmt: skip


def test_common_centers():
    method, params, outputs = make(centers='common', mutual_information='none')
    assert params['centers'].shape == (C, D)
    seen = context(method)
    loss, (metrics, _) = method.phases[0].loss(params, outputs, seen)
    pseudo = method.pseudo_labels(params, outputs, method.init_state(C))
    margin, terms = losses.common_margin_metric_loss(
        unit(outputs['source']['features'], SCRATCH),
        seen.labels_s,
        unit(outputs['target']['features'], SCRATCH),
        pseudo.labels,
        params['centers'],
        margin=1.5,
        weights_t=pseudo.weights,
    )
    assert float(loss) == pytest.approx(float(metrics['classification'] + 0.3 * margin), rel=1e-5)
    for name, value in terms.items():
        assert float(metrics[name]) == pytest.approx(float(value), rel=1e-5), name


@pytest.mark.parametrize(
    ('options', 'groups', 'absent'),
    [
        ({}, {'centers', 'critic'}, set()),
        ({'use_margin': False}, {'critic'}, {'margin', 'coverage', 'intra_s', 'cross'}),
        ({'mutual_information': 'none'}, {'centers'}, {'mutual_information'}),
        (
            {'use_margin': False, 'mutual_information': 'none'},
            set(),
            {'margin', 'mutual_information'},
        ),
    ],
)
def test_a_module_switched_off_leaves_no_trace(options, groups, absent):
    method, params, outputs = make(**options)
    assert set(params) == groups
    assert set(method.phases[0].groups) == {'backbone', 'head', *groups}
    loss, (metrics, _) = method.phases[0].loss(params, outputs, context(method))
    assert not absent & set(metrics)
    assert (method.pseudo_labels is None) == ('centers' not in groups)
    assert method.uses_teacher == ('centers' in groups)
    if not groups:
        assert float(loss) == float(metrics['classification'])


def gradients(progress, **options):
    """Gradients of parameters and outputs, the classification loss taken away."""
    method, params, outputs = make(**options)

    def loss(params, outputs):
        loss, (metrics, _) = method.phases[0].loss(
            params, outputs, context(method, progress=progress)
        )
        return loss - metrics['classification']

    return jax.grad(loss, argnums=(0, 1))(params, outputs)


def test_before_the_ramp_opens_features_feel_nothing_and_centers_learn():
    early, outputs = gradients(0.0, mutual_information='none')
    assert not any(jnp.any(g) for g in jax.tree.leaves(outputs))
    late, outputs = gradients(0.9, mutual_information='none')
    assert jnp.abs(early['centers'].source).max() > 1e-3
    np.testing.assert_allclose(early['centers'].source, late['centers'].source, rtol=1e-6)
    np.testing.assert_allclose(early['centers'].target, late['centers'].target, rtol=1e-6)
    assert jnp.abs(outputs['target']['features']).max() > 1e-4


def test_features_feel_the_margin_times_the_ramp():
    _, half = gradients(0.1, mutual_information='none')
    _, full = gradients(1.0, mutual_information='none')
    ratio = ramp(0.1) / ramp(1.0)
    for domain in ('source', 'target'):
        np.testing.assert_allclose(
            half[domain]['features'], ratio * full[domain]['features'], rtol=1e-4, atol=1e-8
        )


@pytest.mark.parametrize('centers_follow', [True, False])
def test_target_features_feel_the_mean_over_what_counts(centers_follow):
    options = {
        'mutual_information': 'none',
        'normalize': False,
        'centers_follow': centers_follow,
    }
    _, feel = gradients(0.1, **options)
    method, params, outputs = make(**options)
    pseudo = method.pseudo_labels(params, outputs, method.init_state(C))
    assert 0 < float(pseudo.weights.sum()) < B
    distance = outputs['target']['features'] - params['centers'].target[pseudo.labels]
    weights = pseudo.weights / pseudo.weights.sum()
    np.testing.assert_allclose(
        feel['target']['features'],
        SCRATCH['alpha'] * ramp(0.1) * weights[:, None] * distance,
        rtol=1e-4,
    )


def test_centers_that_do_not_follow_wait_for_the_ramp():
    params, outputs = gradients(0.0, mutual_information='none', centers_follow=False)
    assert not any(jnp.any(g) for g in jax.tree.leaves((params, outputs)))
    half, _ = gradients(0.1, mutual_information='none', centers_follow=False)
    follow, _ = gradients(0.1, mutual_information='none')
    np.testing.assert_allclose(
        half['centers'].target, ramp(0.1) * follow['centers'].target, rtol=1e-4, atol=1e-8
    )


@pytest.mark.parametrize('teacher', [True, False])
def test_no_gradient_through_pseudo_labels(teacher):
    _, outputs = gradients(0.9, teacher=teacher)
    assert not jnp.any(outputs['target']['logits'])
    assert not jnp.any(outputs['teacher']['logits'])
    assert not jnp.any(outputs['teacher']['features'])


@pytest.mark.parametrize('kind', ['mine', 'adversarial'])
def test_the_critic_learns_and_the_features_are_pushed_the_other_way(kind):
    options = {'use_margin': False, 'mutual_information': kind, 'beta': 1.0}
    half, seen_half = gradients(0.1, **options)
    full, seen_full = gradients(1.0, **options)
    # The critic's gradient does not know the ramp, the features' is proportional to it.
    for one, other in zip(*map(jax.tree.leaves, (half, full)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    ratio = ramp(0.1) / ramp(1.0)
    feel = seen_full['source']['features']
    assert jnp.abs(feel).max() > 1e-4
    np.testing.assert_allclose(seen_half['source']['features'], ratio * feel, rtol=1e-4, atol=1e-8)
    # Against the reversed gradient the critic's own loss rises.
    method, params, outputs = make(**options)
    loss = lambda o: method.phases[0].loss(params, o, context(method, progress=1.0))[0]
    moved = jax.tree.map(lambda x: x, outputs)
    moved['source']['features'] = outputs['source']['features'] - 0.05 * feel
    assert float(loss(moved)) > float(loss(outputs))


def test_the_releases_reversal_counts_steps():
    options = {'use_margin': False, 'mutual_information': 'adversarial', 'reversal_steps': 10_000}
    method, params, outputs = make(**options)

    def feel(step):
        loss = lambda o: method.phases[0].loss(params, o, context(method, step=step))[0]
        return jax.grad(loss)(outputs)['target']['features']

    np.testing.assert_allclose(feel(1000), ramp(0.1) / ramp(0.5) * feel(5000), rtol=1e-4, atol=1e-9)
    assert jnp.abs(feel(1)).max() > 0  # n counts this step: the first is not zero


def test_state_carries_mines_average_and_the_labellers_confidence():
    method, params, outputs = make(pseudo_label='balanced', ema_rate=0.5)
    first, second = context(method), None
    _, (_, state) = method.phases[0].loss(params, outputs, first)
    assert float(state['mine_average']) > 0
    assert jnp.any(state['pseudo_labels'] != first.state['pseudo_labels'])
    params = {**params, 'critic': jax.tree.map(lambda x: 2 * x, params['critic'])}
    _, (_, second) = method.phases[0].loss(params, outputs, first._replace(state=state))
    _, (_, alone) = method.phases[0].loss(params, outputs, first)
    mean = (float(state['mine_average']) + float(alone['mine_average'])) / 2
    assert float(second['mine_average']) == pytest.approx(mean, rel=1e-5)


def test_state_carries_the_class_shares_of_both_domains():
    method, params, outputs = make()
    first = context(method)
    _, (_, state) = method.phases[0].loss(params, outputs, first)
    labels = np.bincount(first.labels_s, minlength=C) / B
    predicted = jax.nn.softmax(outputs['teacher']['logits']).mean(axis=0)
    np.testing.assert_allclose(state['shares_s'], 0.98 / C + 0.02 * labels, rtol=1e-6)
    np.testing.assert_allclose(state['shares_t'], 0.98 / C + 0.02 * predicted, rtol=1e-5)


@pytest.mark.parametrize(('alignment', 'label'), [(0.0, 0), (1.0, 1)])
def test_alignment_lifts_a_class_that_is_seen_too_seldom(alignment, label):
    method, params, outputs = make(alignment=alignment, threshold=0.0)
    close = jnp.log(jnp.array([[0.5, 0.4, 0.02, 0.02, 0.02, 0.02, 0.02]]))
    outputs['teacher'] = {'logits': close, 'features': jnp.ones((1, D))}
    shares_t = jnp.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    state = {**method.init_state(C), 'shares_t': shares_t}
    assert method.pseudo_labels(params, outputs, state).labels.tolist() == [label]


def test_alignment_is_by_the_shares_after_this_batch(monkeypatch):
    seen, aligned = [], pseudo_labels.aligned

    def spy(probabilities, predicted, expected, **options):
        seen.append({'shares_t': predicted, 'shares_s': expected})
        return aligned(probabilities, predicted, expected, **options)

    monkeypatch.setattr(pseudo_labels, 'aligned', spy)
    method, params, outputs = make(alignment=0.5)
    _, (_, state) = method.phases[0].loss(params, outputs, context(method))
    for name, shares in seen[0].items():
        np.testing.assert_array_equal(shares, state[name])
        assert np.ptp(shares) > 1e-3


def test_alignment_out_of_range():
    with pytest.raises(InputError, match=r'dmsrl.alignment must be in \[0, 1\], got 1.5'):
        make(alignment=1.5)


def test_coverage_is_the_share_that_counts():
    method, params, outputs = make(threshold=0.4)
    _, (metrics, _) = method.phases[0].loss(params, outputs, context(method))
    top = jax.nn.softmax(outputs['teacher']['logits']).max(axis=1)
    assert 0 < float((top >= 0.4).mean()) < 1
    assert float(metrics['coverage']) == pytest.approx(float((top >= 0.4).mean()))


def test_dead_features_have_finite_gradients():
    method, params, outputs = make()
    outputs['target']['features'] = jnp.zeros((B, D))
    loss = lambda o: method.phases[0].loss(params, o, context(method, progress=1.0))[0]
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(jax.grad(loss)(outputs)))

"""The evaluator, on a network that says what its parameters and the images tell it to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dmsrl_jax.data import reading
from dmsrl_jax.methods.base import Method, PseudoLabels
from dmsrl_jax.training import evaluator, state

CLASSES = 7


class Reader:
    """Reads a class off each image; off by the domain's shift, as sure as the domain is.

    A third of the images (those whose second channel is 0) are read as one class further.
    """

    def apply(self, variables, images, *, train, domain):
        assert not train
        stats, params = variables['batch_stats'], variables['params']
        shift = stats['shift'][domain] + params['backbone'] + (images[:, 0, 0, 1] == 0)
        told = (images[:, 0, 0, 0].astype(jnp.int32) + shift.astype(jnp.int32)) % CLASSES
        logits = stats['sure'][domain] * jax.nn.one_hot(told, CLASSES)
        return {'logits': logits, 'features': logits}


@pytest.fixture(scope='module', params=[1, 4])
def made(request):
    return evaluator.Evaluator(
        Reader(),
        lambda key, images, positions: images.astype(jnp.float32),
        jax.devices()[: request.param],
        num_classes=CLASSES,
        batch_size=8,
        image_size=2,
    )


@pytest.fixture(scope='module')
def corpus():
    """21 images, so that the last batch of 8 is short."""
    labels = np.arange(21, dtype=np.int32) % CLASSES
    pixels = np.zeros((21, 2, 2, 3), np.uint8)
    pixels[..., 0] = labels[:, None, None]
    pixels[..., 1] = (np.arange(21) % 3)[:, None, None]
    return reading.Decoded(pixels, labels)


def variables(shift=(0, 0), sure=(9.0, 9.0), params=0):
    stats = {'shift': jnp.array(shift), 'sure': jnp.array(sure)}
    return {'params': {'backbone': jnp.array(params), 'head': jnp.array(0)}, 'batch_stats': stats}


def test_scores_are_of_the_domain_that_is_asked_for(made, corpus):
    found = {
        domain: made.score(variables(shift=(0, 1)), corpus, domain=domain)
        for domain in ('source', 'target')
    }
    assert [found[d]['count'] for d in found] == [21, 21]
    assert found['source']['accuracy'] == pytest.approx(14 / 21)
    assert found['target']['accuracy'] == 0
    # Of the target's 21, 14 are read one class further and 7 two classes.
    confusion = np.array(found['target']['confusion'])
    assert [np.trace(np.roll(confusion, -by, axis=1)) for by in (1, 2)] == [14, 7]


def test_batches_are_rounded_up_to_the_devices(corpus):
    made = evaluator.Evaluator(
        Reader(), None, jax.devices()[:4], num_classes=CLASSES, batch_size=6, image_size=2
    )
    assert [len(batch['image']) for batch in made._batches(corpus)] == [8, 8, 8]


def test_criteria_use_the_targets_statistics(made, corpus):
    sure = made.criteria(variables(sure=(0.0, 50.0)), corpus)
    unsure = made.criteria(variables(sure=(50.0, 0.0)), corpus)
    assert sure['entropy'] == pytest.approx(0.0, abs=1e-6)
    assert unsure['entropy'] == pytest.approx(np.log(CLASSES), rel=1e-5)


@pytest.mark.parametrize(('teacher', 'labelled'), [(False, True), (True, True), (True, False)])
def test_pseudo_labels_are_counted_where_they_count(made, corpus, teacher, labelled):
    def pseudo_labels(params, outputs, method_state):
        assert set(outputs) == ({'target', 'teacher'} if teacher else {'target'})
        labels = jnp.argmax(outputs['teacher' if teacher else 'target']['logits'], axis=-1)
        return PseudoLabels(labels, (labels < method_state).astype(jnp.float32), ())

    method = Method(init=None, phases=(), uses_teacher=teacher, pseudo_labels=pseudo_labels)
    # The network in training is one class further than its average, the source's statistics two.
    found = variables(shift=(2, 0), params=1 if teacher else 0)
    told = state.TrainState(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key(0),
        params=found['params'],
        batch_stats=found['batch_stats'],
        opt_state={},
        method_state=jnp.array(4),
        average=variables()['params'],
    )
    images = corpus if labelled else reading.Decoded(corpus.image, None)
    says = (corpus.label + (np.arange(21) % 3 == 0)) % CLASSES
    right = says == corpus.label
    counts = made.pseudo_labels(told, method, images)
    assert counts['coverage'] == pytest.approx((says < 4).mean())
    expected = right[says < 4].mean() if labelled else None
    assert counts['accuracy'] == (pytest.approx(expected) if labelled else None)

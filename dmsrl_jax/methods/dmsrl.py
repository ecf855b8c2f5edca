"""DMSRL: margin metric learning and mutual-information minimisation on multi-level features.

    L = CE(source) + alpha * w(p) * L_margin + beta * L_mi

L_margin pulls samples to trainable class centres, holds centres of different classes apart and
brings the centres of the two domains together; target samples use pseudo labels. L_mi makes
features uninformative of their domain. The third module, multi-level features, is the model's
(`local=True`).

Reference:
    Li et al., Deep Margin-Sensitive Representation Learning for Cross-Domain Facial Expression
    Recognition, IEEE Trans. Multimedia 25, 2023, doi:10.1109/TMM.2022.3141604.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from dmsrl_jax import losses
from dmsrl_jax.errors import InputError
from dmsrl_jax.methods import pseudo_labels as rules
from dmsrl_jax.methods.base import (
    MODEL_GROUPS,
    Context,
    Method,
    Outputs,
    Params,
    Phase,
    PseudoLabels,
    cross_entropy,
    ramp,
)
from dmsrl_jax.models import critics

_CHOICES = {
    'centers': ('separate', 'common'),
    'mutual_information': ('mine', 'adversarial', 'none'),
    'pseudo_label': rules.RULES,
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of DMSRL. The defaults train from scratch; the release's values stand in brackets.

    Attributes:
        use_margin: the margin module.
        mutual_information: `mine`, `adversarial`, or `none` to leave the module out [adversarial].
        alpha: weight of the margin loss [0.01].
        beta: weight of the mutual-information loss [0.01]. It makes the domains alike, class shares
            included: 1 suits domains that show each expression equally often, 0.1 any others.
        margin: M of the margin loss, in squared feature units [100].
        cross_weight: lambda of the margin loss [0.01]. A large one keeps the target's centres near
            the source's: they do not run after a few sure samples, most of them smiles. A small one
            suits domains that show each expression equally often.
        centers: `separate` per domain [separate] or `common` to both.
        center_scale: standard deviation of the centres at the start [1].
        normalize: whether features enter the margin loss with unit length [False].
        centers_follow: whether centres learn at full weight from the first step of adaptation, and
            the ramp weighs what the features feel of them alone [False].
        hidden: width of the critic [512].
        ema_rate: rate of MINE's moving average of E exp T.
        reversal_steps: N of the gradient coefficient `ramp(n / N)`, in steps [10000]; with
            0 the coefficient is w(p), which suits runs of any length.
        pseudo_label: one of `pseudo_labels.RULES` [argmax].
        threshold: confidence that pseudo labels need, for the rules that have a threshold.
        alignment: 0 to 1, how far pseudo labels are corrected towards the class shares of the
            source, see `pseudo_labels.aligned` [0].
        teacher: whether pseudo labels come from averaged parameters on images without augmentation
            [False: from the network in training].
    """

    use_margin: bool = True
    mutual_information: str = 'mine'
    alpha: float = 2.0
    beta: float = 0.1
    margin: float = 1.0
    cross_weight: float = 10.0
    centers: str = 'separate'
    center_scale: float = 0.1
    normalize: bool = True
    centers_follow: bool = True
    hidden: int = 512
    ema_rate: float = 0.01
    reversal_steps: int = 0
    pseudo_label: str = 'threshold'
    threshold: float = 0.9
    alignment: float = 0.5
    teacher: bool = True

    def __post_init__(self) -> None:
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise InputError(
                    f'dmsrl.{field} must be one of {", ".join(choices)}, '
                    f'got {getattr(self, field)!r}'
                )
        for field in ('alpha', 'beta', 'margin', 'cross_weight', 'center_scale', 'reversal_steps'):
            if not 0 <= getattr(self, field) < math.inf:
                raise InputError(f'dmsrl.{field} must be >= 0, got {getattr(self, field)}')
        if not 0 < self.ema_rate <= 1:
            raise InputError(f'dmsrl.ema_rate must be in (0, 1], got {self.ema_rate}')
        if self.hidden < 1:
            raise InputError(f'dmsrl.hidden must be at least 1, got {self.hidden}')
        rules.create(self.pseudo_label, threshold=self.threshold)  # refuses a bad threshold
        if not 0 <= self.alignment <= 1:
            raise InputError(f'dmsrl.alignment must be in [0, 1], got {self.alignment}')
        if self.pseudo_label == 'nearest_center' and not self.use_margin:
            raise InputError('dmsrl.pseudo_label=nearest_center needs dmsrl.use_margin=True')


def create(options: Options) -> Method:
    """Makes the method.

    Args:
        options: see `Options`.

    Returns:
        A method of one phase, with parameter groups `centers` and `critic` where the modules that
        own them are on.
    """
    has_critic = options.mutual_information != 'none'
    groups = MODEL_GROUPS + ('centers',) * options.use_margin + ('critic',) * has_critic
    return Method(
        init=lambda key, feature_dim, num_classes: _init(key, feature_dim, num_classes, options),
        phases=(Phase(lambda p, o, c: _loss(p, o, c, options), groups),),
        uses_teacher=options.teacher and options.use_margin,
        init_state=lambda num_classes: {
            'pseudo_labels': rules.init_state(num_classes),
            'mine_average': jnp.zeros((), jnp.float32),
            'shares_s': rules.init_state(num_classes),
            'shares_t': rules.init_state(num_classes),
        },
        pseudo_labels=(lambda p, o, s: _pseudo_labels(p, o, s, options))
        if options.use_margin
        else None,
        shown=('margin', 'mutual_information', 'coverage'),
    )


def _init(key: jax.Array, feature_dim: int, num_classes: int, options: Options) -> Params:
    key_centers, key_critic = jax.random.split(key)
    params: Params = {}
    if options.use_margin:
        centers = losses.init_centers(
            key_centers, num_classes, feature_dim, scale=options.center_scale
        )
        params['centers'] = centers if options.centers == 'separate' else centers.source
    if options.mutual_information == 'mine':
        network = critics.StatisticsNetwork(options.hidden)
        dummy = (jnp.zeros((1, feature_dim)), jnp.zeros((1, 2)))
        params['critic'] = network.init(key_critic, *dummy)['params']
    elif options.mutual_information == 'adversarial':
        adversary = critics.DomainCritic(options.hidden)
        params['critic'] = adversary.init(key_critic, jnp.zeros((1, feature_dim)))['params']
    return params


def _loss(
    params: Params, outputs: Outputs, context: Context, options: Options
) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
    state = dict(context.state)
    loss = cross_entropy(outputs['source']['logits'], context.labels_s)
    metrics = {'classification': loss}
    weight = ramp(context.progress)
    if options.use_margin:
        state |= _class_shares(outputs, context, options)
        pseudo = _pseudo_labels(params, outputs, state, options)
        state['pseudo_labels'] = pseudo.state
        margin, terms = _margin(params, outputs, context, pseudo, weight, options)
        loss = loss + options.alpha * margin
        coverage = jnp.mean((pseudo.weights > 0).astype(jnp.float32))
        metrics |= {'coverage': coverage, **terms}
    if options.mutual_information != 'none':
        steps = options.reversal_steps
        scale = ramp(context.step / steps) if steps else weight
        critic_loss, information, average = _mutual_information(
            params, outputs, context, scale, options
        )
        state['mine_average'] = average
        loss = loss + options.beta * critic_loss
        metrics['mutual_information'] = information
    return loss, (metrics, state)


def _margin(
    params: Params,
    outputs: Outputs,
    context: Context,
    pseudo: PseudoLabels,
    weight: jax.Array,
    options: Options,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The margin loss with its ramp, on the whole loss or on the features' gradient alone."""
    pull = weight if options.centers_follow else 1.0
    # Minus the scale: a reversal with a negative one scales the gradient without turning it.
    features_s, features_t = (
        losses.gradient_reversal(_scaled(outputs[d]['features'], options), -pull)
        for d in ('source', 'target')
    )
    common = {'margin': options.margin, 'weights_t': pseudo.weights}
    if options.centers == 'common':
        loss, terms = losses.common_margin_metric_loss(
            features_s, context.labels_s, features_t, pseudo.labels, params['centers'], **common
        )
    else:
        loss, terms = losses.margin_metric_loss(
            features_s,
            context.labels_s,
            features_t,
            pseudo.labels,
            params['centers'],
            cross_weight=options.cross_weight,
            **common,
        )
    weighted = loss if options.centers_follow else weight * loss
    return weighted, {'margin': loss, **terms}


def _mutual_information(
    params: Params, outputs: Outputs, context: Context, scale: jax.Array, options: Options
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The critic's loss behind a gradient reversal, the information in nats, MINE's average."""
    features_s, features_t = (
        losses.gradient_reversal(outputs[d]['features'], scale) for d in ('source', 'target')
    )
    average = context.state['mine_average']
    if options.mutual_information == 'adversarial':
        critic = critics.DomainCritic(options.hidden)
        logits = critic.apply(
            {'params': params['critic']},
            jnp.concatenate([features_s, features_t]),
            train=True,
            rngs={'dropout': context.key},
        )
        loss = losses.domain_adversarial_loss(*jnp.split(logits, 2))
        return loss, jnp.log(2.0) - loss, average
    network = critics.StatisticsNetwork(options.hidden)
    score = lambda f, d: network.apply({'params': params['critic']}, f, d)
    joint, marginal = losses.domain_scores(score, features_s, features_t)
    loss, (information, average) = losses.mine_loss(joint, marginal, average, rate=options.ema_rate)
    return loss, information, average


def _class_shares(outputs: Outputs, context: Context, options: Options) -> dict[str, jax.Array]:
    """Running class shares: source by its labels, target by the (uncorrected) predictions."""
    predicted = outputs['teacher' if options.teacher else 'target']['logits']
    means = {
        'shares_s': jax.nn.one_hot(context.labels_s, predicted.shape[-1]),
        'shares_t': jax.nn.softmax(predicted.astype(jnp.float32)),
    }
    return {
        name: 0.98 * context.state[name] + 0.02 * jax.lax.stop_gradient(jnp.mean(rows, axis=0))
        for name, rows in means.items()
    }


def _pseudo_labels(params: Params, outputs: Outputs, state: Any, options: Options) -> PseudoLabels:
    predicted = outputs['teacher' if options.teacher else 'target']
    centers = params['centers']
    rule = rules.create(options.pseudo_label, threshold=options.threshold)
    probabilities = rules.aligned(
        jax.nn.softmax(predicted['logits'].astype(jnp.float32)),
        state['shares_t'],
        state['shares_s'],
        strength=options.alignment,
    )
    return rule(
        probabilities,
        _scaled(predicted['features'], options),
        centers if options.centers == 'common' else centers.target,
        state['pseudo_labels'],
    )


def _scaled(features: jax.Array, options: Options) -> jax.Array:
    if not options.normalize:
        return features
    # The epsilon sits inside the root: the gradient at a dead (all-zero) feature stays finite.
    return features * jax.lax.rsqrt(jnp.sum(jnp.square(features), axis=-1, keepdims=True) + 1e-12)

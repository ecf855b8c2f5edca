"""Training on labelled source faces alone: the baseline that adaptation has to beat."""

import dataclasses

import jax

from dmsrl_jax.methods.base import Context, Method, Outputs, Params, Phase, cross_entropy


@dataclasses.dataclass(frozen=True)
class Options:
    """There are none."""


def create(options: Options) -> Method:
    """Makes the method `L = CE(source)`; target images are not looked at."""
    del options
    return Method(
        init=lambda key, feature_dim, num_classes: {},
        phases=(Phase(_loss, ('backbone', 'head')),),
        uses_target=False,
    )


def _loss(
    params: Params, outputs: Outputs, context: Context
) -> tuple[jax.Array, tuple[dict[str, jax.Array], tuple]]:
    del params
    loss = cross_entropy(outputs['source']['logits'], context.labels_s)
    return loss, ({'classification': loss}, ())

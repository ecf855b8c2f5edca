"""Training on labelled source faces alone: the baseline that adaptation has to beat."""

import dataclasses

from dmsrl_jax.methods.base import SOURCE_PHASE, Method


@dataclasses.dataclass(frozen=True)
class Options:
    """There are none."""


def create(options: Options) -> Method:
    """Makes the method `L = CE(source)`; target images are not looked at."""
    del options
    return Method(
        init=lambda key, feature_dim, num_classes: {}, phases=(SOURCE_PHASE,), uses_target=False
    )

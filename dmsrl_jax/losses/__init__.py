"""Losses: pure functions of arrays. They import nothing else of this library but its errors."""

from dmsrl_jax.losses.adversarial import domain_adversarial_loss, gradient_reversal
from dmsrl_jax.losses.classification import cross_entropy
from dmsrl_jax.losses.estimation import MIEstimate, estimate_mutual_information
from dmsrl_jax.losses.margin import (
    ClassCenters,
    common_margin_metric_loss,
    init_centers,
    margin_metric_loss,
)
from dmsrl_jax.losses.mutual_information import (
    BOUNDS,
    barber_agakov_bound,
    club_bound,
    domain_pairs,
    domain_scores,
    infonce_bound,
    jensen_shannon_objective,
    mine_loss,
    mutual_information_bound,
    nwj_loss,
    shuffled_pairs,
)

__all__ = [
    'BOUNDS',
    'ClassCenters',
    'MIEstimate',
    'barber_agakov_bound',
    'club_bound',
    'common_margin_metric_loss',
    'cross_entropy',
    'domain_adversarial_loss',
    'domain_pairs',
    'domain_scores',
    'estimate_mutual_information',
    'gradient_reversal',
    'infonce_bound',
    'init_centers',
    'jensen_shannon_objective',
    'margin_metric_loss',
    'mine_loss',
    'mutual_information_bound',
    'nwj_loss',
    'shuffled_pairs',
]

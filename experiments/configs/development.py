"""The settings that were compared when DMSRL's defaults were chosen, on development pairs.

Command (docs/choices.md has the pairs, the runs that come before, and the figures):
    python experiments/tables.py --config experiments/configs/development.py:SOURCE,TARGET \\
        --config.model.pretrained='runs/dev-source/source_only/seed{seed}' --workdir runs/dev
Time: 21 rows; 42 runs over two seeds take about 25 minutes on two CPU cores.
Expected: on sketch -> studio beta 1 first, alpha 6 last; with other class shares beta 0.1 first
(both measured with `--config.model.statistics=per_domain --config.dmsrl.cross_weight=0.01`).
"""

from ml_collections import ConfigDict

from experiments.configs import ablation, adapt

# alpha, threshold of pseudo labels, beta
_GRID = (
    (6.0, 0.9, 0.1),
    (6.0, 0.7, 0.1),
    (6.0, 0.7, 0.01),
    (2.0, 0.9, 0.1),
    (2.0, 0.9, 0.3),
    (2.0, 0.9, 1.0),
    (2.0, 0.7, 0.1),
    (2.0, 0.7, 0.3),
    (2.0, 0.7, 0.01),
    (1.0, 0.8, 0.1),
)

# One other choice at a time, beside the defaults.
_OTHERS: dict[str, dict[str, float | bool | str]] = {
    'alignment0': {'dmsrl.alignment': 0.0},
    'alignment1': {'dmsrl.alignment': 1.0},
    'no-teacher': {'dmsrl.teacher': False},
    'lengths-kept': {'dmsrl.normalize': False},
    'cross_weight0.01': {'dmsrl.cross_weight': 0.01},
    'cross_weight1': {'dmsrl.cross_weight': 1.0},
    'common-centers': {'dmsrl.centers': 'common'},
    'match0': {'augment.match': 0.0},
}


def get_config(arg: str = '') -> ConfigDict:
    """A short adaptation on `<source>,<target>`."""
    return adapt.get_config(arg)


def rows() -> dict[str, dict]:
    """Without the modules, mutual information alone, the grid, one other choice at a time."""
    plain = {name: ablation.rows()[name] for name in ('source_only', 'statistics', 'mi')}
    grid = {
        f'alpha{alpha:g}-threshold{threshold:g}-beta{beta:g}': {
            'dmsrl.alpha': alpha,
            'dmsrl.threshold': threshold,
            'dmsrl.beta': beta,
        }
        for alpha, threshold, beta in _GRID
    }
    return {**plain, **grid, **_OTHERS}

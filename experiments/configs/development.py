"""The settings that were compared when DMSRL's defaults were chosen, on development pairs.

Command (docs/results.md has the pairs, the runs that come before, and the figures):
    python experiments/tables.py --config experiments/configs/development.py:SOURCE,TARGET \\
        --config.model.pretrained='runs/dev-source/source_only/seed{seed}' --workdir runs/dev
Time: 9 rows; 18 runs over two seeds take about 12 minutes on two CPU cores.
Expected: on sketch -> studio alpha 2 before alpha 6; on the shifted copy nothing beyond the spread.
"""

from ml_collections import ConfigDict

from experiments.configs import ablation, adapt

# alpha, threshold of pseudo labels, beta
_GRID = (
    (6.0, 0.9, 0.1),
    (6.0, 0.7, 0.1),
    (6.0, 0.7, 0.01),
    (2.0, 0.9, 0.1),
    (2.0, 0.7, 0.01),
    (1.0, 0.8, 0.1),
)


def get_config(arg: str = '') -> ConfigDict:
    """A short adaptation on `<source>,<target>`."""
    return adapt.get_config(arg)


def rows() -> dict[str, dict]:
    """Without the modules, with mutual information alone, and the grid."""
    plain = {name: ablation.rows()[name] for name in ('source_only', 'statistics', 'mi')}
    grid = {
        f'alpha{alpha:g}-threshold{threshold:g}-beta{beta:g}': {
            'dmsrl.alpha': alpha,
            'dmsrl.threshold': threshold,
            'dmsrl.beta': beta,
        }
        for alpha, threshold, beta in _GRID
    }
    return {**plain, **grid}

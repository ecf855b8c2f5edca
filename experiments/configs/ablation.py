"""What each module of DMSRL gives, on one pair of domains.

Command (synthetic pair; any prepared pair after the colon):
    python experiments/tables.py --workdir runs/ablation \\
        --config experiments/configs/ablation.py:synthetic_faces/studio,synthetic_faces/wild \\
        --config.dmsrl.beta=1 --config.dmsrl.cross_weight=0.01
Time: 33 runs of three to six minutes on one core each: with `--jobs 2` about an hour and a half.
Expected: the tables of docs/results.md.
"""

from ml_collections import ConfigDict

from experiments.configs import pair, release

_MODULES: dict[str, dict[str, str | bool]] = {
    'source_only': {'method': 'source_only'},
    # Neither module: the target is seen in BatchNorm's statistics and in the source's light.
    'statistics': {'dmsrl.use_margin': False, 'dmsrl.mutual_information': 'none'},
    'margin': {'dmsrl.use_margin': True, 'dmsrl.mutual_information': 'none'},
    'mi': {'dmsrl.use_margin': False, 'dmsrl.mutual_information': 'mine'},
    'dmsrl': {'dmsrl.use_margin': True, 'dmsrl.mutual_information': 'mine'},
}


def get_config(arg: str = 'synthetic_faces/studio,synthetic_faces/wild') -> ConfigDict:
    """The pair's config; rows change it."""
    return pair.get_config(arg)


def rows() -> dict[str, dict]:
    """No module, each and both, with and without multi-level features; the release's constants."""
    levels = {'': {'model.local': True}, '-global': {'model.local': False}}
    modules = {
        f'{name}{suffix}': {**changes, **level}
        for suffix, level in levels.items()
        for name, changes in _MODULES.items()
    }
    constants = {f'dmsrl.{option}': value for option, value in release.DMSRL.items()}
    return {**modules, 'release-constants': constants}

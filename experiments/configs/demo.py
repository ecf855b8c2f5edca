"""The demo: synthetic studio faces, labelled, to synthetic faces in the wild, unlabelled.

Command: make demo
Time: about four minutes for source_only and dmsrl on two CPU cores, after a minute of set-up.
Expected: docs/results.md has both rows over three seeds.
"""

from ml_collections import ConfigDict

from experiments.configs import pair


def get_config() -> ConfigDict:
    """The default recipe, but shorter, and for domains that show every expression equally often."""
    config = pair.get_config('synthetic_faces/studio,synthetic_faces/wild')
    config.length = {'epochs': 20, 'steps': 1000}
    config.dmsrl.update(beta=1.0, cross_weight=0.01)
    return config


def rows() -> dict[str, dict]:
    """Without and with adaptation."""
    return {'source_only': {'method': 'source_only'}, 'dmsrl': {}}

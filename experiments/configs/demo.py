"""The demo: synthetic studio faces, labelled, to synthetic faces in the wild, unlabelled.

Command: make demo
"""

from ml_collections import ConfigDict

from experiments.configs import pair


def get_config() -> ConfigDict:
    """The default recipe, short."""
    return pair.get_config('synthetic_faces/studio,synthetic_faces/wild')


def rows() -> dict[str, dict]:
    """Without and with adaptation."""
    return {'source_only': {'method': 'source_only'}, 'dmsrl': {}}

"""Adapt from one prepared corpus to another with the default recipe.

Command:
    python experiments/train.py --workdir runs/fer2013-image_list \\
        --config experiments/configs/pair.py:fer2013,image_list
Time: on two CPU cores three to four minutes for 1,500 steps of 64 (+ 64) images of 48x48.
Expected: docs/results.md has the pairs that were measured.
"""

from ml_collections import ConfigDict

from dmsrl_jax.errors import InputError
from experiments.configs import common


def get_config(arg: str = '') -> ConfigDict:
    """The default recipe on `<source>,<target>`, for instance `fer2013,synthetic_faces/wild`."""
    if arg.count(',') != 1 or not all(arg.split(',')):
        raise InputError(f'pair.py takes <source>,<target> after a colon, got {arg!r}')
    return common.get_config(arg)

"""Adapt a network that has been trained on source: once per source, then quickly to each target.

Command:
    python experiments/train.py --config experiments/configs/pair.py:fer2013,image_list/mine \\
        --config.method=source_only --workdir runs/source
    python experiments/train.py --config experiments/configs/adapt.py:fer2013,image_list/mine \\
        --config.model.pretrained=runs/source --workdir runs/mine
Time: on two CPU cores about 100 s per 1,000 steps of 64 + 64 images of 48x48, all in adaptation.
Expected: docs/results.md, FER2013 -> web faces, in two stages. With `tables.py` the rows are those
of ablation.py, and `--config.model.pretrained=runs/source/seed{seed}` gives each seed its own.
"""

from ml_collections import ConfigDict

from experiments.configs import ablation, pair


def get_config(arg: str = '') -> ConfigDict:
    """A short run on `<source>,<target>`, in which adaptation begins at once."""
    config = pair.get_config(arg)
    config.model.pretrained = 'runs/source'
    config.length = {'epochs': 5, 'steps': 300}
    config.adapt_from = 0.0
    return config


def rows() -> dict[str, dict]:
    """Those of the ablation: each module and both, with and without multi-level features."""
    return ablation.rows()

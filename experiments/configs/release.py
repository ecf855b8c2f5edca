"""The authors' release, with its constants and its oddities, at full size.

Command (a GPU or TPU; 60 epochs):
    python experiments/train.py --workdir runs/release \\
        --config experiments/configs/release.py:fer2013,image_list \\
        --config.model.pretrained=vgg16_bn.safetensors
Time: not measured here. Expected, from ImageNet weights on RAF-DB 2.0 -> CK+: 81 to 85 % at the
last epoch in an independent rerun (GitHub ykqlg/JDMAN), 88 % at the best epoch by target labels.
Source: the PyTorch code released with JDMAN (ACM MM 2021) and DMSRL (IEEE TMM 2023).
The release starts from ImageNet weights, torchvision's vgg16_bn: pass its .pth file, or turn that
into .safetensors where PyTorch is (experiments/weights.py). From random weights these constants let
the margin term swamp the classifier (docs/choices.md).
"""

from ml_collections import ConfigDict

from dmsrl_jax.training import optimizers
from experiments.configs import pair

DMSRL = {
    'alpha': 0.01,
    'beta': 0.01,
    'margin': 100.0,
    'cross_weight': 0.01,
    'centers': 'separate',
    'center_scale': 1.0,
    'normalize': False,
    'centers_follow': False,
    'mutual_information': 'adversarial',
    'reversal_steps': 10_000,
    'pseudo_label': 'argmax',
    'alignment': 0.0,
    'teacher': False,
}


def get_config(arg: str = '') -> ConfigDict:
    """The release on `<source>,<target>`."""
    config = pair.get_config(arg)
    config.dmsrl.update(DMSRL)
    config.model.update(name='vgg16_multilevel', statistics='shared', dropout=0.5)
    config.image_size = 224
    config.epochs = 60
    config.adapt_from = 0.0
    config.average = False
    config.optimizer.update({**optimizers.DEFAULTS, 'schedule': 'step'})
    config.optimizer.groups = {
        **{group: {'multiplier': 1.0} for group in ('backbone', 'head', 'critic')},
        'centers': {'learning_rate': 1.0, 'schedule': 'constant'},
    }
    config.augment.source.update(
        flip=True, crop='release', brightness=0.0, contrast=0.0, min_scale=1.0, bgr=True
    )
    config.augment.target.update(
        flip=False, crop='none', brightness=0.0, contrast=0.0, min_scale=1.0, bgr=True
    )
    config.augment.match = 0.0
    config.pipeline.target_shuffle = False
    return config

"""Every field of a config with its default; the other configs change a few of them."""

from ml_collections import ConfigDict

from dmsrl_jax import methods
from dmsrl_jax.data import augment
from dmsrl_jax.training import optimizers

_ADAM = {
    'name': 'adamw',
    'learning_rate': 2e-3,
    'weight_decay': 1e-4,
    'schedule': 'cosine',  # of both parts of a run, before adaptation and in it
    'adaptation': 0.5,  # factor of the learning rate in the second
}


def get_config(arg: str = '') -> ConfigDict:
    """Makes the base config.

    Args:
        arg: `<source>,<target>`, names of prepared corpora; empty leaves both open.

    Returns:
        A config in which `method` names one of `methods.names()`, and the options of each method
        stand under its name, so that `--config.method=source_only` needs nothing else.
    """
    source, _, target = arg.partition(',')
    options = {name: ConfigDict(methods.options(name)) for name in methods.names()}
    recipe = augment.recipe('standard')._asdict()
    return ConfigDict(
        {
            'seed': 0,
            'data_dir': '',  # where prepared corpora lie; empty: the default folder
            'source': source,
            'source_split': 'train',
            'source_test_split': 'test',
            'target': target,
            'target_split': 'train',
            'target_test_split': 'test',
            'image_size': 48,
            'batch_size': 64,  # per domain, all devices together
            'eval_batch_size': 256,
            'accumulate': 1,
            'steps': 0,  # length of the run
            'epochs': 0,  # the same in passes over source
            'length': {'epochs': 25, 'steps': 1500},  # the longer counts if both of these are 0
            'adapt_from': 0.7,  # share of the run on the source alone, whatever the method
            'devices': 0,  # 0: all; a CPU is made into so many
            'mapping': 'shard_map',
            'method': 'dmsrl',
            **options,
            'model': {
                'name': 'tiny_multilevel',
                'local': True,
                'dropout': 0.2,
                'dtype': 'float32',
                'statistics': 'joint',  # of BatchNorm, see models.create
                'pretrained': '',  # weights of a PyTorch network or trunk, or the workdir of a run
            },
            'average': True,  # evaluate an average of the parameters
            'average_decay': 0.99,
            'optimizer': {**optimizers.DEFAULTS, **_ADAM, 'groups': _groups()},
            'augment': {
                'source': dict(recipe),
                'target': dict(recipe),
                # Share of source images that take the light of a target image, in adaptation.
                'match': 0.5,
            },
            'pipeline': {'in_memory': True, 'workers': 0, 'target_shuffle': True},
            'log_every': 50,
            'eval_every': 0,
            'checkpoint_every': 500,
            'keep_checkpoints': 2,
        }
    )


def _groups() -> dict:
    """What differs between parameter groups; `multiplier` scales the learning rate."""
    return {
        'backbone': {'multiplier': 1.0},
        'head': {'multiplier': 1.0},
        'critic': {'multiplier': 1.0, 'weight_decay': 5e-4},
        'centers': {'multiplier': 1.0, 'weight_decay': 5e-4},
    }

"""Trains one config: `python experiments/train.py --config FILE[:ARG] --workdir DIR`.

Any field can be changed: `--config.seed=1 --config.dmsrl.alpha=0.1`. A run that was interrupted goes on when
started again with the same command.
"""

from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from dmsrl_jax.errors import InputError
from experiments import cli

_CONFIG = config_flags.DEFINE_config_file(
    'config', None, 'Config file, with its argument after a colon.'
)
_WORKDIR = flags.DEFINE_string('workdir', None, 'Folder of the run.')


def main(argv: Sequence[str]) -> None:
    """Trains and prints the result in two lines."""
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    if _CONFIG.value is None or not _WORKDIR.value:
        raise InputError(
            'pass --config FILE and --workdir DIR, for instance --config '
            'experiments/configs/demo.py --workdir runs/demo'
        )
    from dmsrl_jax.training import loop

    cli.cache_compilations()
    result = loop.train(_CONFIG.value.lock(), _WORKDIR.value)
    for role in ('source_test', 'target_test'):
        score = result[role]
        print(
            f'{role}: accuracy {score["accuracy"]:.4f}, mean class accuracy '
            f'{score["mean_class_accuracy"]:.4f}, macro F1 {score["macro_f1"]:.4f} '
            f'({score["count"]} images)'
        )
    print(f'result: {_WORKDIR.value}/result.json')


if __name__ == '__main__':
    cli.run(main)

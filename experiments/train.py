"""Trains one config: `python experiments/train.py --config FILE[:ARG] --workdir DIR`.

Any field can be changed: `--config.seed=1 --config.dmsrl.alpha=0.1`. An interrupted run goes on
when started again with the same command. Several processes train together if each is started with
its own number: `--coordinator HOST:PORT --processes 2 --process 0`, `... --process 1`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import config_flags

from dmsrl_jax.errors import InputError
from experiments import cli, processes


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    config_flags.DEFINE_config_file(
        'config', None, 'Config file, with its argument after a colon.', flag_values=values
    )
    flags.DEFINE_string('workdir', None, 'Folder of the run.', flag_values=values)
    processes.define_flags(values)
    flags.adopt_module_key_flags(processes, values)  # so that --help has them


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Trains and prints the result in two lines."""
    config, workdir = values['config'].value, values['workdir'].value
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    if config is None or not workdir:
        raise InputError(
            'pass --config FILE and --workdir DIR, for instance --config '
            'experiments/configs/demo.py --workdir runs/demo'
        )
    processes.join(values)
    from dmsrl_jax.training import loop, mapping

    cli.cache_compilations()
    result = loop.train(config.lock(), workdir)
    if not mapping.is_first_process():
        return
    for role in ('source_test', 'target_test'):
        print(f'{role}: {_told(result[role])}')
    print(f'result: {workdir}/result.json')


def _told(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return 'no labels: not evaluated'
    return (
        f'accuracy {score["accuracy"]:.4f}, mean class accuracy '
        f'{score["mean_class_accuracy"]:.4f}, macro F1 {score["macro_f1"]:.4f} '
        f'({score["count"]} images)'
    )


if __name__ == '__main__':
    define_flags()
    cli.run(main)

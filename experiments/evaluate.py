"""Scores a trained model: `evaluate.py --workdir DIR [--corpus NAME --split SPLIT]`.

python experiments/evaluate.py --workdir runs/demo/dmsrl/seed0    # the run's two test sets
python experiments/evaluate.py --workdir runs/demo/dmsrl/seed0 --corpus fer2013 --split test
"""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from dmsrl_jax.errors import InputError
from experiments import cli


@dataclasses.dataclass(frozen=True)
class Task:
    """One corpus to score, with the running statistics of `domain` where there are two."""

    corpus: str
    split: str
    domain: str


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command (not at import: other commands use the same names)."""
    text = flags.DEFINE_string
    text('workdir', None, 'Folder of the training run.', flag_values=values)
    text('corpus', None, "A prepared corpus; default: the run's two test sets.", flag_values=values)
    text('split', None, 'Split of --corpus (default: test).', flag_values=values)
    where = "Where prepared corpora lie (default: as in the run's config)."
    text('data_dir', None, where, flag_values=values)
    whose = "Whose BatchNorm statistics to use (default: source for the run's source, else target)."
    flags.DEFINE_enum('domain', None, ['source', 'target'], whose, flag_values=values)
    flags.DEFINE_integer('step', None, 'Checkpoint (default: the latest).', flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> int:
    """Prints scores and confusion tables, writes `workdir/evaluation_<corpus>_<split>.json`."""
    flag = values.flag_values_dict()
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    if not flag['workdir']:
        raise InputError('pass --workdir DIR, the folder of a training run')
    if flag['split'] and not flag['corpus']:
        raise InputError('pass --corpus NAME with --split')
    from dmsrl_jax.data import corpora
    from dmsrl_jax.training import from_config, mapping, restore, run, state

    cli.cache_compilations()
    workdir = pathlib.Path(flag['workdir'])
    restored = restore.restore_model(workdir, at=flag['step'])
    config = restored.config
    if not state.all_finite(restored.variables):
        raise InputError(
            f'the network of {workdir}, step {restored.step}, holds numbers that are not finite: '
            'training went wrong or the checkpoint is damaged; take another --step or run'
        )
    print(f'run: {workdir}, step {restored.step}')
    print(f'{config.method}, {config.source} -> {config.target}')
    chosen = mapping.devices()
    evaluator = from_config.create_evaluator(config, chosen)
    variables = mapping.replicate(restored.variables, chosen)
    skipped = 0
    for task in tasks(config, flag['corpus'], flag['split'], flag['domain']):
        data_dir = flag['data_dir'] or config.data_dir or None
        try:
            if not run.has_labels(task.corpus, data_dir):
                _unlabelled(task, asked=bool(flag['corpus']))
                continue
            corpus = corpora.load(task.corpus, task.split, data_dir=data_dir)
        except InputError as error:
            if flag['corpus']:
                raise
            skipped += 1
            print(f'skipped: {error}', file=sys.stderr)
            continue
        score = evaluator.score(variables, corpus, domain=task.domain)
        _report(workdir, task, restored.step, score)
    return 1 if skipped else 0


def _unlabelled(task: Task, *, asked: bool) -> None:
    if asked:
        raise InputError(
            f'{task.corpus} has no labels, so there is nothing to compare predictions with; '
            'experiments/predict.py --workdir DIR IMAGE... gives the expression of each image'
        )
    print(f'\n{task.corpus}\nno labels: not evaluated')


def tasks(config: Any, corpus: str | None, split: str | None, domain: str | None) -> list[Task]:
    """What to score.

    Args:
        config: the run's.
        corpus: a prepared corpus, or None for the run's source and target test sets.
        split: its split, `test` if None.
        domain: `source` or `target`, whose statistics to use; None: those of source for the run's
            source corpus, those of target for anything else.

    Returns:
        One or two tasks.
    """
    if corpus:
        return [Task(corpus, split or 'test', domain or _domain(config, corpus))]
    return [
        Task(config[role], config[f'{role}_test_split'], domain or role)
        for role in ('source', 'target')
    ]


def _domain(config: Any, corpus: str) -> str:
    same = corpus.removesuffix('/default') == config.source.removesuffix('/default')
    return 'source' if same else 'target'


def file_name(task: Task) -> str:
    """Name of the file with a task's scores."""
    clean = (re.sub(r'[^\w.+-]+', '_', text) for text in (task.corpus, task.split))
    return f'evaluation_{"_".join(clean)}.json'


def _report(workdir: pathlib.Path, task: Task, step: int, score: dict[str, Any]) -> None:
    from dmsrl_jax.evaluation import reports
    from dmsrl_jax.training.logs import write_json

    path = workdir / file_name(task)
    try:
        write_json(path, {**dataclasses.asdict(task), 'step': step, **score})
    except OSError as error:
        raise InputError(f'cannot write {path}: {error}; give write permission') from error
    print(f'\n{task.corpus}, split {task.split} (statistics of {task.domain})')
    print(reports.confusion_table(score))
    print(f'written: {path}')


if __name__ == '__main__':
    define_flags()
    cli.run(main)

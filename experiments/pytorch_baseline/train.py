"""Trains the PyTorch baseline on a config of this library, on one device.

    python experiments/pytorch_baseline/train.py --workdir runs/torch \\
        --config experiments/configs/pair.py:synthetic_faces/studio,synthetic_faces/wild
    ... --config experiments/configs/release.py:fer2013,image_list --config.model.dtype=bfloat16 \\
        --config.pipeline.workers=8 --compile

It takes the methods source_only and dmsrl, the default recipe and the release's, and writes the
same config.json, metrics.jsonl and result.json. Of the fields, `mapping` and checkpoints have no
meaning here; what would change the result and is missing (accumulate, clip_norm, common centres,
two of the rules for pseudo labels) is refused. `dtype` bfloat16 means autocast.
"""

import json
import math
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import torch
from absl import flags

from dmsrl_jax.data import corpora
from dmsrl_jax.errors import InputError
from dmsrl_jax.training import from_config, workdirs
from dmsrl_jax.training.logs import write_json
from experiments import cli
from experiments import train as ours
from experiments.pytorch_baseline import data, evaluation, method, models, optimisers
from experiments.pytorch_baseline.layers import SOURCE, TARGET

ROLES = ('source', 'source_test', 'target', 'target_test')
DOMAINS = {'source': SOURCE, 'target': TARGET}


def recipe(settings: Any) -> method.Recipe:
    """The constants of a config's `dmsrl`; raises InputError for what the baseline lacks."""
    given = settings.to_dict()
    rule = given.pop('pseudo_label')
    if rule not in ('argmax', 'threshold') or given.pop('centers') != 'separate':
        raise InputError(
            'the PyTorch baseline has dmsrl.pseudo_label argmax and threshold, and '
            'dmsrl.centers=separate'
        )
    given['teacher'] = given['teacher'] and given['use_margin']
    return method.Recipe(**{**given, 'threshold': given['threshold'] * (rule == 'threshold')})


class Trainer:
    """One run: corpora, network, optimisers."""

    def __init__(self, config: Any, device: torch.device, *, compiled: bool = False) -> None:
        """Opens the corpora and makes everything.

        Args:
            config: as in `experiments/configs/common.py`.
            device: where to train.
            compiled: whether `torch.compile` takes the network and the losses.
        """
        if config.accumulate != 1 or config.devices > 1:
            raise InputError('the PyTorch baseline trains with accumulate=1 on one device')
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.corpora = {
            role: corpora.load(
                config[role.removesuffix('_test')],
                config[f'{role}_split'],
                data_dir=config.data_dir or None,
            )
            for role in ROLES
        }
        self.loaders = {role: self._loader(role) for role in DOMAINS}
        epoch = len(self.loaders['source'])
        self.total_steps = from_config.length(config, epoch)
        self.source_steps = from_config.source_steps(config, self.total_steps)
        self.network, self.recipe = self._network(), recipe(config.dmsrl)
        self.module, self.coefficients = self._method()
        self.average = method.Average(self.network, config.average_decay)
        self.optimisers = optimisers.Optimisers(
            self.module.groups(),
            config.optimizer.to_dict(),
            total_steps=self.total_steps,
            source_steps=self.source_steps,
            steps_per_epoch=epoch,
        )
        compile_ = torch.compile if compiled else lambda module: module
        self.forward = compile_(self.module)
        self.alone = compile_(method.SourceOnly(self.network))

    def _loader(self, role: str) -> Any:
        config, faces = self.config, self.faces(role, self.config.augment[role])
        return data.training_loader(
            faces,
            batch_size=config.batch_size,
            shuffle=role == 'source' or config.pipeline.target_shuffle,
            workers=config.pipeline.workers,
            seed=config.seed + DOMAINS[role],
            pin=self.device.type == 'cuda',
        )

    def faces(self, role: str, augmentation: Any = None) -> data.Faces:
        """Images of a role; as in evaluation without an augmentation."""
        labels = augmentation is None or role == 'source'
        return data.Faces(self.corpora[role], self.config.image_size, augmentation, labels=labels)

    def _network(self) -> models.Network:
        options = self.config.model.to_dict()
        pretrained = options.pop('pretrained', '')
        options.pop('dtype')
        network = models.create(options.pop('name'), image_size=self.config.image_size, **options)
        if pretrained:
            _start_from(network, pretrained)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.to(self.device)

    def _method(self) -> tuple[method.SourceOnly, method.Coefficients]:
        name = self.config.method
        if name not in ('source_only', 'dmsrl'):
            raise InputError(f'the PyTorch baseline has source_only and dmsrl, not {name!r}')
        adaptation = self.total_steps - self.source_steps
        coefficients = method.Coefficients(self.recipe, adaptation, self.device)
        if name == 'source_only':
            return method.SourceOnly(self.network), coefficients
        return method.DMSRL(self.network, self.recipe).to(self.device), coefficients

    @property
    def adapts(self) -> bool:
        """Whether target images are looked at."""
        return isinstance(self.module, method.DMSRL)

    def adapting(self, done: int) -> bool:
        """Whether the step after `done` others looks at target images."""
        return self.adapts and done >= self.source_steps

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]:
        """Source images, labels and target images, uint8 and on the host, without end."""
        target = data.endless(self.loaders['target']) if self.adapts else None
        for done, (images, labels) in enumerate(data.endless(self.loaders['source'])):
            yield images, labels, next(target)[0] if target and self.adapting(done) else None

    def step(
        self, done: int, images_s: torch.Tensor, labels: torch.Tensor, images_t: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """One update, after `done` others; returns the loss and its terms, on the device."""
        self.network.train()
        inputs: list[Any] = [self._view(images_s, 'source'), labels.to(self.device)]
        adapting = self.adapting(done)
        if adapting:
            assert images_t is not None
            view_t, share = self._view(images_t, 'target'), self.config.augment.match
            inputs[0] = data.match(inputs[0], view_t, share) if share else inputs[0]
            inputs += [view_t, *self.coefficients(done - self.source_steps)]
            inputs.append(self._teacher(images_t) if self.recipe.teacher else None)
        self.optimisers.zero_grad()
        with self._autocast():
            loss, terms = (self.forward if adapting else self.alone)(*inputs)
        loss.backward()
        self.optimisers.step()
        self.average.update(self.network, done)
        return {'loss': loss.detach(), **terms}

    def _view(self, images: torch.Tensor, domain: str, *, plain: bool = False) -> torch.Tensor:
        augmentation = self.config.augment[domain].to_dict()
        if plain:
            augmentation |= {'brightness': 0.0, 'contrast': 0.0}
        images = data.colour(images.to(self.device, non_blocking=True), augmentation)
        return images.contiguous(memory_format=torch.channels_last)

    def _teacher(self, images_t: torch.Tensor) -> models.Outputs:
        """The averaged network's opinion, on the flipped and cropped image without other change."""
        with self._autocast():
            return self.average(self._view(images_t, 'target', plain=True))

    def _autocast(self) -> torch.autocast:
        half = self.config.model.dtype == 'bfloat16'
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def predictions(self, role: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and labels of a whole role."""
        network = self.average if self.config.average else self.network.eval()
        domain, faces = DOMAINS[role.removesuffix('_test')], self.faces(role)
        return evaluation.predict(network, faces, domain, self.config, device=self.device)

    def scores(self) -> dict[str, dict[str, Any]]:
        """Scores on both test sets."""
        return {domain: evaluation.score(*self.predictions(f'{domain}_test')) for domain in DOMAINS}

    def on_target(self) -> dict[str, Any]:
        """What a result says of the unlabelled images: pseudo labels, criteria."""
        logits, labels = self.predictions('target')
        pseudo = self._pseudo_labels(logits, labels)
        return {'pseudo_label': pseudo, 'criteria': evaluation.criteria(logits)}

    def _pseudo_labels(self, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float] | None:
        """Coverage and accuracy of the pseudo labels on target, for analysis only."""
        if not (isinstance(self.module, method.DMSRL) and self.module.recipe.use_margin):
            return None
        found, counts = self.module.pseudo_labels(models.Outputs(logits, logits))
        right = (counts * (found == labels)).sum() / counts.sum().clamp(min=1)
        return {'accuracy': right.item(), 'coverage': counts.mean().item()}


def train(
    config: Any, workdir: pathlib.Path | str, *, device: torch.device, compiled: bool = False
) -> dict[str, Any]:
    """Trains from the start to the end.

    Args:
        config: as in `experiments/configs/common.py`.
        workdir: folder for config.json, metrics.jsonl, weights.pth and result.json.
        device: where to train.
        compiled: whether to use `torch.compile`.

    Returns:
        What is written to result.json.

    Raises:
        InputError: the folder is another run's, the config does not fit, the loss is not finite.
    """
    workdir = pathlib.Path(workdir)
    from_config.check(config)
    workdirs.claim(workdir, config)
    if (result := workdirs.finished(workdir)) is not None:
        print(f'{workdir} is finished; remove it to run again', file=sys.stderr)
        return result
    with workdirs.alone(workdir, config):
        try:
            return _train(config, workdir, device=device, compiled=compiled)
        except BaseException:
            workdirs.leave(workdir)
            raise


def _train(
    config: Any, workdir: pathlib.Path, *, device: torch.device, compiled: bool
) -> dict[str, Any]:
    trainer, begun = Trainer(config, device, compiled=compiled), time.monotonic()
    busy, images, oracle = 0.0, 0, {'step': 0, 'accuracy': 0.0}
    batches = trainer.batches()
    with (workdir / 'metrics.jsonl').open('w') as log:
        for done in range(trainer.total_steps):
            started = time.monotonic()
            terms = trainer.step(done, *next(batches))
            last = done + 1 == trainer.total_steps
            if last or (done + 1) % config.log_every == 0:
                values = {name: value.item() for name, value in terms.items()}
                _check_finite(done + 1, values)
                log.write(json.dumps({'step': done + 1, **values}) + '\n')
                log.flush()
            if done not in (0, trainer.source_steps):  # the first of its kind warms up
                busy += time.monotonic() - started
                images += (1 + trainer.adapting(done)) * config.batch_size
            if last or (config.eval_every and (done + 1) % config.eval_every == 0):
                scores = trainer.scores()
                if scores['target']['accuracy'] > oracle['accuracy']:
                    oracle = {'step': done + 1, 'accuracy': scores['target']['accuracy']}
    torch.save(trainer.network.state_dict(), workdir / 'weights.pth')
    result = {
        'method': config.method,
        'source': config.source,
        'target': config.target,
        'seed': config.seed,
        'steps': trainer.total_steps,
        'seconds': round(time.monotonic() - begun, 3),
        'target_test': scores['target'],
        'source_test': scores['source'],
        'oracle': oracle,
        **trainer.on_target(),
        'images_per_second': round(images / busy, 1) if busy else None,
        'devices': 1,
        'platform': 'gpu' if device.type == 'cuda' else device.type,
        'framework': f'pytorch {torch.__version__}',
    }
    write_json(workdir / 'result.json', result)
    return result


def _start_from(network: models.Network, path: str) -> None:
    """Takes the tensors of a file that the network knows; shared statistics go to both domains."""
    from dmsrl_jax.interop import torch_files

    known = network.state_dict()
    stored = torch_files.read(path)
    found = {key: torch.from_numpy(value.copy()) for key, value in stored.items() if key in known}
    for key, value in found.items():
        if 'running' in key and value.ndim < known[key].ndim:
            found[key] = value.expand(known[key].shape)
    try:
        network.load_state_dict(found, strict=False)
    except RuntimeError as error:
        raise InputError(f'{path} does not fit the network: {error}') from error


def _check_finite(step: int, values: dict[str, float]) -> None:
    if bad := [name for name, value in values.items() if not math.isfinite(value)]:
        raise InputError(
            f'step {step}: {", ".join(bad)} not finite; lower optimizer.learning_rate or the '
            'weight of that term'
        )


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command."""
    ours.define_flags(values)
    flags.DEFINE_string('device', '', 'cuda, cpu; default: what is there.', flag_values=values)
    flags.DEFINE_bool('compile', False, 'Use torch.compile.', flag_values=values)


def main(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
    """Trains and prints the result in two lines."""
    if len(argv) > 1:
        raise InputError(f'unexpected arguments: {" ".join(argv[1:])}; see --help')
    given: dict[str, Any] = values.flag_values_dict()
    if given['config'] is None or not given['workdir']:
        raise InputError('pass --config FILE and --workdir DIR; see --help')
    jax.config.update('jax_platforms', 'cpu')  # it is asked a little, and must leave the GPU alone
    gpu = torch.cuda.is_available()
    chosen = given['device'] or ('cuda' if gpu else 'cpu')
    if chosen not in ('cpu', *['cuda'] * gpu):
        raise InputError(f'--device={chosen}: there is {"cuda, cpu" if gpu else "cpu"} here')
    result = train(
        given['config'].lock(),
        given['workdir'],
        device=torch.device(chosen),
        compiled=given['compile'],
    )
    for role in ('source_test', 'target_test'):
        found = result[role]
        print(f'{role}: accuracy {found["accuracy"]:.4f} ({found["count"]} images)')
    print(f'result: {given["workdir"]}/result.json', file=sys.stderr)


if __name__ == '__main__':
    define_flags()
    cli.run(main)

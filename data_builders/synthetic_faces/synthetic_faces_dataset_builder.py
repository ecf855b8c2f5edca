"""TFDS builder of the drawn faces; the configs are the domains."""

import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from data_builders import distributing
from data_builders.synthetic_faces.render import SMALLEST, render_encoded
from data_builders.synthetic_faces.scenes import DOMAINS, check
from dmsrl_jax.errors import InputError
from dmsrl_jax.expressions import EXPRESSIONS, NUM_CLASSES

PROTOCOLS = {
    'studio': 'frontal, even light, grey background',
    'wild': 'pose, light, colour cast, clutter, occlusion, blur, compression',
    'sketch': 'line drawings',
    'infrared': 'as an infrared camera sees faces',
}
SPLITS = ('train', 'test')
IMAGES_PER_SUBJECT = 2 * NUM_CLASSES
_SUBJECTS_PER_SPLIT = 1_000_000
_DESCRIPTION = 'Faces drawn from parameters: seven expressions made of facial action units.'


@dataclasses.dataclass(eq=True, kw_only=True)
class FacesConfig(tfds.core.BuilderConfig):
    """One domain and how much of it to draw.

    Attributes:
      size: width and height in pixels.
      train: number of training images.
      test: number of test images.
      seed: changes every subject and every image.
    """

    size: int = 64
    train: int = 2800
    test: int = 700
    seed: int = 0


def options() -> dict[str, tuple[type, Any, str]]:
    """What can be set when preparing: name to (type, default, help)."""
    return {
        'size': (int, 64, 'width and height of the images in pixels'),
        'train': (int, 2800, 'number of training images'),
        'test': (int, 700, 'number of test images'),
        'seed': (int, 0, 'another seed draws other subjects and images'),
    }


def subject_number(domain: str, split: str, index: int) -> int:
    """Number of the subject of a split's image; no two domains or splits share one.

    Args:
      domain: one of DOMAINS.
      split: 'train' or 'test'.
      index: place of the image in its split.

    Returns:
      The subject's number, 0 or more.
    """
    block = DOMAINS.index(domain) * len(SPLITS) + SPLITS.index(split)
    return block * _SUBJECTS_PER_SPLIT + index // IMAGES_PER_SUBJECT


def example(config: FacesConfig, split: str, index: int) -> dict[str, Any]:
    """Draws one record.

    Args:
      config: domain, size and seed.
      split: 'train' or 'test'.
      index: place of the image in its split; its label is `index % 7`.

    Returns:
      The record, the image encoded.
    """
    label, subject = index % NUM_CLASSES, subject_number(config.name, split, index)
    blocks = len(DOMAINS) * len(SPLITS) * _SUBJECTS_PER_SPLIT
    encoded, intensity = render_encoded(
        label,
        config.name,
        size=config.size,
        subject_seed=config.seed * blocks + subject,
        sample_seed=index % IMAGES_PER_SUBJECT,
    )
    suffix = 'jpg' if config.name == 'wild' else 'png'
    name = f's{subject:07d}_{index:06d}_{EXPRESSIONS[label]}.{suffix}'
    return {
        'image': encoded,
        'label': label,
        'file': f'{config.name}/{split}/{name}',
        'subject': f's{subject:07d}',
        'intensity': intensity,
    }


def _check(config: FacesConfig) -> None:
    check(config.name)
    if config.size < SMALLEST:
        raise InputError(f'size={config.size} is too small to draw a face; give {SMALLEST} or more')
    most = _SUBJECTS_PER_SPLIT * IMAGES_PER_SUBJECT
    for split in SPLITS:
        if not 1 <= getattr(config, split) <= most:
            raise InputError(f'{split}={getattr(config, split)} images; give 1 to {most}')
    if config.seed < 0:
        raise InputError(f'seed={config.seed} is negative; give 0 or more')


class Builder(tfds.core.GeneratorBasedBuilder):
    """Draws and writes one domain of the synthetic faces."""

    VERSION = tfds.core.Version('1.1.0')
    RELEASE_NOTES: ClassVar = {
        '1.1.0': 'Weakest expressions at half strength, `wild` a little calmer.',
        '1.0.0': 'First release.',
    }
    workers, beam, total = 0, False, 0
    BUILDER_CONFIGS: ClassVar = [
        FacesConfig(name=name, description=text) for name, text in PROTOCOLS.items()
    ]

    def _create_builder_config(self, builder_config: Any, version: Any) -> Any:
        # The library refuses a changed config that keeps a known name; here the name is the domain
        # and the rest are options.
        if isinstance(builder_config, FacesConfig):
            return builder_config
        return super()._create_builder_config(builder_config, version)

    def _info(self) -> tfds.core.DatasetInfo:
        config, size = self.builder_config, self.builder_config.size
        coding = 'jpeg' if config.name == 'wild' else 'png'
        return self.dataset_info_from_configs(
            description=_DESCRIPTION,
            features=tfds.features.FeaturesDict(
                {
                    'image': tfds.features.Image(shape=(size, size, 3), encoding_format=coding),
                    'label': tfds.features.ClassLabel(names=EXPRESSIONS),
                    'file': tfds.features.Text(),
                    'subject': tfds.features.Text(),
                    'intensity': tfds.features.Scalar(np.float32),
                }
            ),
            supervised_keys=('image', 'label'),
            metadata=tfds.core.MetadataDict({name: getattr(config, name) for name in options()}),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        del dl_manager  # nothing to download
        self.total = sum(getattr(self.builder_config, split) for split in SPLITS)
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> Any:
        config = self.builder_config
        draw = functools.partial(_keyed, config, split)
        return distributing.examples(self, split, range(getattr(config, split)), draw)


def _keyed(config: FacesConfig, split: str, index: int) -> tuple[int, dict[str, Any]]:
    return index, example(config, split, index)


def make_builder(
    name: str | None, *, data_dir: str, manual_dir: str | None = None, **values: int
) -> Builder:
    """The builder of one domain.

    Args:
      name: a domain; None means the first, studio.
      data_dir: where prepared corpora lie.
      manual_dir: not used, nothing is read.
      **values: options by name, see `options`.

    Returns:
      A builder ready for `download_and_prepare`.

    Raises:
      InputError: unknown domain or option, or a value out of range.
    """
    del manual_dir
    unknown = sorted(set(values) - set(options()))
    if unknown:
        raise InputError(
            f'synthetic_faces has no option {", ".join(unknown)}; it has {", ".join(options())}'
        )
    domain = DOMAINS[0] if name is None else name
    check(domain)
    config = FacesConfig(name=domain, description=PROTOCOLS[domain], **values)
    _check(config)
    return Builder(config=config, data_dir=data_dir, file_format='array_record')

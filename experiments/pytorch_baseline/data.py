"""Prepared corpora as PyTorch data: decoded by Pillow in DataLoader workers, in pinned memory."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils import data

from dmsrl_jax.errors import InputError


class Faces(data.Dataset):
    """Images of a corpus as uint8 [3, size, size] with their labels.

    Random flips and crops happen here, on the host; changes of colour are cheaper on whole batches
    (`colour`).
    """

    def __init__(
        self,
        corpus: Any,
        size: int,
        recipe: Mapping[str, Any] | None = None,
        *,
        labels: bool = True,
    ) -> None:
        """Opens nothing yet.

        Args:
            corpus: records {'image': bytes, 'label': int}, as `dmsrl_jax.data.corpora.load` gives.
            size: side of the images.
            recipe: fields `flip`, `crop` and `min_scale` of a config's `augment`; None for the
                view of evaluation.
            labels: False leaves them unread (-1), as for target in training.
        """
        self.corpus, self.size, self.labels = corpus, size, labels
        self.recipe = dict(recipe or {'flip': False, 'crop': 'none'})

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        record = self.corpus[index]
        image = self._view(Image.open(io.BytesIO(record['image'])).convert('RGB'))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        return pixels, int(record['label']) if self.labels else -1

    def _view(self, image: Image.Image) -> Image.Image:
        recipe, size = self.recipe, self.size
        if recipe['flip'] and torch.rand(()) < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if recipe['crop'] == 'none':
            return image.resize((size, size), Image.Resampling.BILINEAR)
        stored = round(size * 256 / 224) if recipe['crop'] == 'release' else size
        image = image.resize((stored, stored), Image.Resampling.BILINEAR)
        if recipe['crop'] == 'release':
            left, top = torch.randint(stored - size + 1, (2,)).tolist()
            return image.crop((left, top, left + size, top + size))
        least = recipe['min_scale']
        window = size * (least + (1.0 - least) * torch.rand(()).item())
        left, top = ((size - window) * torch.rand(2)).tolist()
        box = (left, top, left + window, top + window)
        return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def colour(images: torch.Tensor, recipe: Mapping[str, Any]) -> torch.Tensor:
    """Floats in 0..1 from uint8 [B, 3, H, W], with random brightness and contrast per image."""
    images = images.float().div_(255.0)
    shape = (len(images), 1, 1, 1)
    uniform = lambda: 2.0 * torch.rand(shape, device=images.device) - 1.0
    if recipe.get('brightness'):
        images = images + recipe['brightness'] * uniform()
    if recipe.get('contrast'):
        mean = images.mean(dim=(2, 3), keepdim=True)
        images = mean + (1.0 + recipe['contrast'] * uniform()) * (images - mean)
    if recipe.get('brightness') or recipe.get('contrast'):
        images = images.clamp(0.0, 1.0)
    return images.flip(1) if recipe.get('bgr') else images


def match(images: torch.Tensor, references: torch.Tensor, share: float) -> torch.Tensor:
    """Colour transfer from image to image: some take their reference's channel means and contrast.

    Args:
        images: floats in 0..1 [B, 3, H, W].
        references: the same of the other domain.
        share: probability of each image to be changed.

    Returns:
        Floats in 0..1 [B, 3, H, W].
    """
    means = [batch.mean(dim=(2, 3), keepdim=True) for batch in (images, references)]
    spreads = [
        ((batch - mean).square().mean(dim=(1, 2, 3), keepdim=True) + 1e-6).sqrt()
        for batch, mean in zip((images, references), means, strict=True)
    ]
    moved = ((images - means[0]) / spreads[0] * spreads[1] + means[1]).clamp(0.0, 1.0)
    chosen = torch.rand((len(images), 1, 1, 1), device=images.device) < share
    return torch.where(chosen, moved, images)


def training_loader(
    faces: Faces,
    *,
    batch_size: int,
    shuffle: bool,
    workers: int,
    seed: int,
    pin: bool,
    start: str | None = None,
) -> data.DataLoader:
    """Full batches of one domain; raises InputError where there is none.

    `start` says how worker processes start; None is the system's own way.
    """
    if len(faces) < batch_size:
        raise InputError(f'{len(faces)} images are fewer than one batch of {batch_size}')
    return data.DataLoader(
        faces,
        batch_size,
        shuffle=shuffle,
        num_workers=workers,
        drop_last=True,
        pin_memory=pin,
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator().manual_seed(seed),
        multiprocessing_context=start if workers else None,
    )


def endless(loader: data.DataLoader) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches, epoch after epoch."""
    while True:
        yield from loader

"""Scores of a network on a corpus."""

from typing import Any

import torch
from torch.utils import data

from experiments.pytorch_baseline.data import Faces, colour


@torch.no_grad()
def predict(
    network: Any, faces: Faces, domain: int, settings: Any, *, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [N, C] of a network in evaluation mode, and labels [N], both on the CPU."""
    loader = data.DataLoader(
        faces,
        settings.eval_batch_size,
        num_workers=settings.pipeline.workers,
        pin_memory=device.type == 'cuda',
    )
    view = {'bgr': settings.augment.source.bgr}
    logits, labels = [], []
    for images, known in loader:
        images = colour(images.to(device, non_blocking=True), view)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, settings.model.dtype == 'bfloat16'):
            logits.append(network(images, domain).logits.float().cpu())
        labels.append(known)
    return torch.cat(logits), torch.cat(labels)


def score(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """Accuracy, mean class accuracy, macro F1, confusion (rows: true classes) and count."""
    count = logits.shape[1]
    pairs = labels * count + logits.argmax(dim=1)
    table = torch.bincount(pairs, minlength=count * count).reshape(count, count).double()
    right, true, predicted = table.diagonal(), table.sum(dim=1), table.sum(dim=0)
    seen = true > 0  # a class without images has no accuracy
    return {
        'accuracy': (right.sum() / table.sum()).item(),
        'mean_class_accuracy': (right[seen] / true[seen]).mean().item(),
        'macro_f1': (2 * right[seen] / (true + predicted)[seen]).mean().item(),
        'confusion': table.long().tolist(),
        'count': int(table.sum()),
    }


def criteria(logits: torch.Tensor, *, largest: int = 5000) -> dict[str, float]:
    """Entropy, information and soft neighbourhood density of predictions [N, C], in nats."""
    shares = logits.double().softmax(dim=1)
    entropy = _entropy(shares).mean()
    part = shares[:: max(1, -(-len(shares) // largest))]
    similar = torch.nn.functional.normalize(part) @ torch.nn.functional.normalize(part).T / 0.05
    others = similar.fill_diagonal_(-torch.inf).softmax(dim=1)
    return {
        'entropy': entropy.item(),
        'information': (_entropy(shares.mean(dim=0)) - entropy).item(),
        'density': _entropy(others).mean().item(),
    }


def _entropy(shares: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(shares).sum(dim=-1)

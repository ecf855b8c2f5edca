"""Networks by name. Module names give the keys of torchvision's and of the authors' checkpoints."""

from typing import Any, NamedTuple

import torch
from torch import nn

from dmsrl_jax.errors import InputError
from experiments.pytorch_baseline import layers
from experiments.pytorch_baseline.layers import LocalUnit, norm, window_side

# output channels of the convolutions between two max-pools
VGG_PLAN = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# bottleneck width, blocks, stride of the first block
RESNET_PLAN = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


class Outputs(NamedTuple):
    """Class scores [B, C] and features [B, D], float32 under autocast too."""

    logits: torch.Tensor
    features: torch.Tensor


class Network(nn.Module):
    """A trunk with features and a linear head.

    A training batch holds one domain: batch statistics belong to it, and the running ones see the
    domains in the order of the calls. Where they are joint, `pair` puts both into one batch.
    """

    feature_dim: int
    head_name: str

    def __init__(self) -> None:
        super().__init__()
        self.domain_norms: list[layers.DomainBatchNorm] = []
        self.joint = False

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Features [B, D] of images [B, 3, H, W]."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor, domain: int | None = layers.TARGET) -> Outputs:
        """Scores and features of images [B, 3, H, W] in 0..1.

        `domain` matters where running statistics are kept per domain; None trains both.
        """
        for module in self.domain_norms:
            module.domain = domain
        head = getattr(self, self.head_name)
        features = self.extract(images).to(head.weight.dtype)
        with torch.autocast(images.device.type, enabled=False):
            logits = head(features)
        return Outputs(logits, features)

    def pair(self, images_s: torch.Tensor, images_t: torch.Tensor) -> tuple[Outputs, Outputs]:
        """Outputs of a source and a target batch of one size."""
        if not self.joint:
            return self(images_s, layers.SOURCE), self(images_t, layers.TARGET)
        both = self(torch.cat([images_s, images_t]))
        source, target = zip(*(part.chunk(2) for part in both), strict=True)
        return Outputs(*source), Outputs(*target)

    def local_features(self, maps: torch.Tensor) -> torch.Tensor:
        """Features [B, 4 n] of the windows top-left, top-right, bottom-left, bottom-right."""
        h, w = (window_side(side) for side in maps.shape[-2:])
        windows = {
            'sp_unit1': maps[..., :h, :w],
            'sp_unit3': maps[..., :h, -w:],
            'sp_unit7': maps[..., -h:, :w],
            'sp_unit9': maps[..., -h:, -w:],
        }
        return torch.cat([getattr(self, unit)(window) for unit, window in windows.items()], dim=1)


class VGG16(Network):
    """VGG-16 with BatchNorm, alone or with four local branches."""

    feature_dim, head_name = 4096, 'fc3'

    def __init__(
        self, num_classes: int, image_size: int, dropout: float, local: bool, statistics: str
    ) -> None:
        super().__init__()
        self.local = local
        self.features = self._trunk(statistics)
        joined = 512 * 7 * 7
        if local:
            side = window_side(image_size // 32)
            for number in (1, 3, 7, 9):
                unit = LocalUnit(512, (256, 128, 64), side, 512, True, statistics)
                self.add_module(f'sp_unit{number}', unit)
            joined += 4 * 512
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.fc1 = nn.Sequential(
            nn.Linear(joined, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.fc2 = nn.Sequential(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout))
        self.fc3 = nn.Linear(4096, num_classes)
        layers.init_convolutions(self)
        layers.init_dense(self, std=0.01)

    @staticmethod
    def _trunk(statistics: str) -> nn.Sequential:
        modules: list[nn.Module] = []
        channels = 3
        for widths in VGG_PLAN:
            for width in widths:
                convolution = nn.Conv2d(channels, width, 3, padding=1)
                modules += [convolution, norm(width, statistics), nn.ReLU(inplace=True)]
                channels = width
            modules.append(nn.MaxPool2d(2))
        return nn.Sequential(*modules)

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Output of `fc2`, after ReLU and dropout."""
        maps = self.features(images)
        joined = self.avgpool(maps).flatten(1)
        if self.local:
            joined = torch.cat([self.local_features(maps), joined], dim=1)
        return self.fc2(self.fc1(joined))


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 and a shortcut."""

    def __init__(self, channels: int, width: int, stride: int, statistics: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = norm(width, statistics)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = norm(width, statistics)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = norm(4 * width, statistics)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or channels != 4 * width:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, 4 * width, 1, stride=stride, bias=False),
                norm(4 * width, statistics),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, C, H, W] to [B, 4 width, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + shortcut)


class ResNet50(Network):
    """ResNet-50 and three dense levels, one upon the other; features are all three."""

    head_name = 'fc1'
    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, num_classes: int, local: bool, statistics: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(64, statistics)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for number, (width, blocks, stride) in enumerate(RESNET_PLAN, start=1):
            stage = [Bottleneck(channels, width, stride, statistics)]
            channels = 4 * width
            stage += [Bottleneck(channels, width, 1, statistics) for _ in range(blocks - 1)]
            self.add_module(f'layer{number}', nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.levels = 3 if local else 1
        for number in range(1, self.levels + 1):
            self.add_module(f'adlayer{number}', nn.Linear(2048 if number == 1 else 1024, 1024))
        self.feature_dim = 1024 * self.levels
        self.fc1 = nn.Linear(self.feature_dim, num_classes)
        layers.init_convolutions(self)
        layers.init_dense(self)

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """The levels side by side."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        level = self.avgpool(x).flatten(1)
        levels = []
        for number in range(1, self.levels + 1):
            level = getattr(self, f'adlayer{number}')(level)
            levels.append(level)
        return torch.cat(levels, dim=1)


class Tiny(Network):
    """Four convolutions on 2x2-stacked pixels with local branches, for faces of 48x48."""

    feature_dim, head_name = 256, 'fc2'

    def __init__(
        self, num_classes: int, image_size: int, dropout: float, local: bool, statistics: str
    ) -> None:
        super().__init__()
        self.local = local
        conv = lambda i, o: [
            nn.Conv2d(i, o, 3, padding=1, bias=False),
            norm(o, statistics),
            nn.ReLU(inplace=True),
        ]
        self.features = nn.Sequential(
            nn.PixelUnshuffle(2),
            *conv(12, 32),
            nn.MaxPool2d(2),
            *conv(32, 32),
            *conv(32, 64),
            nn.MaxPool2d(2),
            *conv(64, 96),
        )
        side = image_size // 8
        joined = 96 * side * side
        if local:
            for number in (1, 3, 7, 9):
                unit = LocalUnit(96, (16,), window_side(side), 32, False, statistics)
                self.add_module(f'sp_unit{number}', unit)
            joined += 4 * 32
        self.fc1 = nn.Sequential(
            nn.Linear(joined, 256, bias=False),
            nn.LayerNorm(256),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
        )
        self.fc2 = nn.Linear(256, num_classes)
        layers.init_convolutions(self)
        layers.init_dense(self)

    def extract(self, images: torch.Tensor) -> torch.Tensor:
        """Output of `fc1`, after LayerNorm, ReLU and dropout."""
        maps = self.features(images)
        joined = maps.flatten(1)
        if self.local:
            joined = torch.cat([self.local_features(maps), joined], dim=1)
        return self.fc1(joined)


IMAGE_SIZES = {
    'resnet50_multilevel': 224,
    'tiny_multilevel': 48,
    'vgg16': 224,
    'vgg16_multilevel': 224,
}


def names() -> tuple[str, ...]:
    """Every name that `create` takes."""
    return tuple(IMAGE_SIZES)


def create(
    name: str,
    num_classes: int = 7,
    *,
    image_size: int | None = None,
    dropout: float = 0.5,
    local: bool = True,
    statistics: str = 'shared',
) -> Network:
    """Makes a network with fresh weights.

    Args:
        name: one of `names()`.
        num_classes: number C of classes.
        image_size: side of the images, which sets the width of dense layers on flattened maps;
            default 224, for `tiny_multilevel` 48. `vgg16` and the ResNet take any size.
        dropout: rate behind the hidden dense layers; the ResNet has none.
        local: whether to have the local branches (all levels, in the ResNet); `vgg16` has none.
        statistics: of BatchNorm: a batch's own of each domain, with running averages 'shared' by
            both or kept 'per_domain', or 'joint' ones of both domains in one batch.

    Raises:
        InputError: unknown name or statistics.
    """
    if name not in IMAGE_SIZES:
        raise InputError(f'unknown model {name!r}; choose one of: {", ".join(names())}')
    if statistics not in layers.STATISTICS:
        raise InputError(
            f'statistics must be one of {", ".join(layers.STATISTICS)}, got {statistics!r}'
        )
    size = image_size or IMAGE_SIZES[name]
    common: dict[str, Any] = {'dropout': dropout, 'statistics': statistics}
    network: Network
    if name == 'resnet50_multilevel':
        network = ResNet50(num_classes, local, statistics)
    elif name == 'tiny_multilevel':
        network = Tiny(num_classes, size, local=local, **common)
    else:
        network = VGG16(num_classes, size, local=local and name != 'vgg16', **common)
    network.joint = statistics == 'joint'
    network.domain_norms = [m for m in network.modules() if isinstance(m, layers.DomainBatchNorm)]
    return network

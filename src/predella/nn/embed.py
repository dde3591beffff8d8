"""Embeddings of whole pictures: (B, 3, H, W) → (B, E)."""

import torch.nn.functional as F
from torch import Tensor, nn


class PictureEncoder(nn.Module):
    """Strided convolutions to a 16th of the size, then a linear layer over a 4×4 grid, so that places count; entries of unit size.

    Group normalisation: a picture's embedding does not depend on the others of its batch.
    """

    def __init__(self, embedding: int, width: int = 32):
        super().__init__()
        wide, layers = [3, width, 2 * width, 4 * width, 4 * width], list[nn.Module]()
        for a, b in zip(wide, wide[1:]):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.GroupNorm(8, b), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.out = nn.Sequential(nn.Linear(16 * wide[-1], embedding), nn.LayerNorm(embedding, elementwise_affine=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with batch norm and a shortcut (He et al. 2016).

    Args:
        short: the shortcut where the shape changes; None = a 1×1 convolution.
    """

    def __init__(self, channels: int, width: int, stride: int, short: nn.Module | None = None):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.short = short or nn.Sequential()
        if short is None and (stride > 1 or channels != width):
            self.short = nn.Sequential(nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.short(x))


class ResNet34(nn.Sequential):
    """ResNet-34 (He et al. 2016), averaged over places, and a linear layer to the embedding."""

    def __init__(self, embedding: int):
        blocks: list[nn.Module] = []
        channels = 64
        for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
            for i in range(count):
                blocks.append(BasicBlock(channels, width, stride if i == 0 else 1))
                channels = width
        super().__init__(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, embedding),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

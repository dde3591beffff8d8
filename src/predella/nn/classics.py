"""The networks whose features the field measures with, in plain torch, with the parameter names of their usual state dicts.

VGG16 (Simonyan and Zisserman 2015) and AlexNet (Krizhevsky 2014): the convolutional part. Inception-v3 as the Fréchet Inception
distance uses it (Heusel et al. 2017): the graph of 2015-12-05, whose pooling branches leave the padding out of their means and
whose last block pools by maximum. ResNet-20 for CIFAR-10 (He et al. 2016, Sec. 4.2), shortcuts without parameters.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.nn.embed import BasicBlock

VGG16_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class VGG16(nn.Module):
    """(B, 3, H, W) in [-1, 1] → the maps relu1_2, relu2_2, relu3_3, relu4_3, relu5_3, or the first `count` of them.

    The k-th map needs edges of at least 2^(k-1) pixels.
    """

    def __init__(self):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for i, block in enumerate(VGG16_WIDTHS):
            if i:
                layers.append(nn.MaxPool2d(2))
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor, count: int = 5) -> list[Tensor]:
        x, maps = imagenet(x), []
        for i, layer in enumerate(self.features):
            if len(maps) == count:
                break
            x = layer(x)
            if i + 1 == len(self.features) or isinstance(self.features[i + 1], nn.MaxPool2d):
                maps.append(x)
        return maps


class AlexNet(nn.Module):
    """(B, 3, H, W) in [-1, 1], edges at least 31 → the maps relu1 … relu5, or the first `count` of them."""

    def __init__(self):
        super().__init__()
        conv = nn.Conv2d
        self.features = nn.Sequential(
            conv(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2), conv(64, 192, 5, padding=2), nn.ReLU(),
            nn.MaxPool2d(3, 2), conv(192, 384, 3, padding=1), nn.ReLU(), conv(384, 256, 3, padding=1), nn.ReLU(),
            conv(256, 256, 3, padding=1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor, count: int = 5) -> list[Tensor]:
        return relu_maps(self.features, imagenet(x), count)


def relu_maps(layers: nn.Sequential, x: Tensor, count: int) -> list[Tensor]:
    """What the first `count` rectifiers of `layers` give for x."""
    maps: list[Tensor] = []
    for layer in layers:
        if len(maps) == count:
            break
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            maps.append(x)
    return maps


def imagenet(x: Tensor) -> Tensor:
    """[-1, 1] → the normalisation of ImageNet classifiers."""
    mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return ((x + 1) / 2 - mean) / std


class _Conv(nn.Module):
    def __init__(self, channels: int, width: int, kernel, stride: int = 1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def _mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class _MixedA(nn.Module):
    """35×35."""

    def __init__(self, channels: int, pool: int):
        super().__init__()
        self.branch1x1 = _Conv(channels, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Conv(channels, 48, 1), _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 = (
            _Conv(channels, 64, 1), _Conv(64, 96, 3, padding=1), _Conv(96, 96, 3, padding=1)
        )  # fmt: skip
        self.branch_pool = _Conv(channels, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_mean(x))], 1)


class _MixedB(nn.Module):
    """35×35 → 17×17."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3 = _Conv(channels, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2, self.branch3x3dbl_3 = (
            _Conv(channels, 64, 1), _Conv(64, 96, 3, padding=1), _Conv(96, 96, 3, stride=2)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, stride=2)], 1)


class _MixedC(nn.Module):
    """17×17."""

    def __init__(self, channels: int, c: int):
        super().__init__()

        def across(a: int, b: int) -> _Conv:
            return _Conv(a, b, (1, 7), padding=(0, 3))

        def down(a: int, b: int) -> _Conv:
            return _Conv(a, b, (7, 1), padding=(3, 0))

        self.branch1x1 = _Conv(channels, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = _Conv(channels, c, 1), across(c, c), down(c, 192)
        self.branch7x7dbl_1, self.branch7x7dbl_2, self.branch7x7dbl_3 = _Conv(channels, c, 1), down(c, c), across(c, c)
        self.branch7x7dbl_4, self.branch7x7dbl_5 = down(c, c), across(c, 192)
        self.branch_pool = _Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        single = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), single, double, self.branch_pool(_mean(x))], 1)


class _MixedD(nn.Module):
    """17×17 → 8×8."""

    def __init__(self, channels: int):
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(channels, 192, 1), _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(channels, 192, 1), _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1), padding=(3, 0)), _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, stride=2)], 1)


class _MixedE(nn.Module):
    """8×8; the last block's pooling takes the maximum, as the graph of 2015 does."""

    def __init__(self, channels: int, maximum: bool = False):
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = _Conv(channels, 320, 1)
        self.branch3x3_1 = _Conv(channels, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = _Conv(384, 384, (1, 3), padding=(0, 1)), _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(channels, 448, 1), _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = _Conv(384, 384, (1, 3), padding=(0, 1)), _Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = _Conv(channels, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, stride=1, padding=1) if self.maximum else _mean(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three),
                 self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]  # fmt: skip
        return torch.cat(parts, 1)


class FIDInception(nn.Module):
    """(B, 3, H, W) in [-1, 1] → (B, 2048), the pooled features of the Fréchet Inception distance.

    Images are resampled to 299×299 bilinearly (without antialiasing), as pytorch-fid does.
    """

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = _Conv(3, 32, 3, stride=2), _Conv(32, 32, 3)
        self.Conv2d_2b_3x3, self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = _Conv(32, 64, 3, padding=1), _Conv(64, 80, 1), _Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _MixedA(192, 32), _MixedA(256, 64), _MixedA(288, 64)
        self.Mixed_6a, self.Mixed_6b, self.Mixed_6c = _MixedB(288), _MixedC(768, 128), _MixedC(768, 160)
        self.Mixed_6d, self.Mixed_6e, self.Mixed_7a = _MixedC(768, 160), _MixedC(768, 192), _MixedD(768)
        self.Mixed_7b, self.Mixed_7c = _MixedE(1280), _MixedE(2048, maximum=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, (299, 299), mode="bilinear", align_corners=False)
        x = F.max_pool2d(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))), 3, stride=2)
        x = F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, stride=2)
        x = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(x))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(x))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        return x.mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """(B, 1008), without the bias, as the Inception score takes them (Salimans et al. 2016)."""
        return F.linear(self(x), self.fc.weight)


class _Padded(nn.Module):
    """Every second pixel, and zeros around its channels, where the shape changes: a shortcut without parameters."""

    def __init__(self, more: int):
        super().__init__()
        self.more = more

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[..., ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2)) if self.more else x


class CIFARResNet20(nn.Module):
    """(B, 3, 32, 32) in [-1, 1] → (B, 64), averaged over places; `logits` gives those of CIFAR-10's classes."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        widths = ((16, 16, 1), (16, 32, 2), (32, 64, 2))
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(*[BasicBlock(c, b, s, _Padded(b - c)) for c, s in ((a, stride), (b, 1), (b, 1))]) for a, b, stride in widths
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(imagenet(x))))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """(B, 10)."""
        return self.linear(self(x))

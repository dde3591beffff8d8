"""Convolutional encoders: image → one feature vector a pixel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), 3×3, no normalisation (Lim et al. 2017)."""

    def __init__(self, width: int, dilation: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class ResidualEncoder(nn.Module):
    """(B, C, H, W) → (B, width, H, W): a convolution, residual blocks, a convolution, one long shortcut.

    Receptive field: 2 · (2 · blocks + 2) + 1 pixels.
    """

    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.body = nn.Sequential(*[ResidualBlock(width) for _ in range(blocks)])
        self.tail = nn.Conv2d(width, width, 3, padding=1)
        self.radius = 2 * blocks + 2

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(x)
        return h + self.tail(self.body(h))


class UNetEncoder(nn.Module):
    """(B, C, H, W) → (B, width, H, W), seeing far: dilated residual blocks at a quarter of the size, with shortcuts.

    The dilations run 1, 2, 4, 8, 1, 2, …; any size is taken, padded by its border to a multiple of four.
    """

    def __init__(self, channels: int, width: int, blocks: int):
        super().__init__()
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.down1 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)
        self.down2 = nn.Conv2d(2 * width, 2 * width, 4, stride=2, padding=1)
        dilations = [2 ** (i % 4) for i in range(blocks)]
        self.body = nn.Sequential(*[ResidualBlock(2 * width, d) for d in dilations])
        self.up2 = nn.Conv2d(4 * width, 2 * width, 3, padding=1)
        self.up1 = nn.Conv2d(3 * width, width, 3, padding=1)
        self.tail = ResidualBlock(width)
        self.radius = 4 * (sum(dilations) + blocks) + 24

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate")
        h0 = F.relu(self.head(x))
        h1 = F.relu(self.down1(h0))
        h2 = F.relu(self.down2(h1))
        h = self.body(h2)
        h = F.relu(self.up2(torch.cat([F.interpolate(h, scale_factor=2), h1], 1)))
        h = F.relu(self.up1(torch.cat([F.interpolate(h, scale_factor=2), h0], 1)))
        return self.tail(h)[..., :height, :width]

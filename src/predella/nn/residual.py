"""Residual-in-residual dense blocks, and what steers them by a code: mapping network, modulated instance normalisation."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.2  # of every leaky ReLU here
SCALE = 0.2  # of what a block adds to its input


def convolution(c_in: int, c_out: int, weight_normed: bool) -> nn.Module:
    """A 3×3 convolution that keeps the size; initialised by Kaiming's rule (fan in) times 0.1, with or without weight normalisation."""
    conv = nn.Conv2d(c_in, c_out, 3, padding=1)
    assert conv.bias is not None
    nn.init.kaiming_normal_(conv.weight)
    nn.init.zeros_(conv.bias)
    with torch.no_grad():
        conv.weight.mul_(0.1)
    return weight_norm(conv) if weight_normed else conv


class DenseBlock(nn.Module):
    """x + 0.2 · (five 3×3 convolutions, each of all before it) (Wang et al. 2018, ESRGAN, Fig. 4).

    Args:
        width: channels in and out.
        growth: channels that each of the first four convolutions adds.
    """

    def __init__(self, width: int, growth: int, weight_normed: bool = True):
        super().__init__()
        ends = [growth] * 4 + [width]
        self.convs = nn.ModuleList([convolution(width + i * growth, end, weight_normed) for i, end in enumerate(ends)])

    def forward(self, x: Tensor) -> Tensor:
        *inner, last = self.convs
        seen = [x]
        for conv in inner:
            seen.append(F.leaky_relu(conv(torch.cat(seen, 1)), SLOPE))
        return x + SCALE * last(torch.cat(seen, 1))


class RRDB(nn.Module):
    """x + 0.2 · (three dense blocks) (Wang et al. 2018, ESRGAN, Fig. 4)."""

    def __init__(self, width: int, growth: int, weight_normed: bool = True):
        super().__init__()
        self.blocks = nn.Sequential(*[DenseBlock(width, growth, weight_normed) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        return x + SCALE * self.blocks(x)


class MappingNetwork(nn.Module):
    """(B, D) → (B, hidden): dense layers with leaky ReLU between a code and the styles it sets (Karras et al. 2019, Sec. 2).

    The code is brought to unit mean square first.
    """

    def __init__(self, dims: int, hidden: int, layers: int):
        super().__init__()
        sizes = [dims] + [hidden] * layers
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])

    def forward(self, code: Tensor) -> Tensor:
        h = code * (code.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self.layers:
            h = F.leaky_relu(layer(h), SLOPE)
        return h


class Style(nn.Module):
    """(1 + s) · InstanceNorm(x) + b with (s, b) = Linear(style) (Karras et al. 2019, Eq. 1).

    Raises:
        ValueError: one position only, which has no deviation to normalise by.
    """

    def __init__(self, dims: int, width: int):
        super().__init__()
        self.linear = nn.Linear(dims, 2 * width)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        if x.shape[-2] * x.shape[-1] < 2:
            raise ValueError("one position has no deviation to normalise by; ask for an answer larger than 2^levels pixels")
        s, b = self.linear(style)[:, :, None, None].chunk(2, 1)
        return (1 + s) * F.instance_norm(x) + b

r"""Invertible maps: forward and inverse in one class, both returning (value, ladj), ladj (B,) = log |det J| of that direction.

Additive couplings, squeeze: Schirrmeister et al. 2018, Eq. 1, 2, Fig. 2; affine couplings, masks, split: Dinh et al. 2017
(Real-NVP), Eq. 4–8; activation normalisation: Kingma and Dhariwal 2018, Sec. 3.1.
"""

import math
from collections.abc import Iterator
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm

NOT_REPEATABLE = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.RReLU, _SpectralNorm, SpectralNorm)


class Bijection(nn.Module):
    """Abstract. `forward(x)` → (y, log |det ∂y/∂x|), `inverse(y)` → (x, log |det ∂x/∂y|); batch first."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define forward()")

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError(f"{type(self).__name__} must define inverse()")

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        """Set data-dependent parameters (ActNorm's) from a batch x and return the batch mapped on."""
        return self.forward(x)[0]


class Chain(Bijection):
    """One map after another; their ladjs add up."""

    def __init__(self, *maps: Bijection):
        super().__init__()
        if bad := next((m for m in maps if not isinstance(m, Bijection)), None):
            raise ValueError(f"a chain consists of bijections, got a {type(bad).__name__}")
        self.maps = nn.ModuleList(maps)

    def __iter__(self) -> Iterator[Bijection]:
        return cast(Iterator[Bijection], iter(self.maps))

    def __len__(self) -> int:
        return len(self.maps)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        ladj = _zeros(x)
        for bijection in self:
            x, one = bijection(x)
            ladj = ladj + one
        return x, ladj

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        ladj = _zeros(y)
        for bijection in reversed(list(self)):
            y, one = bijection.inverse(y)
            ladj = ladj + one
        return y, ladj

    def initialize(self, x: Tensor) -> Tensor:
        for bijection in self:
            x = bijection.initialize(x)
        return x


class Inverse(Bijection):
    """A map the other way round; `Inverse(Squeeze())` is channels to space."""

    def __init__(self, bijection: Bijection):
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.bijection(y)

    def initialize(self, x: Tensor) -> Tensor:
        if any(isinstance(m, ActNorm) for m in self.modules()):
            raise ValueError("an ActNorm inside Inverse can't be set from data; put it outside")
        return self.forward(x)[0]


class Split(Bijection):
    """(x1, x2) ↦ (inner(x1), x2): the second half of the channels is finished, the first goes on (Real-NVP, Eq. 13–15).

    `inner` must keep its input's shape: wrap it between a squeeze and its inverse for the next scale.

    Raises:
        ValueError: an odd number of channels, or an `inner` that changes the shape.
    """

    def __init__(self, inner: Bijection):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x1, x2 = halves(x)
        y1, ladj = self.inner(x1)
        return _join_like(y1, x1, x2), ladj

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        y1, y2 = halves(y)
        x1, ladj = self.inner.inverse(y1)
        return _join_like(x1, y1, y2), ladj

    def initialize(self, x: Tensor) -> Tensor:
        x1, x2 = halves(x)
        return torch.cat([self.inner.initialize(x1), x2], 1)


class Squeeze(Bijection):
    r"""Space to channels: (B, C, H, W) ↔ (B, 4C, H/2, W/2).

    The four pixels of each 2×2 cell go to the order ↖ ↘ ↗ ↙, so that either half of the channels still covers the whole
    image (Schirrmeister et al. 2018, Fig. 2): ↖ ↘ is one colour of a checkerboard, ↗ ↙ the other.

    Args:
        streams: that many equal groups of channels are squeezed each by itself. 2 keeps the halves that couplings work on
            apart, as the paper does from its second subsampling on.

    Raises:
        ValueError: an odd height or width, or a number of channels that `streams` (or, back, 4 · streams) does not divide.

    Example:
        >>> y, ladj = Squeeze()(torch.arange(16.).view(1, 1, 4, 4))
        >>> y.shape, ladj
        (torch.Size([1, 4, 2, 2]), tensor([0.]))
        >>> y[0, :, 0, 0]
        tensor([0., 5., 1., 4.])
    """

    def __init__(self, streams: int = 1):
        super().__init__()
        if streams < 1:
            raise ValueError(f"streams must be at least 1, got {streams}")
        self.streams = streams

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.ndim != 4 or x.shape[2] % 2 or x.shape[3] % 2:
            raise ValueError(f"squeeze needs (B, C, H, W) with even H and W, got {tuple(x.shape)}; pad it to even edges")
        batch, channels, height, width = x.shape
        self._check(channels, self.streams)
        cells = x.reshape(batch, self.streams, -1, height // 2, 2, width // 2, 2)
        corners = [cells[:, :, :, :, i, :, j] for i, j in ((0, 0), (1, 1), (0, 1), (1, 0))]
        return torch.stack(corners, 2).reshape(batch, 4 * channels, height // 2, width // 2), _zeros(x)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        if y.ndim != 4:
            raise ValueError(f"squeeze needs (B, C, H, W), got {tuple(y.shape)}")
        batch, channels, height, width = y.shape
        self._check(channels, 4 * self.streams)
        a, d, b, c = y.reshape(batch, self.streams, 4, -1, height, width).unbind(2)
        rows = [torch.stack([a, b], -1), torch.stack([c, d], -1)]  # (B, streams, C/streams, h, w, 2) each
        x = torch.stack(rows, -3)  # (B, streams, C/streams, h, 2, w, 2)
        return x.reshape(batch, channels // 4, 2 * height, 2 * width), _zeros(y)

    def _check(self, channels: int, divisor: int) -> None:
        if channels % divisor:
            raise ValueError(f"squeeze of {self.streams} streams needs channels divisible by {divisor}, got {channels}")

    def extra_repr(self) -> str:
        return f"streams={self.streams}"


class Coupling(Bijection):
    """Abstract: one half of the channels is changed by what the other half says, then the other way round (Eq. 1, 2).

    Args:
        f, g: networks of the second half and of the changed first half, without random or batch-dependent layers.

    Raises:
        ValueError: a layer inside f or g that gives another value on the way back (dropout in any of torch's layers, batch
            normalisation, spectral normalisation, RReLU) or one that overwrites its input, which would break the inverse; an odd
            number of channels; numbers of another shape than `step` takes, which would broadcast to a wrong ladj.
    """

    def __init__(self, f: nn.Module, g: nn.Module):
        super().__init__()
        self.f, self.g = f, g
        _check_repeatable(self)

    def step(self, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Change a (B, C, …) by h, elementwise and invertibly: (a' of a's shape, ladj (B,))."""
        raise NotImplementedError(f"{type(self).__name__} must define step()")

    def back(self, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Undo `step`: (a, ladj of the way back)."""
        raise NotImplementedError(f"{type(self).__name__} must define back()")

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 1: y1 = x1 + F(x2), y2 = x2 + G(y1), with "+" the step."""
        x1, x2 = halves(x)
        y1, first = self.step(x1, _asked(self.f, x2))
        y2, second = self.step(x2, _asked(self.g, y1))
        return torch.cat([y1, y2], 1), first + second

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 2: x2 = y2 - G(y1), x1 = y1 - F(x2)."""
        y1, y2 = halves(y)
        x2, second = self.back(y2, _asked(self.g, y1))
        x1, first = self.back(y1, _asked(self.f, x2))
        return torch.cat([x1, x2], 1), first + second


class AdditiveCoupling(Coupling):
    """y1 = x1 + F(x2), y2 = x2 + G(y1) (Eq. 1). Volume-preserving: ladj = 0. F and G keep the number of channels."""

    def step(self, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return a + _like(h, a), _zeros(a)

    def back(self, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return a - _like(h, a), _zeros(a)


class AffineCoupling(Coupling):
    """y1 = x1 · exp(s(x2)) + t(x2), then the other half (Real-NVP, Eq. 4); F and G give s and t, twice the channels.

    Args:
        bound: |s| stays below it (s = bound · tanh(raw / bound)), which bounds what one coupling can do to rounding errors.
    """

    def __init__(self, f: nn.Module, g: nn.Module, bound: float = 2.0):
        super().__init__(f, g)
        if bound <= 0:
            raise ValueError(f"bound must be positive, got {bound}")
        self.bound = bound

    def step(self, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s, t = bounded(_like(h, a, 2), self.bound)
        return a * s.exp() + t, s.flatten(1).sum(1)

    def back(self, a: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        s, t = bounded(_like(h, a, 2), self.bound)
        return (a - t) * (-s).exp(), -s.flatten(1).sum(1)

    def extra_repr(self) -> str:
        return f"bound={self.bound}"


class MaskedCoupling(Bijection):
    """y = b ⊙ x + (1 - b) ⊙ (x ⊙ exp(s(b ⊙ x)) + t(b ⊙ x)), Real-NVP, Eq. 9.

    Args:
        net: (B, C, …) → (B, 2C, …), s and t.
        mask: "checkerboard" (b = 1 where row + column is even) or "channels" (b = 1 in the first half of the channels).
        swap: b and 1 - b change places.
        bound: see `AffineCoupling`.
    """

    def __init__(self, net: nn.Module, mask: Literal["checkerboard", "channels"], swap: bool = False, bound: float = 2.0):
        super().__init__()
        if mask not in ("checkerboard", "channels"):
            raise ValueError(f"mask must be 'checkerboard' or 'channels', got '{mask}'")
        self.net, self.mask, self.swap, self.bound = net, mask, swap, bound
        _check_repeatable(self)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        b = (checkerboard(x) if self.mask == "checkerboard" else channel_mask(x)).to(x)
        b = 1 - b if self.swap else b
        s, t = bounded(_like(self.net(b * x), x, 2), self.bound)
        return (1 - b) * s, (1 - b) * t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._parts(x)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self._parts(y)  # b ⊙ y = b ⊙ x
        return (y - t) * (-s).exp(), -s.flatten(1).sum(1)

    def extra_repr(self) -> str:
        return f"mask={self.mask!r}, swap={self.swap}"


class ActNorm(Bijection):
    """y = (x + shift) · exp(scale), one shift and scale a channel (Kingma and Dhariwal 2018).

    `initialize` sets them so that a batch comes out with mean 0 and deviation 1 in every channel.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.scale = nn.Parameter(torch.zeros(channels))

    def _shaped(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if x.ndim < 2 or x.shape[1] != len(self.shift):
            raise ValueError(f"ActNorm of {len(self.shift)} channels got {tuple(x.shape)}")
        shape = (1, -1, *[1] * (x.ndim - 2))
        ladj = self.scale.sum() * math.prod(x.shape[2:])
        return self.shift.view(shape), self.scale.view(shape), ladj.expand(len(x))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale, ladj = self._shaped(x)
        return (x + shift) * scale.exp(), ladj

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale, ladj = self._shaped(y)
        return y * (-scale).exp() - shift, -ladj

    @torch.no_grad()
    def initialize(self, x: Tensor) -> Tensor:
        self._shaped(x)
        dims = [0, *range(2, x.ndim)]
        if len(x) * math.prod(x.shape[2:]) < 2:
            raise ValueError(f"ActNorm takes its deviations from at least 2 values a channel, got {tuple(x.shape)}")
        self.shift.copy_(-x.mean(dims))
        self.scale.copy_(-x.std(dims).clamp(min=1e-6).log())
        return self.forward(x)[0]


def _check_repeatable(bijection: Bijection) -> None:
    for name, module in bijection.named_modules():
        parts = (module, *module._forward_pre_hooks.values())  # the older spectral norm is a hook
        if bad := next((p for p in parts if isinstance(p, NOT_REPEATABLE) or _drops(p)), None):
            raise ValueError(f"{name} is a {type(bad).__name__.strip('_')}, which gives another value on the way back; use no such layer")


def _drops(module: nn.Module) -> bool:
    return isinstance(module, (nn.MultiheadAttention, nn.RNNBase)) and module.dropout > 0  # drop numbers out by themselves


def _asked(net: nn.Module, x: Tensor) -> Tensor:
    """net(x), which must leave x as it is."""
    if torch.compiler.is_compiling() or x.is_inference():
        return net(x)
    version = x._version
    h = net(x)
    if x._version != version:
        raise ValueError(f"a {type(net).__name__} overwrites its input, which breaks the inverse; build its first layer with inplace=False")
    return h


def _like(h: Tensor, a: Tensor, times: int = 1) -> Tensor:
    """h, which must have a's shape with `times` the channels."""
    shape = (len(a), times * a.shape[1], *a.shape[2:])
    if tuple(h.shape) != shape:
        raise ValueError(f"the network of a coupling must give {shape} for {tuple(a.shape)} to be changed, it gave {tuple(h.shape)}")
    return h


def halves(x: Tensor) -> tuple[Tensor, Tensor]:
    """The first and the second half of the channels.

    Raises:
        ValueError: an odd number of channels.
    """
    if x.ndim < 2 or x.shape[1] % 2:
        raise ValueError(f"a coupling needs an even number of channels, got {tuple(x.shape)}")
    first, second = x.chunk(2, 1)
    return first, second


def checkerboard(x: Tensor) -> Tensor:
    """(1, 1, H, W) bool: true where row + column is even, for x (B, C, H, W)."""
    rows, columns = (torch.arange(n, device=x.device) for n in x.shape[-2:])
    return ((rows[:, None] + columns) % 2 == 0)[None, None]


def channel_mask(x: Tensor) -> Tensor:
    """(1, C, 1, …) bool: true in the first half of the channels of x (B, C, …)."""
    first = torch.arange(x.shape[1], device=x.device) < x.shape[1] // 2
    return first.view(1, -1, *[1] * (x.ndim - 2))


def bounded(h: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """(B, 2C, …) → log-scale s with |s| < bound, and shift t, (B, C, …) each."""
    s, t = halves(h)
    return bound * torch.tanh(s / bound), t


def _zeros(x: Tensor) -> Tensor:
    return x.new_zeros(len(x))


def _join_like(new: Tensor, old: Tensor, rest: Tensor) -> Tensor:
    if new.shape != old.shape:
        raise ValueError(f"the inner map of Split must keep the shape {tuple(old.shape)}, it gave {tuple(new.shape)}")
    return torch.cat([new, rest], 1)


class ConvNet(nn.Sequential):
    """Conv(c → hidden), ReLU, Conv(hidden → out), same size: the F and G of Schirrmeister et al. (Fig. 4).

    Args:
        final: factor on the last layer's initial weights; 0 starts a coupling as the identity.
    """

    def __init__(self, channels: int, hidden: int, out: int | None = None, kernel: int = 3, final: float = 1.0):
        last = nn.Conv2d(hidden, channels if out is None else out, kernel, padding=kernel // 2)
        super().__init__(nn.Conv2d(channels, hidden, kernel, padding=kernel // 2), nn.ReLU(), last)
        if final != 1:
            with torch.no_grad():
                for p in last.parameters():
                    p.mul_(final)

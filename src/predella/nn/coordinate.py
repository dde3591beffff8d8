"""Coordinate networks: a position → a value."""

import math

import torch
from torch import Tensor, nn

from predella.nn.precision import outside_autocast


class HeatField(nn.Module):
    r"""A trigonometric field whose Gaussian blur is exact at no cost.

    T(x) = Σ_k e^{-κ (c_k² · t)} (sine_k sin(c_k · x) + cosine_k cos(c_k · x))

    The exponential solves the heat equation ∂T/∂t = κ ΔT, so the field at time t is the field at 0 seen by a Gaussian
    pixel of variance 2κt on each axis (neural heat fields, Becker et al. 2025). Frequencies c_k and diffusivity κ are
    this module's; sine and cosine are *weights*, one set a cell, from a hypernetwork (a constant is the cell's parabola's). Phases need no
    sine of their own: W sin(cx + b) = (W cos b) sin(cx) + (W sin b) cos(cx).

    Args:
        hidden: number of frequencies K.
        bandwidth: the frequencies start uniform in a disk of this radius (radians per cell).
    """

    # κ at the start, from Becker et al. 2025; it is trained
    DIFFUSIVITY = math.sqrt(math.log(4)) / (2 * math.pi**2)

    def __init__(self, hidden: int, bandwidth: float):
        super().__init__()
        radius = bandwidth * torch.rand(hidden).sqrt()
        angle = 2 * math.pi * torch.rand(hidden)
        self.frequency = nn.Parameter(torch.stack([radius * angle.sin(), radius * angle.cos()]))  # (2, K) radians a cell
        self.diffusivity = nn.Parameter(torch.tensor(self.DIFFUSIVITY))

    def decay(self, time: Tensor, variance: Tensor | float = 0.0) -> Tensor:
        """(K,): e^{-κ c²·t - c²·v/2}; `time` (2,) by axis, `variance` of an extra Gaussian blur by axis, in cells²."""
        return torch.exp(-(self.frequency**2 * (self.diffusivity.abs() * time + 0.5 * variance).view(2, 1)).sum(0))

    def basis(self, offset: Tensor, order: tuple[int, int] = (0, 0)) -> Tensor:
        """(…, 2) offsets (y, x) in cells → (…, 2K): the derivative ∂^order of [sin(c · x), cos(c · x)].

        A derivative multiplies by c and turns by a quarter: d^n sin(cx)/dx^n = c^n sin(cx + nπ/2).
        """
        phase = offset @ self.frequency.to(offset) + sum(order) * (math.pi / 2)
        scale = (self.frequency[0] ** order[0] * self.frequency[1] ** order[1]).to(offset)
        return torch.cat([phase.sin() * scale, phase.cos() * scale], -1)


# One axis of quadratic interpolation (Dodgson 1997): value, slope and curvature of a cell from its three neighbours.
# The nine products interpolate the pixels and are continuous across cell borders.
QUADRATIC = torch.tensor([[0.0, 1.0, 0.0], [-0.5, 0.0, 0.5], [1.0, -2.0, 1.0]])


def quadratic_coefficients(image: Tensor) -> Tensor:
    """(B, C, h, w) → (B, C, 9, h, w): coefficients of y^i x^j, i, j ≤ 2, of every pixel's own parabola."""
    batch, channels, height, width = image.shape
    kernel = torch.einsum("ai,bj->abij", QUADRATIC, QUADRATIC).reshape(9, 1, 3, 3).to(image)
    padded = nn.functional.pad(image.reshape(batch * channels, 1, height, width), (1, 1, 1, 1), mode="replicate")
    with torch.autocast(image.device.type, enabled=False):  # what it interpolates is met exactly
        return nn.functional.conv2d(padded, kernel).view(batch, channels, 9, height, width)


def quadratic_basis(offset: Tensor, order: tuple[int, int] = (0, 0), variance: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """(…, 2) offsets (y, x) → (…, 9): ∂^order of y^i x^j, blurred by a Gaussian of `variance` (x² becomes x² + v)."""
    rows = [_powers(offset[..., axis], order[axis], variance[axis]) for axis in (0, 1)]
    return (rows[0][..., :, None] * rows[1][..., None, :]).flatten(-2)


def _powers(x: Tensor, order: int, variance: float) -> Tensor:
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows = {0: (one, x, x * x + variance), 1: (zero, one, 2 * x), 2: (zero, zero, 2 * one)}
    return torch.stack(rows.get(order, (zero, zero, zero)), -1)


class CosineMLP(nn.Module):
    """A position → a value in (-1, 1): fully connected, cosine between, a sigmoid last, residual connections.

    Widths differ from layer to layer, so a shortcut repeats nothing: it is cut or filled with zeros. There is no batch
    norm: batch statistics would make the value at a position depend on which other positions are asked for. See
    `fold_normalization` for the statistics of a fixed grid, carried in the weights.

    With `places`, every layer's sum also gets a shift that depends on the position, smoothly, through bumps β (`spline_basis`):
    z_i = W_i h_i + b_i + P_i β(y, x), h_(i+1) = cos z_i + h_i. So parts of an image have numbers of their own in one network, which still
    has a value at every position. Source: the shift modulations on a grid of spatial functa (Bauer et al. 2023), here of B-splines, and in
    the last layer, too.

    Args:
        inputs: coordinates a position; with `places` 2, (y, x) in [-1, 1].
        widths: of the layers between, e.g. (24, 48, 48, 24).
        outputs: channels of the value.
        places: edge of the grid of bumps; 0: none.

    Raises:
        ValueError: places of positions that are no (y, x).
    """

    def __init__(self, inputs: int, widths: tuple[int, ...], outputs: int, places: int = 0):
        if places < 0 or (places and inputs != 2):
            raise ValueError(f"places need two coordinates and must not be negative, got {places} places of {inputs} coordinates")
        super().__init__()
        sizes = [inputs, *widths, outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.edge = places
        self.places = nn.ModuleList(nn.Linear(places**2, b, bias=False) for b in sizes[1:]) if places else nn.ModuleList()

    def linear(self) -> list[nn.Linear]:
        """The layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, x: Tensor) -> Tensor:
        """(B, Q, inputs) → (B, Q, outputs)."""
        bumps = spline_basis(x, self.edge) if self.edge else x
        shifts = [place(bumps) for place in self.places] or [0.0] * len(self.layers)
        first, *middle, last = self.linear()
        h = (first(x) + shifts[0]).cos()
        for layer, shift in zip(middle, shifts[1:]):
            h = (layer(h) + shift).cos() + _fit(h, layer.out_features)
        return 2 * (last(h) + shifts[-1]).sigmoid() - 1


def spline_basis(x: Tensor, places: int) -> Tensor:
    """(…, 2) positions (y, x) in [-1, 1] → (…, places²), row by row: products of quadratic B-splines around the cells' centres.

    Of a distance d in cells: ¾ − d² to ½, ½ (3/2 − d)² to 3/2, then 0 (de Boor 1978). Their slopes are continuous, at most nine are not
    0, and they add up to 1 but in the outermost cells, where they fade to ½ on an edge and ¼ in a corner.
    """
    cell = torch.arange(places, dtype=x.dtype, device=x.device) + 0.5
    far = ((x[..., None] + 1) * (places / 2) - cell).abs()  # (…, 2, places), in cells
    bump = torch.where(far < 0.5, 0.75 - far**2, 0.5 * (1.5 - far).clamp(min=0) ** 2)
    return (bump[..., 0, :, None] * bump[..., 1, None, :]).flatten(-2)


def _fit(h: Tensor, width: int) -> Tensor:
    return nn.functional.pad(h, (0, width - h.shape[-1]))  # a negative pad cuts


@outside_autocast
def fold_normalization(mlp: CosineMLP, weights: dict[str, Tensor], grid: Tensor, eps: float = 1e-5) -> dict[str, Tensor]:
    """Weights of `mlp` in which every layer but the last is normalised to mean 0 and variance 1 over `grid`.

    Args:
        weights: "layers.i.weight" (B, out, in), "layers.i.bias" (B, out).
        grid: (B, Q, inputs), the positions the statistics are taken on, once.

    Returns:
        the same names: a normalised linear layer is a linear layer with other weights.

    Raises:
        ValueError: a network with places.
    """
    if mlp.edge:
        raise ValueError(f"statistics are folded into networks without places, this one has {mlp.edge}×{mlp.edge}")
    out, h = dict(weights), grid
    for i, layer in enumerate(mlp.linear()[:-1]):
        weight, bias = weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]
        z = torch.baddbmm(bias.unsqueeze(1), h, weight.transpose(1, 2))
        mean, rstd = z.mean(1), (z.var(1, unbiased=False) + eps).rsqrt()
        out[f"layers.{i}.weight"], out[f"layers.{i}.bias"] = weight * rstd.unsqueeze(-1), (bias - mean) * rstd
        z = ((z - mean.unsqueeze(1)) * rstd.unsqueeze(1)).cos()
        h = z if i == 0 else z + _fit(h, layer.out_features)
    return out

"""Functional images: a hypernetwork turns an image into the weights of a coordinate network (Klocek et al. 2019, Sec. 2.1).

`weights(image)` is H_φ, `query(weights, coords)` is T((i, j); θ): three grains of the same idea, chosen by the config.

* `CellFields`: one small trigonometric field a pixel of the input; its Gaussian blur and its derivatives are closed forms.
* `PatchNetworks` (models/functional_patches.py): the paper's own, a five-layer cosine network an overlapping patch.
* `WholeNetworks` (models/functional_whole.py): one such network for the whole image, whose weights can be blended (Sec. 3.3).
"""

from dataclasses import field as default
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.image.contract import check_image
from predella.image.coords import WHOLE, Region, centres, check_inside
from predella.models.base import Model
from predella.models.functional_patches import PatchNetworks, PatchPaint
from predella.models.functional_whole import WholeNetworks, WholePaint
from predella.nn.coordinate import HeatField, quadratic_basis, quadratic_coefficients
from predella.nn.encoders import ResidualEncoder, UNetEncoder
from predella.nn.hyper import HyperNetwork, Weights, first_layers, interpolate_on_arc, interpolate_weights
from predella.nn.precision import outside_autocast

NUDGE = 1e-4  # cells: more than the rounding of float32 coordinates of 3 000 pixels, and nothing to the eye


@config
class CellFields:
    """One field a pixel of the input.

    Args:
        width, blocks: channels and residual blocks of the encoder.
        hidden: frequencies K of a field.
        bandwidth: frequencies start inside this radius, in radians a cell.
        encoder: "residual", or "unet" to see far (holes): `blocks` residual blocks at a quarter of the size.
    """

    kind: Literal["cells"] = "cells"
    width: int = 32
    blocks: int = 6
    hidden: int = 32
    bandwidth: float = 12.566
    encoder: Literal["residual", "unet"] = "residual"

    def __post_init__(self):
        for name in ("width", "blocks", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@config
class FunctionalImageConfig:
    """Args:
    field: the grain, with its sizes.
    mask: the hypernetwork sees image × mask and the mask (1 = known), four channels; for filling holes.
    """

    kind: Literal["functional_image"] = "functional_image"
    field: CellFields | PatchNetworks | WholeNetworks = default(default_factory=CellFields)
    mask: bool = False


class FunctionalImage(Model):
    """An image as a function. See the module's docstring; `forward` is `render` of `weights` at a size."""

    Config: ClassVar[type] = FunctionalImageConfig
    name: ClassVar[str] = "functional_image"

    def __init__(self, config: FunctionalImageConfig | None = None):
        super().__init__()
        self.config = config or FunctionalImageConfig()
        channels = 4 if self.config.mask else 3
        grain = self.config.field
        match grain:
            case CellFields():
                self.paint, self.verbs = CellPaint(grain, channels), ("upscale", "export")
            case PatchNetworks():
                self.paint, self.verbs = PatchPaint(grain, channels), ("upscale",)
            case WholeNetworks():
                self.paint, self.verbs = WholePaint(grain, channels), ("upscale", "interpolate")
        if self.config.mask:
            self.verbs = ("fill",)

    @property
    def radius(self) -> int:
        """How many input pixels around a position its value depends on; tiles overlap by this much."""
        return self.paint.radius

    @property
    def enlarges_only(self) -> bool:
        """Whether an image can't be asked for fewer pixels than it has. One network an image holds any size; its own is a guess, too."""
        return not isinstance(self.config.field, WholeNetworks)

    def weights(self, image: Tensor, known: Tensor | None = None) -> Weights:
        """θ = H_φ(x), one forward pass.

        Args:
            image: (B, 3, h, w) in [-1, 1].
            known: (B, 1, h, w), 1 where the image is known and 0 in holes; for models with `mask`.

        Raises:
            ValueError: an image that breaks the contract, or `known` given to a model without mask or missing for one with it.
        """
        if not torch.compiler.is_compiling():
            check_image(image, channels=3)
        if (known is not None) != self.config.mask:
            needs = "needs known=, the mask of known pixels" if self.config.mask else "has no mask; leave known= out"
            raise ValueError(f"this model {needs}")
        if known is not None:
            return self.paint(torch.cat([image * known, known], 1))
        return self.paint(image)

    @outside_autocast
    def query(self, weights: Weights, coords: Tensor, scale: tuple[float, float] | Tensor | None = None, *,
              derivatives: int = 0, blur: float = 0.0) -> Tensor | tuple[Tensor, Tensor]:  # fmt: skip
        """T((y, x); θ) at any coordinates.

        Args:
            weights: from `weights`.
            coords: (Q, 2) as (y, x) in [-1, 1]; see image.coords.
            scale: (vertical, horizontal) pixels asked for per pixel of the input: the paper's α, and the size of the pixel
                the field is seen with. None: infinitely fine points.
            derivatives: 1 to get also the exact ∂T/∂(y, x).
            blur: standard deviation, in pixels of the input, of a Gaussian the function is convolved with (cells only).

        Returns:
            (B, Q, 3), and with `derivatives=1` also (B, Q, 3, 2).
        """
        if coords.ndim != 2 or coords.shape[1] != 2:
            raise ValueError(f"coords must have shape (Q, 2) as (y, x) in [-1, 1], got {tuple(coords.shape)}")
        check_inside(*coords.detach().aminmax())
        if derivatives not in (0, 1):
            raise ValueError(f"derivatives must be 0 or 1, got {derivatives}")
        return self.paint.query(weights, coords, scale, derivatives, blur)

    def values(self, weights: Weights, coords: Tensor, scale: tuple[float, float] | None = None) -> Tensor:
        """(B, Q, 3): `query` without its options."""
        value = self.query(weights, coords, scale)
        assert isinstance(value, Tensor)
        return value

    @outside_autocast
    def render(self, weights: Weights, size: tuple[int, int], region: Region = WHOLE, blur: float = 0.0) -> Tensor:
        """(B, 3, H, W): the function on a grid of `size` = (H, W) pixels over `region`, faster than `query`.

        The scale follows from size, region and the input's size. Values may overshoot [-1, 1] a little.
        """
        height, width = size
        if height < 1 or width < 1:
            raise ValueError(f"size must be at least 1×1, got {height}×{width}")
        top, left, bottom, right = region
        check_inside(*region)
        if not (bottom > top and right > left):
            raise ValueError(f"region must be (top, left, bottom, right) with top < bottom and left < right, got {region}")
        device = next(self.parameters()).device
        y = centres(height, top, bottom, torch.float64, device)
        x = centres(width, left, right, torch.float64, device)
        h, w = self.paint.cells(weights)
        scale = (2 * height / ((bottom - top) * h), 2 * width / ((right - left) * w))
        return self.paint.render(weights, y, x, scale, blur)

    def between(self, a: Weights, b: Weights, t: float | Tensor, layers: int | None = None,
                path: Literal["line", "arc"] = "line") -> Weights:  # fmt: skip
        """Weights from a (t = 0) to b (t = 1), of the first `layers` layers (None: of all); the others stay as in `a` (Sec. 3.3, Fig. 7).

        Args:
            t: a number, or one (B,) an item.
            path: "line" is the paper's, (1 - t) · a + t · b; "arc" goes around the mean of all images, as far from it as the ends are.

        Raises:
            ValueError: a model of cells or patches, whose layers are no image's own, layers outside 0 … their number, or an arc
                around a mean that was never fitted.
        """
        if not isinstance(self.paint, WholePaint) or not isinstance(self.config.field, WholeNetworks):
            raise ValueError(f"weights are blended where an image has one network, this model has {self.config.field.kind}")
        count = len(self.config.field.target) + 1
        if layers is not None and not 0 <= layers <= count:
            raise ValueError(f"layers must lie in 0…{count}, got {layers}")
        names = first_layers(a, count if layers is None else layers)
        if path == "arc":
            return interpolate_on_arc(a, b, t, self.paint.centre(), names)
        return interpolate_weights(a, b, t, names)

    def forward(self, image: Tensor, size: tuple[int, int], known: Tensor | None = None) -> Tensor:
        """(B, 3, h, w) → (B, 3, *size)."""
        return self.render(self.weights(image, known), size)


class CellPaint(HyperNetwork):
    """Hypernetwork of one `HeatField` a pixel, and the evaluation of those fields.

    Weights: "sine" and "cosine" (B, h, w, 3, K), "parabola" (B, h, w, 3, 9): the pixels' quadratic interpolation, to which
    the field adds detail. All three act linearly, so weights can be blended, averaged and blurred.
    """

    def __init__(self, grain: CellFields, channels: int):
        super().__init__()
        kind = ResidualEncoder if grain.encoder == "residual" else UNetEncoder
        self.encoder = kind(channels, grain.width, grain.blocks)
        self.head = nn.Conv2d(grain.width, 6 * grain.hidden, 1)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.bias.zero_()
            self.head.weight.mul_(0.1)  # start close to the interpolated pixels
        self.field = HeatField(grain.hidden, grain.bandwidth)
        self.radius = self.encoder.radius + 1

    @staticmethod
    def cells(weights: Weights) -> tuple[int, int]:
        """(h, w): how many cells the image has."""
        return weights["sine"].shape[1], weights["sine"].shape[2]

    def forward(self, x: Tensor) -> Weights:
        batch, _, height, width = x.shape
        features = self.encoder(x.contiguous(memory_format=torch.channels_last))
        sine, cosine = self.head(features).permute(0, 2, 3, 1).reshape(batch, height, width, 2, 3, -1).unbind(3)
        parabola = quadratic_coefficients(x[:, :3]).permute(0, 3, 4, 1, 2)
        return {"sine": sine, "cosine": cosine, "parabola": parabola}

    @outside_autocast
    def query_cells(self, weights: Weights, offset: Tensor, scale: tuple[float, float]) -> Tensor:
        """offset (h, w, Q, 2) in [-.5, .5] around every cell's centre, equal for all items → (B, h, w, Q, 3)."""
        time = torch.tensor([1 / scale[0] ** 2, 1 / scale[1] ** 2], dtype=torch.float64).to(offset)
        decay = self.field.decay(time)
        basis = torch.cat([self.field.basis(offset) * decay.repeat(2), quadratic_basis(offset)], -1)  # (h, w, Q, P)
        theta = torch.cat([weights["sine"], weights["cosine"], weights["parabola"]], -1)  # (B, h, w, 3, P)
        return torch.einsum("bhwcp,hwqp->bhwqc", theta, basis)

    def query(self, weights, coords, scale, derivatives, blur):
        h, w = self.cells(weights)
        weights, variance = _blurred(weights, blur)
        row, dy = locate(coords[:, 0].double(), h)
        column, dx = locate(coords[:, 1].double(), w)
        dy, dx = dy.to(coords.dtype), dx.to(coords.dtype)
        offset, index = torch.stack([dy, dx], -1), row * w + column
        theta = [torch.cat([weights["sine"], weights["cosine"]], -1), weights["parabola"]]
        theta = [t.flatten(1, 2)[:, index] for t in theta]  # (B, Q, 3, 2K), (B, Q, 3, 9)
        decay = self._decay(scale, variance).repeat(2)

        def value(order):
            wave = self.field.basis(offset, order) * decay.to(offset)
            return (theta[0] * wave[:, None]).sum(-1) + (theta[1] * quadratic_basis(offset, order, (variance, variance))[:, None]).sum(-1)

        if not derivatives:
            return value((0, 0))
        # from cells to coordinates: d(place)/d(coords) = count / 2
        jacobian = torch.stack([value((1, 0)) * (h / 2), value((0, 1)) * (w / 2)], -1)
        return value((0, 0)), jacobian

    def _decay(self, scale, variance: float) -> Tensor:
        time = torch.zeros(2) if scale is None else torch.as_tensor(scale, dtype=torch.float64) ** -2
        return self.field.decay(time.to(self.field.frequency), variance)

    def render(self, weights: Weights, y: Tensor, x: Tensor, scale: tuple[float, float], blur: float) -> Tensor:
        """Rows y (H,) and columns x (W,), ascending coordinates → (B, 3, H, W).

        sin(a + b) = sin a cos b + cos a sin b splits a row's share from a column's: the row's is applied to whole rows
        of weights, and the columns that fall into one cell become one matrix product.
        """
        h, w = self.cells(weights)
        weights, variance = _blurred(weights, blur)
        decay = self._decay(scale, variance)
        dtype = weights["sine"].dtype
        row, dy = locate(y, h)
        column, dx = locate(x, w)
        first, last = int(column[0]), int(column[-1]) + 1
        width = last - first
        rank = torch.arange(len(column), device=x.device) - torch.searchsorted(column, column)  # place among its cell's columns
        most = int(rank.max()) + 1
        frequency = self.field.frequency.double()
        angle = dx[:, None] * frequency[1]
        columns = torch.cat([angle.sin(), angle.cos(), torch.stack([torch.ones_like(dx), dx, dx * dx + variance], -1)], -1)
        table = columns.new_zeros(width, columns.shape[1], most).to(dtype)  # (cells, P, columns of the cell)
        table[column - first, :, rank] = columns.to(dtype)
        angle = dy[:, None] * frequency[0]
        sin_y, cos_y = ((f * decay.double()).to(dtype)[None, :, None, None, :] for f in (angle.sin(), angle.cos()))
        power_y = torch.stack([torch.ones_like(dy), dy, dy * dy + variance], -1).to(dtype)
        out = torch.empty(weights["sine"].shape[0], 3, len(y), len(x), dtype=dtype, device=x.device)
        pick = (column - first) * most + rank
        step = max(1, 2_000_000 // (width * columns.shape[1] * 3))
        sine, cosine, parabola = (weights[k][:, :, first:last] for k in ("sine", "cosine", "parabola"))
        for top in range(0, len(y), step):
            r = slice(top, top + step)
            s, c, p = sine[:, row[r]], cosine[:, row[r]], parabola[:, row[r]].unflatten(-1, (3, 3))
            sy, cy = sin_y[:, r], cos_y[:, r]
            p = (p * power_y[r][None, :, None, None, :, None]).sum(-2)
            theta = torch.cat([s * cy - c * sy, s * sy + c * cy, p], -1)  # (B, R, w, 3, P), factors of sin, cos and powers of x
            rows = theta.shape[1]
            value = torch.bmm(theta.permute(2, 0, 1, 3, 4).reshape(width, -1, theta.shape[-1]), table)
            value = value.view(width, -1, rows, 3, most).permute(1, 3, 2, 0, 4).flatten(3)
            out[:, :, r] = value[..., pick]
        return out


def locate(place: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Coordinates (N,) in [-1, 1], float64 → cell index (N,) and offset from the cell's centre, in cells.

    A pixel's centre may lie on the border of two cells (every fifth at ×2.5); the nudge gives it to the later one whatever
    the rounding.
    """
    place = (place + 1) / 2 * cells
    cell = (place + NUDGE).floor().clamp(min=0)
    cell = torch.minimum(cell, torch.full_like(cell, 1) * (cells - 1))
    return cell.long(), place - cell - 0.5


def _blurred(weights: Weights, blur: float) -> tuple[Weights, float]:
    """Split a Gaussian of variance blur² into one inside the fields and one over the cells.

    Up to 0.95 cells the closed form of every field carries the blur. A wider one leaves half a cell to it;
    the rest is a Gaussian sum over neighbouring cells:
    T is smooth at that scale, so the sum over the cell grid equals the integral, and because θ acts linearly it is a
    Gaussian filter of θ.
    """
    if blur < 0:
        raise ValueError(f"blur must be ≥ 0, got {blur}")
    inside = blur**2 if blur <= 0.95 else 0.25  # a sampled Gaussian narrower than 0.8 cells would be no Gaussian
    rest = blur**2 - inside
    if rest == 0:
        return weights, inside
    radius = int(5 * rest**0.5) + 1
    taps = torch.exp(-(torch.arange(-radius, radius + 1, dtype=torch.float64) ** 2) / (2 * rest))
    taps = taps / taps.sum()
    out = {}
    for name, theta in weights.items():
        for axis in (1, 2):
            place = torch.arange(theta.shape[axis], device=theta.device)
            total = torch.zeros_like(theta)
            for k, tap in enumerate(taps.tolist(), -radius):
                total = total + tap * theta.index_select(axis, (place + k).clamp(0, theta.shape[axis] - 1))
            theta = total
        out[name] = theta
    return out, inside

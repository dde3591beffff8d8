"""The paper's own functional image: overlapping patches, a cosine network each (Klocek et al. 2019, Sec. 3.1–3.2, Fig. 4, 5)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.coords import grid
from predella.nn.coordinate import CosineMLP, fold_normalization
from predella.nn.hyper import HyperNetwork, Weights, apply_weights


@config
class PatchNetworks:
    """One coordinate network an overlapping patch.

    Args:
        patch, stride: edge of a patch and distance of neighbours, in pixels of the input.
        width: channels of the hypernetwork.
        target: widths of the target network between its 3 inputs (i, j, α) and 3 outputs; with the last, five layers.
        omega: factor on the first layer, which sets the finest detail the cosines start with.
        alphas: smallest and largest α that is trained on; others are clamped to them.
        norm: "none", or "per_image": the paper's batch norm with statistics of the patch's own pixel grid.
    """

    kind: Literal["patches"] = "patches"
    patch: int = 6
    stride: int = 3
    width: int = 48
    target: tuple[int, ...] = (24, 48, 48, 24)
    omega: float = 10.0
    alphas: tuple[float, float] = (2.0, 4.0)
    norm: Literal["none", "per_image"] = "none"

    def __post_init__(self):
        if self.width < 1 or self.patch < 3 or not self.target:
            raise ValueError(f"width ≥ 1, patch ≥ 3 and target widths are needed, got {self.width}, {self.patch}, {self.target}")
        if not 1 <= self.stride <= self.patch:
            raise ValueError(f"stride must lie in 1…patch = {self.patch}, got {self.stride}; a larger one leaves gaps")


class Factorized(nn.Module):
    """An n×n convolution as 1×n, then n×1, each with batch norm and ReLU (Sec. 3.1)."""

    def __init__(self, inputs: int, outputs: int, n: int = 3):
        super().__init__()
        self.row = nn.Conv2d(inputs, outputs, (1, n), padding=(0, n // 2), bias=False)
        self.column = nn.Conv2d(outputs, outputs, (n, 1), padding=(n // 2, 0), bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm2(self.column(F.relu(self.norm1(self.row(x))))))


class Branch(nn.Module):
    """Layers 5–8: features of a patch → the weight and bias of one layer of the target network."""

    def __init__(self, width: int, patch: int, layer: nn.Linear, gain: float, spread: float):
        super().__init__()
        self.shape, self.gain = tuple(layer.weight.shape), gain
        rows, columns = self.shape
        self.convs = nn.Sequential(*[Factorized(width, width) for _ in range(3)])
        self.row = nn.Conv2d(width, width, (1, patch))
        self.column = nn.Conv2d(width, rows * (columns + 1), (patch, 1))
        with torch.no_grad():  # `bias` is one well-scaled random network, shared by all patches
            self.column.weight.mul_(spread)
            assert self.column.bias is not None
            self.column.bias.normal_()

    def forward(self, x: Tensor, stem: Tensor) -> tuple[Tensor, Tensor]:
        """(N, width, patch, patch) from the trunk and from its first layer (the residual) → (N, out, in), (N, out).

        Weights are scaled by gain / √in.
        """
        rows, columns = self.shape
        theta = self.column(F.relu(self.row(stem + self.convs(x)))).flatten(1).view(-1, rows, columns + 1)
        return theta[..., :-1] * (self.gain / math.sqrt(columns)), theta[..., -1]


class PatchPaint(HyperNetwork):
    """Hypernetwork of eight convolution layers with one residual, a shared trunk, then a branch a target layer.

    Weights: "layers.i.weight" (B, ny, nx, out, in), "layers.i.bias" (B, ny, nx, out), "extent" (B, 2) = (h, w).
    """

    def __init__(self, grain: PatchNetworks, channels: int):
        super().__init__()
        self.grain = grain
        self.target = CosineMLP(3, grain.target, 3).requires_grad_(False)  # its own values are never used
        self.stem = Factorized(channels, grain.width)
        self.trunk = nn.Sequential(*[Factorized(grain.width, grain.width) for _ in range(3)])
        layers = self.target.linear()
        gains = [grain.omega, *[1.0] * (len(layers) - 1)]
        # at the start the patches differ in the last layer only: one basis of functions, and coefficients for each patch
        spreads = [*[0.02] * (len(layers) - 1), 1.0]
        self.branches = nn.ModuleList(Branch(grain.width, grain.patch, *given) for given in zip(layers, gains, spreads))
        self.radius = grain.patch

    @staticmethod
    def cells(weights: Weights) -> tuple[int, int]:
        """(h, w) of the input."""
        h, w = weights["extent"][0].tolist()
        return int(h), int(w)

    def forward(self, x: Tensor) -> Weights:
        batch, _, height, width = x.shape
        patch, stride = self.grain.patch, self.grain.stride
        ny, nx = (1 + max(0, math.ceil((n - patch) / stride)) for n in (height, width))
        pad = (0, (nx - 1) * stride + patch - width, 0, (ny - 1) * stride + patch - height)
        tiles = F.pad(x, pad, mode="replicate").unfold(2, patch, stride).unfold(3, patch, stride)
        tiles = tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1], patch, patch)
        stem = self.stem(tiles)
        h = self.trunk(stem)
        theta: Weights = {}
        for i, branch in enumerate(self.branches):
            theta[f"layers.{i}.weight"], theta[f"layers.{i}.bias"] = branch(h, stem)
        if self.grain.norm == "per_image":
            ones = torch.ones(patch * patch, 1, dtype=x.dtype, device=x.device)
            points = torch.cat([grid(patch, patch, dtype=x.dtype, device=x.device), ones], 1)
            theta = fold_normalization(self.target, theta, points.expand(len(tiles), -1, -1))
        out = {k: v.unflatten(0, (batch, ny, nx)) for k, v in theta.items()}
        out["extent"] = torch.tensor([[height, width]], dtype=x.dtype, device=x.device).expand(batch, -1)
        return out

    def evaluate(self, weights: Weights, points: Tensor, scale) -> Tensor:
        """points (B, N, Q, 2) in [-1, 1] of each of the N patches → (B, N, Q, 3).

        α is the mean scale, clamped to `alphas`, divided by the largest.
        """
        low, high = self.grain.alphas
        alpha = high if scale is None else min(high, max(low, float(torch.as_tensor(scale, dtype=torch.float64).mean())))
        batch, count, queries, _ = points.shape
        inputs = torch.cat([points, points.new_full((*points.shape[:3], 1), alpha / high)], -1)
        theta = {k: v.flatten(0, 2) for k, v in weights.items() if k != "extent"}
        return apply_weights(self.target, theta, inputs.view(batch * count, queries, 3)).view(batch, count, queries, 3)

    def query(self, weights: Weights, coords: Tensor, scale, derivatives: int, blur: float):
        """The window-weighted mean of the networks of all patches that cover a coordinate (Sec. 3.2)."""
        if blur:
            raise ValueError("blur is a closed form of cell fields only; this model has patch networks")
        if derivatives:
            wanted = torch.is_grad_enabled()
            with torch.inference_mode(False), torch.enable_grad():
                weights = {k: v.clone() for k, v in weights.items()}  # tensors made in inference mode take no gradient
                at = coords.detach().clone().requires_grad_(True)
                value = self._mean(weights, at, scale)
                rows = [torch.autograd.grad(value[b, :, c].sum(), at, retain_graph=True, create_graph=wanted)[0]
                        for b in range(value.shape[0]) for c in range(3)]  # fmt: skip
            return value if wanted else value.detach(), torch.stack(rows, 1).view(len(coords), -1, 3, 2).transpose(0, 1)
        return self._mean(weights, coords, scale)

    def _mean(self, weights: Weights, coords: Tensor, scale) -> Tensor:
        patch, stride = self.grain.patch, self.grain.stride
        ny, nx = weights["layers.0.bias"].shape[1:3]
        extent = weights["extent"][0].to(coords)
        place = (coords + 1) / 2 * extent
        # the last patch that starts at or before the place, and those before it that still reach it
        reach = math.ceil(patch / stride)
        newest = torch.minimum((place.detach() / stride).floor(), torch.tensor([ny - 1, nx - 1], device=coords.device))
        batch = weights["extent"].shape[0]
        total, norm = coords.new_zeros(batch, len(coords), 3), coords.new_zeros(len(coords))
        for back_y in range(reach):
            for back_x in range(reach):
                at = newest - torch.tensor([back_y, back_x], device=coords.device)
                local = (place - at * stride) * (2 / patch) - 1
                inside = ((at >= 0) & (local.detach().abs() <= 1)).all(-1).nonzero().flatten()
                if len(inside) == 0:
                    continue
                local, at = local[inside], at[inside].long()
                window = ((1 - local.abs()).clamp(min=0) + 1e-6).prod(-1)
                value = self._grouped(weights, at[:, 0] * nx + at[:, 1], local, scale)
                total = total.index_add(1, inside, value * window[:, None])
                norm = norm.index_add(0, inside, window)
        return total / norm[:, None]

    def _grouped(self, weights: Weights, index: Tensor, local: Tensor, scale) -> Tensor:
        """Queries sorted by patch and padded to equal number, so that each patch's network runs once. → (B, Q, 3)."""
        used, inverse, counts = torch.unique(index, return_inverse=True, return_counts=True)
        order = torch.argsort(inverse, stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order), device=order.device) - (counts.cumsum(0) - counts)[inverse[order]]
        points = local.new_zeros(len(used), int(counts.max()), 2).index_put((inverse, rank), local)
        batch = weights["extent"].shape[0]
        out = []
        for piece in torch.arange(len(used), device=index.device).split(2048):
            chosen = {k: v.flatten(1, 2)[:, used[piece]].unsqueeze(1) for k, v in weights.items() if k != "extent"}
            out.append(self.evaluate(chosen, points[piece][None].expand(batch, -1, -1, -1), scale))
        return torch.cat(out, 1)[:, inverse, rank]

    def render(self, weights: Weights, y: Tensor, x: Tensor, scale: tuple[float, float], blur: float) -> Tensor:
        """Rows y (H,) and columns x (W,) → (B, 3, H, W), a band of rows at a time."""
        dtype = weights["extent"].dtype
        bands = []
        for rows in y.to(dtype).split(max(1, 65536 // len(x))):
            points = torch.stack(torch.meshgrid(rows, x.to(dtype), indexing="ij"), -1).view(-1, 2)
            bands.append(self.query(weights, points, scale, 0, blur).unflatten(1, (len(rows), len(x))))
        return torch.cat(bands, 1).permute(0, 3, 1, 2)

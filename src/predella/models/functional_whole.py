"""One coordinate network an image (Klocek et al. 2019, Sec. 2.1, 3.3): the grain whose weights can be blended, layer by layer.

Cells and patches describe an image piece by piece; here the whole image, such as a face, is one point of the space of weights.
"""

import math
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.resize import matrix
from predella.nn.coordinate import CosineMLP
from predella.nn.heads import DenseHeads, PlaceHeads
from predella.nn.hyper import HyperNetwork, Weights, apply_weights

SURVEY = 2000  # images whose mean is taken
BLOCK = 3  # modules of the encoder that halve the edge: convolution, normalisation, ReLU
LAST = 3 * BLOCK  # of them to an eighth of the edge


@config
class WholeNetworks:
    """One coordinate network an image.

    Args:
        edge: images are seen as squares of so many pixels, a multiple of 16.
        width: channels of the encoder.
        embedding: numbers that the weights are made from.
        target: widths of the target network between its 2 inputs and 3 outputs; with the last, five layers.
        omega: factor on the first layer, which sets the finest detail the cosines start with.
        rank: of what is an image's own in a layer's weights, a matrix for all besides; 0: all of it. At the default sizes 1.9 million
            numbers instead of 5.2.
        places: edge of a grid of places, each with numbers of its own that shift the layers' sums around it (`CosineMLP`), made from
            `detail` numbers a place; 0: none, the paper's. At most an eighth of `edge`.
        detail: numbers a place.
    """

    kind: Literal["whole"] = "whole"
    edge: int = 64
    width: int = 24
    embedding: int = 192
    target: tuple[int, ...] = (64, 96, 96, 64)
    omega: float = 8.0
    rank: int = 16
    places: int = 0
    detail: int = 64

    def __post_init__(self):
        if self.edge < 16 or self.edge % 16:
            raise ValueError(f"edge must be a multiple of 16 of at least 16, got {self.edge}")
        if not self.target or min(self.width, self.embedding, *self.target) < 1 or not self.omega > 0:
            raise ValueError("width, embedding, target and omega must be positive")
        for name, least in (("rank", 0), ("places", 0), ("detail", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.places > self.edge // 8:
            raise ValueError(f"places must be at most edge / 8 = {self.edge // 8}, got {self.places}; take fewer, or a larger edge")


def _without_mean(paint, state_dict: dict[str, Tensor], prefix: str, *_) -> None:
    """Weights that were saved before there was a mean know none."""
    state_dict.setdefault(prefix + "mean", torch.zeros_like(paint.mean))


class WholePaint(HyperNetwork):
    """Weights: "layers.i.weight" (B, out, in), "layers.i.bias" (B, out), with places "places.i.weight" (B, out, places²), row
    by row, and "extent" (B, 2) = (h, w) of the input."""

    radius = 1_000_000  # everything depends on the whole image
    mean: Tensor

    def __init__(self, grain: WholeNetworks, channels: int):
        super().__init__()
        self.grain = grain
        with torch.device("meta"):  # its own parameters are never used
            self._target = (CosineMLP(2, grain.target, 3, grain.places),)  # in a tuple: it is no part of the state
        w = grain.width
        wide = (channels, w, 2 * w, 4 * w, 8 * w)
        layers: list[nn.Module] = []
        for a, b in zip(wide, wide[1:]):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.GroupNorm(8 if b % 8 == 0 else 1, b), nn.ReLU()]
        last = nn.Linear(8 * w * (grain.edge // 16) ** 2, grain.embedding)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), last, nn.LayerNorm(grain.embedding))
        shapes, rank = {k: p.shape for k, p in self._target[0].layers.named_parameters("layers")}, grain.rank
        self.code = self.places = None
        if grain.places:
            self.code = nn.Conv2d(12 * w, grain.detail, 3, padding=1)
            self.places = PlaceHeads(grain.detail, {f"places.{i}.weight": n for i, n in enumerate((*grain.target, 3))})
        between = [k for k, s in shapes.items() if len(s) == 2 and 0 < rank < min(s)]  # the rest is small
        self.shared = nn.ParameterDict({k.replace(".", "_"): torch.randn(shapes[k]) for k in between})
        self.rows = nn.ParameterDict({k.replace(".", "_"): torch.randn(rank, shapes[k][1]) / math.sqrt(rank) for k in between})
        self.register_buffer("mean", torch.zeros(grain.embedding + grain.detail * grain.places**2))  # of embeddings, see `fit_mean`
        self.register_load_state_dict_pre_hook(_without_mean)
        self.heads = DenseHeads(grain.embedding, {k: torch.Size((s[0], rank)) if k in between else s for k, s in shapes.items()})
        with torch.no_grad():  # at the start all images share one basis of functions and differ in the last layer, and in places' shifts
            layers_ = len(grain.target)
            for name, head in self.heads.items():
                assert isinstance(head, nn.Linear)
                head.weight.mul_(1.0 if name.startswith(f"layers_{layers_}_") else 0.05)
                if name not in self.rows:
                    head.bias.normal_()

    @staticmethod
    def cells(weights: Weights) -> tuple[int, int]:
        """(h, w) of the input."""
        h, w = weights["extent"][0].tolist()
        return int(h), int(w)

    def forward(self, x: Tensor) -> Weights:
        return self._weights(self.embed(x), (x.shape[-2], x.shape[-1]))

    def embed(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, embedding + detail · places²), what the weights are linear in: the whole image's numbers, then the places'."""
        edge = self.grain.edge
        if x.shape[-2:] != (edge, edge):
            x = F.interpolate(x, (edge, edge), mode="bilinear", antialias=True, align_corners=False)
        if self.code is None:
            return self.encoder(x)
        fine = self.encoder[:LAST](x)  # an eighth of the edge
        coarse = self.encoder[LAST : LAST + BLOCK](fine)
        maps = []
        for m in (fine, coarse):
            across = matrix(m.shape[-1], self.grain.places, "bilinear").to(m)
            maps.append(across @ m @ across.T)
        return torch.cat([self.encoder[LAST + BLOCK :](coarse), self.code(torch.cat(maps, 1)).flatten(1)], 1)

    @property
    def fitted(self) -> bool:
        """Whether the mean is known."""
        return bool(self.mean.any())

    def centre(self) -> Weights:
        """The mean of the training images' weights, of one item; arcs between images go around it.

        Raises:
            ValueError: it was never fitted.
        """
        if not self.fitted:
            raise ValueError("this model does not know the mean of its images' weights; take the path 'line', or train it again")
        return self._weights(self.mean[None], (self.grain.edge, self.grain.edge))

    @torch.no_grad()
    def fit_mean(self, images: Iterable[Tensor]) -> None:
        """Take the mean embedding of batches (B, C, h, w), of the first 2,000 images or of all."""
        total, count = torch.zeros_like(self.mean), 0
        for x in images:
            total, count = total + self.embed(x).sum(0), count + len(x)
            if count >= SURVEY:
                break
        self.mean.copy_(total / count)

    def _weights(self, code: Tensor, extent: tuple[int, int]) -> Weights:
        """(B, embedding + detail · places²) → the weights; under autocast in 32 bits, too, as functions are evaluated in them."""
        with torch.autocast(code.device.type, enabled=False):
            return self._linear(code.to(self.mean.dtype), extent)

    def _linear(self, code: Tensor, extent: tuple[int, int]) -> Weights:
        whole, local = code.split([self.grain.embedding, code.shape[1] - self.grain.embedding], 1)
        out: Weights = {} if self.places is None else self.places(local.unflatten(1, (self.grain.detail, self.grain.places, -1)))
        for name, theta in self.heads(whole).items():
            key = name.replace(".", "_")
            theta = self.shared[key] + theta @ self.rows[key] if key in self.rows else theta
            gain = self.grain.omega if name == "layers.0.weight" else 1.0
            out[name] = theta * (gain / math.sqrt(theta.shape[2])) if theta.ndim == 3 else theta
        counts = torch.promote_types(code.dtype, torch.float32)  # 16 bits can't count 321 pixels
        out["extent"] = torch.tensor([extent], dtype=counts, device=code.device).expand(len(code), -1)
        return out

    def query(self, weights: Weights, coords: Tensor, scale, derivatives: int, blur: float):
        """T((y, x); θ), and its slopes; `scale` is not used, values are those of points."""
        if blur:
            raise ValueError("blur is a closed form of cell fields only; this model has one network an image")
        theta = {k: v for k, v in weights.items() if k != "extent"}
        batch = len(theta["layers.0.bias"])
        if not derivatives:
            return apply_weights(self._target[0], theta, coords.expand(batch, -1, -1))
        wanted = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            theta = {k: v.clone() for k, v in theta.items()}  # tensors made in inference mode take no gradient
            at = coords.detach().clone().expand(batch, -1, -1).contiguous().requires_grad_(True)
            value = apply_weights(self._target[0], theta, at)
            rows = [torch.autograd.grad(value[..., c].sum(), at, retain_graph=True, create_graph=wanted)[0] for c in range(3)]
        return value if wanted else value.detach(), torch.stack(rows, 2)

    def render(self, weights: Weights, y: Tensor, x: Tensor, scale: tuple[float, float], blur: float) -> Tensor:
        """Rows y (H,) and columns x (W,) → (B, 3, H, W), a band of rows at a time."""
        dtype = weights["layers.0.bias"].dtype
        bands = []
        wide = max(1, self.grain.places**2 // 64)  # bumps are numbers of a position as a layer's are
        for rows in y.to(dtype).split(max(1, 65536 // (len(x) * wide))):
            points = torch.stack(torch.meshgrid(rows, x.to(dtype), indexing="ij"), -1).view(-1, 2)
            value = self.query(weights, points, scale, 0, blur)
            assert isinstance(value, Tensor)
            bands.append(value.unflatten(1, (len(rows), len(x))))
        return torch.cat(bands, 1).permute(0, 3, 1, 2)

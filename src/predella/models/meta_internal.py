"""Meta internal learning: a picture → the weights of its own generator of many scales (Bensadoun et al. 2021).

The weights of scale i are heads of one embedding of the picture (Eq. 6–8), or, without a hypernetwork, parameters: then this is the
single-image model of Shaham et al. 2019. `generate` is the one loop behind sampling, reconstruction, editing, harmonising, animation
and interpolation.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.pyramid import Size, pyramid, scale_edges, scale_sizes
from predella.losses.distances import l2
from predella.models.base import Model
from predella.nn.embed import PictureEncoder, ResNet34
from predella.nn.heads import DenseHeads, LowRankHeads, PatchNetwork, Table
from predella.nn.hyper import Weights, apply_weights

Window = tuple[int, int, int, int]  # top, left, height, width
SEEN = 128  # edge of the square that the embedding looks at, whatever the aspect
GLANCE = 8  # edge of what a model without hypernetwork keeps of its picture
DETAIL = "detail"  # of θ: what the noise of a scale is multiplied by, (B,)


@config
class MetaInternalConfig:
    """Args:
    coarsest, finest: longest edge of a picture at the first and the last scale, in pixels.
    scales: how many, in geometric progression.
    width, layers: channels and convolutions of a scale's primary network.
    heads: "low_rank"; "dense", the paper's; "table" = no hypernetwork but ordinary weights, for one picture.
    embed: "small", or "resnet34", the paper's.
    embedding: numbers of an embedding.
    rank: of the low-rank heads.
    noise: "data" = a scale's noise is as strong as what the reconstruction leaves out at it, over the training pictures;
        "picture" = that, times what the scale adds to the picture's own pyramid: little noise in calm pictures, seen or not.
    """

    kind: Literal["meta_internal"] = "meta_internal"
    coarsest: int = 25
    finest: int = 128
    scales: int = 5
    width: int = 64
    layers: int = 5
    heads: Literal["low_rank", "dense", "table"] = "low_rank"
    embed: Literal["small", "resnet34"] = "small"
    embedding: int = 128
    rank: int = 16
    noise: Literal["data", "picture"] = "data"

    def __post_init__(self):
        scale_edges(self.coarsest, self.finest, self.scales)
        if min(self.width, self.embedding, self.rank) < 1 or self.layers < 2:
            raise ValueError(
                "width, embedding and rank must be at least 1 and layers at least 2, got "
                f"{self.width}, {self.embedding}, {self.rank}, {self.layers}"
            )
        if self.heads == "table" and self.noise == "picture":
            raise ValueError("a model without hypernetwork knows no picture's embedding; model.noise must be 'data'")

    def primary(self, out: int = 3, squash: bool = True, slope: float = 0.02) -> PatchNetwork:
        """The network of one scale; the critic's is one with one channel out and no tanh."""
        with torch.device("meta"):  # its own parameters are never used
            return PatchNetwork(3, self.width, out, self.layers, slope, squash)

    def new_heads(self, primary: PatchNetwork) -> nn.Module:
        """One scale's heads: an embedding → weights of `primary`; a table takes anything of as many items."""
        shapes = primary.shapes()
        match self.heads:
            case "dense":
                return DenseHeads(self.embedding, shapes)
            case "low_rank":
                return LowRankHeads(self.embedding, shapes, self.rank)
            case _:
                return Table(shapes)

    def new_encoder(self) -> nn.Module:
        """e(·): (B, 3, H, W) → (B, embedding)."""
        return ResNet34(self.embedding) if self.embed == "resnet34" else PictureEncoder(self.embedding)


def cut(x: Tensor, window: Window | None) -> Tensor:
    """(…, H, W) → (…, height, width); None = all."""
    if window is None:
        return x
    top, left, height, width = window
    return x[..., top : top + height, left : left + width]


def missing(made: Tensor, real: Tensor) -> Tensor:
    """(B, …), (B, 3, H, W) → (B,): root mean square of `real` less what is made of it below."""
    up = F.interpolate(made, real.shape[-2:], mode="bilinear", align_corners=True)
    return l2(up, real).sqrt()


def _needed(first: int, last: int, size: int, below: int) -> tuple[int, int]:
    """The pixels first … last - 1 of an edge of `size`, inside it, come from which of the edge below."""
    low, high = (min(max(0, i), size - 1) * (below - 1) // max(1, size - 1) for i in (first, last - 1))
    return low, min(below, high + 2)


def enlarged(below: Tensor, size: Size, window: Window, of: tuple[Size, Window] | None = None) -> Tensor:
    """(…, h, w) → a window of the bilinear enlargement to `size` with aligned corners; it may reach beyond the edges, where zeros are.

    Args:
        of: where `below` is a window itself: the size of the whole, and that window; it must hold what the answer depends on.
    """
    whole, part = of or ((below.shape[-2], below.shape[-1]), (0, 0, *below.shape[-2:]))
    for axis in (0, 1):
        last = max(1, size[axis] - 1)
        places = torch.arange(window[axis], window[axis] + window[axis + 2], device=below.device)
        inside, at = (places >= 0) & (places < size[axis]), places.clamp(0, size[axis] - 1) * (whole[axis] - 1)
        low = at // last  # in whole numbers: a rounded-down float would miss the window by one
        high = (low + 1).clamp(max=whole[axis] - 1)
        shape = (-1, 1) if axis == 0 else (-1,)
        a, b = (below.index_select(axis - 2, (i - part[axis]).clamp(max=below.shape[axis - 2] - 1)) for i in (low, high))
        below = torch.lerp(a, b, ((at % last).to(below) / last).view(shape)) * inside.view(shape)
    return below


class MetaInternal(Model):
    """A generator for every picture.

    Attributes:
        first: (1, 3, s, s), s the first scale's longest edge: the fixed noise whose picture is the reconstruction (Eq. 5);
            a scale 0 of (h, w) takes its first h rows and w columns.
        amplitudes: (scales,): by how much a scale's noise is multiplied: the root mean square of what the scales below leave
            out, over the training pictures; with noise = "picture" as a share of what the scale adds to their pyramids.
        grown: how many scales are trained.
        own: (1, 3, 8, 8), a glance at the one picture of a model without hypernetwork, not a number if that is unknown; others have no
            such buffer.
    """

    Config: ClassVar[type] = MetaInternalConfig
    name: ClassVar[str] = "meta_internal"
    verbs = ("vary", "interpolate", "harmonize", "edit", "animate")
    first: Tensor
    amplitudes: Tensor
    grown: Tensor
    own: Tensor

    def __init__(self, config: MetaInternalConfig):
        super().__init__()
        self.config = config
        self.edges = scale_edges(config.coarsest, config.finest, config.scales)
        self._primary = (config.primary(),)  # in a tuple: it is no part of the state
        self.encoder = nn.Identity() if config.heads == "table" else config.new_encoder()
        self.heads = nn.ModuleList([config.new_heads(self._primary[0]) for _ in range(config.scales)])
        self.register_buffer("first", torch.randn(1, 3, self.edges[0], self.edges[0]))
        self.register_buffer("amplitudes", torch.ones(config.scales))
        self.register_buffer("grown", torch.tensor(config.scales))
        if config.heads == "table":
            unknown = torch.full((1, 3, GLANCE, GLANCE), torch.nan)
            self.register_buffer("own", unknown)  # runs from before it was kept have none
            self.register_load_state_dict_pre_hook(lambda _, state, prefix, *__: state.setdefault(prefix + "own", unknown))

    @property
    def radius(self) -> int:
        """Pixels that the input of a scale is padded by."""
        return self.config.layers

    def embed(self, *pictures: Tensor) -> Tensor:
        """(b, 3, H, W) of one or several sizes → (B, embedding), B the sum of all b; each picture is seen as a square.

        With noise = "picture" its details follow: one a scale.
        """
        seen = self.encoder(self.square(*pictures))
        return torch.cat([seen, torch.cat([self.details(p) for p in pictures])], 1) if self.config.noise == "picture" else seen

    @staticmethod
    def glance(pictures: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, 3, 8, 8), by which a picture is known again at another size."""
        return F.interpolate(pictures, (GLANCE, GLANCE), mode="bilinear", antialias=True, align_corners=False)

    def details(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, scales): root mean square of what each scale of the pyramid adds to the one below; 1 at the first."""
        levels = pyramid(pictures, scale_sizes((pictures.shape[-2], pictures.shape[-1]), self.edges))
        out = [missing(a, b) for a, b in zip(levels, levels[1:])]
        return torch.stack([pictures.new_ones(len(pictures)), *out], 1)

    @staticmethod
    def square(*pictures: Tensor) -> Tensor:
        """(b, 3, H, W) of one or several sizes → (B, 3, 128, 128), as embeddings see them, whatever their aspect."""
        return torch.cat([F.interpolate(p, (SEEN, SEEN), mode="bilinear", antialias=True, align_corners=False) for p in pictures])

    def weights(self, embedding: Tensor, scale: int) -> Weights:
        """(B, embedding) → θ of one scale, as its primary network uses them (Eq. 8), and the picture's "detail", if noise asks for it."""
        if self.config.noise == "data":
            return self._primary[0].scaled(self.heads[scale](embedding))
        seen, details = embedding.split([self.config.embedding, self.config.scales], 1)
        return {**self._primary[0].scaled(self.heads[scale](seen)), DETAIL: details[:, scale]}

    def all_weights(self, embedding: Tensor) -> list[Weights]:
        """θ of all trained scales."""
        return [self.weights(embedding, i) for i in range(int(self.grown))]

    def sizes(self, size: Size) -> list[Size]:
        """(height, width) at each trained scale, of answers that end as `size`: no longer than the finest scale, or larger at will.

        A larger size asks for more of the same texture, not for finer detail: the scales keep their ratio to the last.
        """
        edges, last = self.edges[: int(self.grown)], self.edges[int(self.grown) - 1]
        return [(max(1, round(size[0] * e / last)), max(1, round(size[1] * e / last))) for e in edges]

    def fit(self, size: Size) -> Size:
        """The size at which a picture of `size` is at home: its longest edge is the last trained scale's."""
        return scale_sizes(size, [self.edges[int(self.grown) - 1]])[0]

    def draw(self, count: int, sizes: Sequence[Size], generator: torch.Generator) -> list[Tensor]:
        """Independent noise for each scale (count, 3, h, w), with the scale's amplitude; from scale 1 on it covers the padding too."""
        pad = 2 * self.radius
        shapes = [(h, w) if i == 0 else (h + pad, w + pad) for i, (h, w) in enumerate(sizes)]
        return [self.amplitudes[i].cpu() * torch.randn(count, 3, *s, generator=generator) for i, s in enumerate(shapes)]

    def fixed(self, count: int, size: Size) -> Tensor:
        """(count, 3, *size): the fixed noise of scale 0, repeated where the size is larger."""
        times = [-(-a // b) for a, b in zip(size, self.first.shape[-2:])]
        return self.first.repeat(1, 1, *times)[..., : size[0], : size[1]].expand(count, -1, -1, -1)

    def step(self, weights: Weights, below: Tensor | None, noise: Tensor | None, size: Size,
             window: Window | None = None, of: tuple[Size, Window] | None = None) -> Tensor:  # fmt: skip
        """One scale (Eq. 1): ĝ(z) at the first, otherwise I↑ + ĝ(I↑ + z).

        Args:
            weights: of the scale, one set an item.
            below: the picture of the scale below, of any size; None at the first scale.
            noise: (B, 3, h, w) at the first scale, (B, 3, h + 2 · radius, w + 2 · radius) at the others; None = zeros.
            size: (h, w).
            window: (top, left, height, width), inside the picture: the only part of it that is computed; None = all.
            of: where `below` is but a window: the size of the whole, and the window; it must hold what the answer depends on.
        """
        radius, theta = self.radius, {k: w for k, w in weights.items() if k != DETAIL}
        if noise is not None and DETAIL in weights:
            noise = noise * weights[DETAIL].view(-1, 1, 1, 1)
        top, left, height, width = window or (0, 0, *size)
        padded = top, left, height + 2 * radius, width + 2 * radius  # of the input with its padding, that the window depends on
        if below is None:
            assert noise is not None, "scale 0 is made from noise alone"
            return apply_weights(self._primary[0], theta, cut(F.pad(noise, (radius,) * 4), padded))
        if window is None:
            same = tuple(below.shape[-2:]) == tuple(size)
            up = below if same else F.interpolate(below, size, mode="bilinear", align_corners=True)
            x = F.pad(up, (radius,) * 4)
        else:
            x = enlarged(below, size, (top - radius, left - radius, *padded[2:]), of)
            up = cut(x, (radius, radius, height, width))
        return up + apply_weights(self._primary[0], theta, x if noise is None else x + cut(noise, padded))

    def windows(self, sizes: Sequence[Size], window: Window) -> list[Window]:
        """The part of each scale that `window` of the last depends on."""
        out = [window]
        for below, size in zip(sizes[-2::-1], sizes[:0:-1]):
            rows, columns = (
                _needed(out[0][axis] - self.radius, out[0][axis] + out[0][axis + 2] + self.radius, size[axis], below[axis])
                for axis in (0, 1)
            )
            out.insert(0, (rows[0], columns[0], rows[1] - rows[0], columns[1] - columns[0]))
        return out

    def generate(self, weights: Sequence[Weights], noise: Sequence[Tensor | None], sizes: Sequence[Size], start: int = 0,
                 below: Tensor | None = None, window: Window | None = None, apart: bool = False) -> list[Tensor]:  # fmt: skip
        """The pictures of scales start, start + 1, … (Eq. 1).

        Args:
            weights: θ of each scale from 0 on, or of fewer to stop earlier; those below `start` are not looked at.
            noise: of each scale, with its amplitude (`draw`); None = zeros.
            sizes: of each scale.
            start: the first scale that is made.
            below: what scale `start` is given as the picture below it, of any size; None at scale 0.
            window: the part of the last of `sizes` that is wanted; of the others only what it depends on is made, then. None = all.
            apart: gradients of a scale's picture reach that scale's weights only.

        Raises:
            ValueError: noise or sizes that are not one a scale, or a start above 0 without a picture below it.
        """
        if len(noise) != len(sizes) or len(weights) > len(sizes) or (start > 0) != (below is not None):
            raise ValueError(
                f"{len(sizes)} sizes want as many noises (got {len(noise)}) and at most as many weights (got {len(weights)}); "
                f"a start above 0 wants the picture below it, 0 none (start {start})"
            )
        out, windows = [], [None] * len(sizes) if window is None else self.windows(sizes, window)
        of = None
        for i in range(start, len(weights)):
            part = windows[i]
            below = self.step(weights[i], below.detach() if apart and below is not None else below, noise[i], sizes[i], part, of)
            of = (sizes[i], part) if part else None
            out.append(below)
        return out

    def reconstruct(self, weights: Sequence[Weights], sizes: Sequence[Size], window: Window | None = None) -> list[Tensor]:
        """What the fixed noise and zeros become at each scale (Eq. 5), or in a window of the last and what that depends on."""
        return self.generate(weights, self.rest(weights, sizes), sizes, window=window)

    def rest(self, weights: Sequence[Weights], sizes: Sequence[Size]) -> list[Tensor | None]:
        """The noise of a reconstruction (Eq. 5): the fixed one for each item of θ, and none at later scales."""
        return [self.fixed(len(next(iter(weights[0].values()))), sizes[0]), *[None] * (len(sizes) - 1)]

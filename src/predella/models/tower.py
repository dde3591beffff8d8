"""Tower implicit model: one condition, a code for each level, one answer at each level (Peng et al., Fig. 2, 4, 5).

Level i works at the base size times 2^i and answers at twice that. An answer depends on the codes up to its level only, so fewer
codes ask for fewer levels, and what earlier levels made (`State`) is computed once for many codes of the next. One level alone may
answer at more than twice its size: the single-scale network of conditional IMLE (Li et al. 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.color import lab_to_rgb
from predella.image.resize import fitted, resize
from predella.models.base import Model
from predella.nn.residual import RRDB, SLOPE, MappingNetwork, Style, convolution

REACH = 0.98  # of [-1, 1]: what a skipped condition is clamped to, so that it can be left in both directions
CARRIED = 0.1  # weight of the level below's features


@config
class TowerLevel:
    """One module of the tower.

    Args:
        width: residual channels.
        growth: dense growth.
        blocks: RRDBs.
    """

    width: int = 32
    growth: int = 16
    blocks: int = 2

    def __post_init__(self):
        if min(self.width, self.growth, self.blocks) < 1:
            raise ValueError(f"a level needs width, growth and blocks of at least 1, got {self.width}, {self.growth}, {self.blocks}")


@config
class TowerConfig:
    """Args:
    condition: channels of the condition.
    channels: of the answer.
    levels: coarse to fine; the answer has `factor` times the base size, 2^levels with one doubling each.
    code: numbers of a level's vector code.
    spatial: channels of a level's code that has the level's size.
    hidden, layers: of each level's mapping network; layers 0 = no mapping network: the vector code is not used (the row -MN).
    weight_norm: on every convolution (without: the row -WN).
    answer: "image", or "ab": the two colour coordinates of CIELAB, up to ±127, which with the condition (lightness) make an image.
    regression: all codes are zeros, so that there is one answer: the network without what makes it many.
    skip: an answer starts from the condition at its size (made larger: bicubic), to which the network adds before the squashing; the
        paper's does not.
    styled_by: "own" = each level's styles follow from its own vector code; "all" = from all up to its level (CHIMLE).
    doublings: from the finest level's blocks to its answer; more than 1 only for one level alone, which works at a single scale.
    """

    kind: Literal["tower"] = "tower"
    condition: int = 3
    channels: int = 3
    levels: tuple[TowerLevel, ...] = (TowerLevel(), TowerLevel(), TowerLevel())
    code: int = 128
    spatial: int = 5
    hidden: int = 128
    layers: int = 4
    weight_norm: bool = True
    answer: Literal["image", "ab"] = "image"
    styled_by: Literal["own", "all"] = "own"
    regression: bool = False
    skip: bool = False
    doublings: int = 1

    def __post_init__(self):
        if not self.levels:
            raise ValueError("a tower needs at least one level")
        if min(self.condition, self.channels, self.code, self.spatial, self.hidden) < 1 or self.layers < 0:
            raise ValueError(
                "condition, channels, code, spatial and hidden must be at least 1 and layers at least 0, got "
                f"{self.condition}, {self.channels}, {self.code}, {self.spatial}, {self.hidden}, {self.layers}"
            )

        if self.doublings < 1 or (self.doublings > 1 and len(self.levels) > 1):
            raise ValueError(f"doublings must be 1, or more for one level alone, got {self.doublings} for {len(self.levels)}")
        if self.styled_by == "all" and not self.layers:
            raise ValueError("styled_by 'all' is a matter of mapping networks; set layers to 1 or more")
        if self.skip and (self.condition != self.channels or self.answer != "image"):
            raise ValueError(
                f"skip adds to a condition like the answer, got {self.condition} channels for {self.channels} of '{self.answer}'"
            )
        if self.answer == "ab" and (self.condition, self.channels) != (1, 3):
            raise ValueError(f"colours need one channel of lightness and make three, got {self.condition} and {self.channels}")

    @property
    def factor(self) -> int:
        """Answer's edge over base edge."""
        return 2 ** (len(self.levels) - 1 + self.doublings)


@dataclass(frozen=True)
class State:
    """What a level hands to the next.

    Attributes:
        answer: (B, C, 2w, 2w) in [-1, 1].
        features: (B, width, 2w, 2w).
        styles: one (B, hidden) a level so far.
    """

    answer: Tensor
    features: Tensor
    styles: tuple[Tensor, ...]

    def repeat(self, times: int) -> "State":
        """Each item `times` times in a row: B → B · times."""
        return State(*(t.repeat_interleave(times, 0) for t in (self.answer, self.features)),
                     tuple(s.repeat_interleave(times, 0) for s in self.styles))  # fmt: skip


class Level(nn.Module):
    """Condition, code and what the level below made → an answer twice as large as the level (Fig. 4)."""

    def __init__(self, config: TowerConfig, index: int):
        super().__init__()
        own, below = config.levels[index], config.levels[index - 1].width if index else 0
        self.config = config
        conv = lambda a, b: convolution(a, b, config.weight_norm)  # noqa: E731
        self.head = conv(config.condition + config.spatial + (config.channels + below if index else 0), own.width)
        self.body = nn.ModuleList([RRDB(own.width, own.growth, config.weight_norm) for _ in range(own.blocks)])
        self.tail = conv(own.width, own.width)
        self.up = conv(own.width, own.width)
        self.more = nn.ModuleList([conv(own.width, own.width) for _ in range(config.doublings - 1)])
        out = 2 if config.answer == "ab" else config.channels
        self.answer = nn.Sequential(conv(own.width, own.width), nn.LeakyReLU(SLOPE), conv(own.width, out))
        if config.layers:
            self.mapping = MappingNetwork(config.code, config.hidden, config.layers)
            sources = index + 1 if config.styled_by == "all" else 1
            self.styles = nn.ModuleList([Style(config.hidden * sources, own.width) for _ in range(own.blocks)])

    def forward(self, condition: Tensor, larger: Tensor, code: Tensor, below: State | None) -> State:
        """Condition of this level's size and of its answer's, code (B, code + spatial · w · w) → its state."""
        size = condition.shape[-2:]
        vector, spatial = code[:, : self.config.code], code[:, self.config.code :].view(len(code), self.config.spatial, *size)
        inputs, styles = [condition, spatial], below.styles if below else ()
        if below is not None:
            inputs += [below.answer, CARRIED * below.features]
        h = first = self.head(torch.cat(inputs, 1).contiguous(memory_format=torch.channels_last))
        if self.config.layers:
            styles = (*styles, self.mapping(vector))
            style = torch.cat(styles, 1) if self.config.styled_by == "all" else styles[-1]
            for block, modulate in zip(self.body, self.styles):
                h = modulate(block(h), style)
        else:
            for block in self.body:
                h = block(h)
        h = first + self.tail(h)
        features = h
        for up in (self.up, *self.more):
            features = F.leaky_relu(up(F.interpolate(features, scale_factor=2, mode="nearest")), SLOPE)
        found = self.answer(features)
        if self.config.skip:
            found = found + torch.atanh(larger.clamp(-REACH, REACH))
        answer = torch.tanh(found)
        if self.config.answer == "ab":
            answer = lab_to_rgb(torch.cat([(larger + 1) * 50, answer * 127], 1))
        return State(answer, features, styles)


class Tower(Model):
    """Many plausible answers to one condition, one for each draw of the codes."""

    Config: ClassVar[type] = TowerConfig
    name: ClassVar[str] = "tower"
    verbs = ("restore",)

    def __init__(self, config: TowerConfig | None = None):
        super().__init__()
        self.config = config or TowerConfig()
        self.levels = nn.ModuleList([Level(self.config, i) for i in range(len(self.config.levels))])

    def forward(self, condition: Tensor, codes: Sequence[Tensor], size: tuple[int, int] | None = None) -> list[Tensor]:
        """One answer a code, coarse to fine; fewer codes than levels ask for fewer levels.

        Args:
            condition: (B, C, h, w) of any size; it is resampled to each level's.
            codes: (B, code_dims(i, size)) each, see `draw`.
            size: (height, width) of the finest level's answer, divisible by `config.factor`; None = the condition's.

        Returns:
            (B, channels, size / 2^k) for k = levels - 1, levels - 2, …, in [-1, 1].

        Raises:
            ValueError: a size that does not divide, another number of channels, more codes than levels, or codes of other length.
        """
        size = size or (condition.shape[-2], condition.shape[-1])
        if not 1 <= len(codes) <= len(self.levels):
            raise ValueError(f"a tower of {len(self.levels)} levels takes 1…{len(self.levels)} codes, got {len(codes)}")
        state, answers = None, []
        for i, code in enumerate(codes):
            state = self.level(i, condition, code, state, size)
            answers.append(state.answer)
        return answers

    def level(self, index: int, condition: Tensor, code: Tensor, below: State | None, size: tuple[int, int]) -> State:
        """One level alone, on what the levels below made; `size` as in `forward`."""
        if condition.ndim != 4 or condition.shape[1] != self.config.condition:
            raise ValueError(f"condition must be (B, {self.config.condition}, h, w), got {tuple(condition.shape)}")
        height, width = self._base(size)
        dims = self.code_dims(index, size)
        if code.ndim != 2 or code.shape != (len(condition), dims):
            raise ValueError(f"the code of level {index} must be ({len(condition)}, {dims}), got {tuple(code.shape)}")
        above = height << index + self.config.doublings, width << index + self.config.doublings
        smooth = self.config.skip and condition.shape[-2] < above[0]  # an answer that starts from squares keeps their borders
        own, larger = fitted(condition, (height << index, width << index)), resize(condition, above) if smooth else fitted(condition, above)
        return self.levels[index](own, larger, code, below)

    def code_dims(self, index: int, size: tuple[int, int]) -> int:
        """Numbers of the code of level `index`, for answers of `size`: the vector's, then the spatial ones'."""
        height, width = self._base(size)
        return self.config.code + self.config.spatial * (height << index) * (width << index)

    def draw(self, count: int, size: tuple[int, int], generator: torch.Generator) -> list[Tensor]:
        """Codes of all levels from N(0, 1), (count, code_dims(i, size)) each, on the CPU."""
        return [self.draw_level(i, (count,), size, generator) for i in range(len(self.levels))]

    def draw_level(self, index: int, count: tuple[int, ...], size: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Codes of one level, (*count, code_dims(index, size))."""
        shape = *count, self.code_dims(index, size)
        return torch.zeros(shape) if self.config.regression else torch.randn(shape, generator=generator)

    def _base(self, size: tuple[int, int]) -> tuple[int, int]:
        factor = self.config.factor
        if size[0] % factor or size[1] % factor or min(size) < factor:
            raise ValueError(f"an answer's edges must be divisible by {factor}, got {size[1]}×{size[0]}; pad the image (image.pad_to)")
        return size[0] // factor, size[1] // factor

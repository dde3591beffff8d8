"""Tower implicit model (Peng et al.): which samples are trained, and by what.

The stream is rewritten: for a pool of batches the codes are chosen that bring the answers nearest to the observations, level by
level (Sec. 4.2) or all together, then the pool is replayed with these codes held. What remains is regression: the sum over the
levels of the perceptual distance to the observation at that level's size (Sec. 4.1).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.image.resize import fitted
from predella.losses.distances import Perceptual, Pixels, projected
from predella.losses.imle import choose_by_level, choose_together
from predella.models.tower import State, Tower
from predella.objectives.base import Objective, Phase
from predella.objectives.perceptual import Name, perceptual
from predella.tasks.base import Batch

KEPT = 2**30  # bytes of a pool's observed features that stay on the model's device for its replays instead of being computed again


@config
class TowerObjectiveConfig:
    """Args:
    samples: candidates a level, coarse to fine; for sampling "vanilla" the first number counts, each a draw of all levels' codes.
    sampling: "hierarchical" (Sec. 4.2) or "vanilla" (Li et al. 2020; the row -HS).
    supervise: every level's answer, or the last alone (the row -IS).
    distance: whose features; "cifar_classifier" is trained and shipped here, "vgg16" and "alexnet" are LPIPS and want its weights,
        "pixels" are plain squared differences.
    project: candidates are compared by so many random sums of their features (the released code: 200 a map); 0 = exactly.
    weights: of the levels' distances in the loss, and in the sum that "vanilla" chooses by, coarse to fine; none = 1 each (Sec. 4.1).
    pool, replay: batches whose codes are chosen at once, and how often each is then trained on.
    block: candidates of one image in memory at once; changes nothing else.
    """

    kind: Literal["tower"] = "tower"
    samples: tuple[int, ...] = (30, 20, 10)
    sampling: Literal["hierarchical", "vanilla"] = "hierarchical"
    supervise: Literal["all", "last"] = "all"
    distance: Name = "cifar_classifier"
    project: int = 0
    weights: tuple[float, ...] = ()
    pool: int = 10
    replay: int = 4
    block: int = 10

    def __post_init__(self):
        if not self.samples or min(*self.samples, self.pool, self.replay, self.block) < 1:
            raise ValueError(
                f"samples, pool, replay and block must be at least 1, got {self.samples}, {self.pool}, {self.replay}, {self.block}"
            )
        if self.sampling == "hierarchical" and self.supervise == "last" and len(self.samples) > 1:
            raise ValueError("supervise 'last' gives the lower levels nothing to be chosen by; set sampling to 'vanilla'")
        levels, given = len(self.samples), self.weights
        if given and (len(given) != levels or not all(math.isfinite(w) and w >= 0 for w in given) or not given[-1]):
            raise ValueError(f"{levels} levels want {levels} weights, each 0 or more and the last more than 0, got {given}")
        if given and self.supervise == "last":
            raise ValueError("weights are for levels that are all supervised; leave them out, or set supervise to 'all'")
        if self.project < 0:
            raise ValueError(f"project must be 0 or more sums, got {self.project}")

    def build(self, model: nn.Module) -> "TowerObjective":
        """The objective that trains `model`.

        Raises:
            ValueError: another model, or another number of levels.
            UserError: a network of features whose weights can't be had.
        """
        if not isinstance(model, Tower):
            raise ValueError(f"{self.kind} trains a Tower, got a {type(model).__name__}")
        if len(self.samples) != len(model.levels):
            raise ValueError(f"samples must give one number for each of the {len(model.levels)} levels, got {self.samples}")
        return TowerObjective(model, self, perceptual(self.distance))


class TowerObjective(Objective):
    """One phase on a pool's chosen codes."""

    def __init__(self, model: Tower, config: TowerObjectiveConfig, distance: Perceptual | Pixels):
        self.model, self.config, self.distance = model, config, distance
        self.parts: Mapping[str, nn.Module] = {"model": model}
        self.pause = config.pool * config.replay
        self.preparing = f"choosing codes for {config.pool} batches, as before every {self.pause} steps"

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        """Raise ValueError for answers that are too small for the network's norms or for the distance."""
        size, levels, factor = self._size(batch), len(self.model.levels), self.model.config.factor
        if (size[0] // factor) * (size[1] // factor) < 2:
            raise ValueError(f"this tower needs answers of more than {factor}×{factor} pixels, got {size[1]}×{size[0]}")
        self.distance.to(batch.target.device)
        for i in self._supervised():
            height, width = (n >> levels - 1 - i for n in size)
            try:
                self.distance.embed(fitted(batch.target[:1], (height, width)))
            except ValueError as error:
                remedy = "take another objective.distance (vgg16, cifar_classifier), or larger answers"
                raise ValueError(
                    f"level {i} answers at {width}×{height} pixels, and of {self.config.distance}: {error}; {remedy}"
                ) from None

    def phases(self) -> tuple[Phase, ...]:
        weights = self._weights()
        return (Phase("generator", self.losses, {f"level_{i}": weights[i] for i in self._supervised()}, [self.model]),)

    def _weights(self) -> tuple[float, ...]:
        """Of each level in the loss."""
        return self.config.weights or (1.0,) * len(self.config.samples)

    def _supervised(self) -> range:
        levels = len(self.model.levels)
        return range(levels) if self.config.supervise == "all" else range(levels - 1, levels)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Per level, the mean over the batch of d(answer of the chosen codes, observation at the level's size)."""
        answers = self.model(self._condition(batch), batch.codes, self._size(batch))
        wanted = batch.wanted or self._wanted(batch)
        return {
            f"level_{i}": (self.distance.embed(answers[i]) - features).square().sum(1).mean()
            for i, features in zip(self._supervised(), wanted, strict=True)
        }

    @torch.no_grad()
    def _wanted(self, batch: Batch) -> tuple[Tensor, ...]:
        """Features of the observation at each supervised level's size, one (B, D) each."""
        (height, width), top = self._size(batch), len(self.model.levels) - 1
        self.distance.to(batch.target.device)  # it is no part: nothing of it trains
        return tuple(self.distance.embed(fitted(batch.target, (height >> top - i, width >> top - i))) for i in self._supervised())

    def stream(self, since: Callable[[int], Iterator[Batch]], step: int) -> Iterator[Batch]:
        """Pools: choose codes for `pool` batches, then each of them `replay` times, in an order that the pool's seed says."""
        pool, replay = self.config.pool, self.config.replay
        source = since(step // replay)
        while True:
            batches = [self._chosen(next(source)) for _ in range(pool)]
            for again in range(replay):
                generator = batches[0].generator(again + 1)
                for i in torch.randperm(pool, generator=generator).tolist():
                    yield batches[i]

    def _chosen(self, batch: Batch) -> Batch:
        there = batch.to(next(self.model.parameters()).device)
        wanted = self._wanted(there)
        codes, _ = self.choose(replace(there, wanted=wanted))
        kept = self.config.pool * sum(w.nbytes for w in wanted) <= KEPT
        return replace(batch, codes=tuple(c.cpu() for c in codes), wanted=wanted if kept else ())

    def choose(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """The codes whose answers are nearest to the batch's targets, and the chosen answers' distances (B,)."""
        condition, size, generators = self._condition(batch), self._size(batch), batch.generators(len(self.model.levels))
        vanilla = self.config.sampling == "vanilla"
        weights = self._weights() if vanilla else (1.0,) * len(self.model.levels)  # level by level, each by its own distance
        supervised, dims = self._supervised(), self.config.project

        def few(features: Tensor) -> Tensor:
            return projected(features, dims) if dims else features

        wanted = {i: few(features) for i, features in zip(supervised, batch.wanted or self._wanted(batch), strict=True)}

        def draw(level: int, count: int) -> Tensor:
            """One candidate after another: the first of many are those of few, whatever `block` is."""
            each = [self.model.draw_level(level, (1,), size, g[level]) for g in generators for _ in range(count)]
            return torch.cat(each).unflatten(0, (len(generators), count)).to(condition)

        def step(level: int, codes: Tensor, below: State | None) -> State:
            times = len(codes) // len(condition)
            return self.model.level(level, condition.repeat_interleave(times, 0), codes, below, size)

        def far(level: int, state: State) -> Tensor:
            if level not in supervised:
                return state.answer.new_zeros(len(state.answer))
            features = few(self.distance.embed(state.answer)).unflatten(0, (len(condition), -1))
            return weights[level] * (features - wanted[level][:, None]).square_().sum(-1).flatten()

        samples, block = self.config.samples, self.config.block
        if vanilla:
            return choose_together(samples[0], len(samples), draw, step, far, block)
        return choose_by_level(samples, draw, step, far, block)

    def _condition(self, batch: Batch) -> Tensor:
        if batch.condition is None:
            raise ValueError("a tower answers to a condition; give the recipe a task that makes one")
        return batch.condition

    @staticmethod
    def _size(batch: Batch) -> tuple[int, int]:
        return batch.target.shape[-2], batch.target.shape[-1]

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B, 3, H, 5W): condition | three answers | target."""
        size, generator = self._size(batch), batch.generator()
        condition = self._condition(batch)
        answers = [
            self.model(condition, [c.to(condition) for c in self.model.draw(len(condition), size, generator)], size)[-1] for _ in range(3)
        ]
        shown = fitted(condition[:, :3] if condition.shape[1] >= 3 else condition[:, :1], size)
        rows = [r.expand(-1, 3, -1, -1) if r.shape[1] == 1 else r for r in (shown, *answers, batch.target)]
        return torch.cat(rows, -1).clamp(-1, 1)

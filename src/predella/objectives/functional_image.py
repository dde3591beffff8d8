"""Functional images: Σ_x Σ_(i,j) [x[i, j] - T((i, j); H_φ(x))]² of the paper (Sec. 2.1), at random pixels of each image."""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.losses.distances import DISTANCES
from predella.models.functional_image import CellPaint, FunctionalImage
from predella.models.functional_whole import WholePaint
from predella.nn.hyper import Weights
from predella.objectives.base import Objective, Phase
from predella.tasks.base import Batch


@config
class FunctionalImageObjective:
    """Args:
    distance: "l2" is the paper's; "l1" trains better.
    queries: pixels asked for in each cell (cells) or image (patches).
    hole_weight: weight of pixels inside holes, for models with a mask; the known ones keep 1.
    """

    kind: Literal["functional_image"] = "functional_image"
    distance: Literal["l1", "l2"] = "l1"
    queries: int = 3
    hole_weight: float = 1.0

    def build(self, model: nn.Module) -> "FunctionalRegression":
        """The objective that trains `model`."""
        if not isinstance(model, FunctionalImage):
            raise ValueError(f"functional_image trains a FunctionalImage, got a {type(model).__name__}")
        return FunctionalRegression(model, self)


class FunctionalRegression(Objective):
    """One phase: the hypernetwork φ is trained through the values of the functions it makes."""

    def __init__(self, model: FunctionalImage, config: FunctionalImageObjective):
        self.model, self.config = model, config
        self.parts: Mapping[str, nn.Module] = {"model": model}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("hypernetwork", self.losses, {"distance": 1.0}, [self.model]),)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """MSE (or mean absolute error) at random pixels, equal for all items of the step."""
        image, known = split_condition(batch.condition)
        return {"distance": self.distance(self.model.weights(image, known), batch)}

    def distance(self, theta: Weights, batch: Batch) -> Tensor:
        """Of the functions with weights θ from the batch's targets."""
        image, known = split_condition(batch.condition)
        height, width = batch.target.shape[-2:]
        h, w = image.shape[-2:]
        scale = (height / h, width / w)
        if isinstance(self.model.paint, CellPaint):
            rows, columns = pixels_in_cells((height, width), (h, w), self.config.queries, batch.generator())
            rows, columns = rows.to(image.device), columns.to(image.device)
            offset = torch.stack([_offset(rows, scale[0], h, 0), _offset(columns, scale[1], w, 1)], -1).to(image)
            value = self.model.paint.query_cells(theta, offset, scale).flatten(1, 3)
            index = (rows * width + columns).flatten()
        else:
            index = torch.randperm(height * width, generator=batch.generator())[: self.config.queries].to(image.device)
            rows, columns = index // width, index % width
            place = torch.stack([(rows + 0.5) / height, (columns + 0.5) / width], -1).to(image) * 2 - 1
            value = self.model.values(theta, place, scale)
        target = batch.target.flatten(2)[:, :, index].transpose(1, 2)
        if known is None:
            return DISTANCES[self.config.distance](value, target).mean()
        hole = (1 - known.flatten(2)[:, :, index].transpose(1, 2)).expand_as(value)
        distance = DISTANCES[self.config.distance]
        inside = torch.where(hole > 0, value, target)  # equal outside the holes, so that only holes count
        total = distance(value, target) + (self.config.hole_weight - 1) * distance(inside, target)
        return total.mean()

    def go_on(self) -> None:
        """The mean of former weights is void."""
        if isinstance(self.model.paint, WholePaint):
            self.model.paint.mean.zero_()

    def end(self, batches: Iterator[Batch]) -> None:
        """Fit the mean that arcs between images go around, where an image has one network and all of it is seen."""
        if isinstance(self.model.paint, WholePaint) and not self.model.config.mask:
            self.model.paint.fit_mean(split_condition(b.condition)[0] for b in batches)

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B, 3, H, 3W): condition by nearest neighbour | the function on the target's grid | target."""
        image, known = split_condition(batch.condition)
        size = (batch.target.shape[-2], batch.target.shape[-1])
        answer = self.model(image, size, known).clamp(-1, 1)
        shown = image if known is None else image * known
        return torch.cat([nn.functional.interpolate(shown, size), answer, batch.target], -1)


def split_condition(condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """(B, 3 or 4, h, w) → image (B, 3, h, w) and the mask of known pixels (B, 1, h, w) or None."""
    assert condition is not None, "a functional image needs a condition"
    return (condition, None) if condition.shape[1] == 3 else (condition[:, :3], condition[:, 3:])


def _offset(pixel: Tensor, scale: float, cells: int, dim: int) -> Tensor:
    shape = [1, 1, 1]
    shape[dim] = cells
    cell = torch.arange(cells, device=pixel.device, dtype=torch.float64).view(shape)
    return (pixel.double() + 0.5) / scale - cell - 0.5


def pixels_in_cells(size: tuple[int, int], cells: tuple[int, int], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For every cell, `count` random pixels of the grid `size` whose centres lie in it.

    Returns:
        rows, columns (h, w, count) int64. At a scale of at least 1 every cell holds a pixel.
    """
    out = []
    for axis, (n, k) in enumerate(zip(size, cells)):
        first = torch.ceil(torch.arange(k + 1, dtype=torch.float64) * (n / k) - 0.5 - 1e-9).long().clamp(max=n)
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        low, room = first[:-1].view(shape), first.diff().view(shape)
        draw = torch.rand((*cells, count), generator=generator, dtype=torch.float64)
        out.append((low + (draw * room).floor().long()).clamp(max=n - 1))
    return out[0], out[1]

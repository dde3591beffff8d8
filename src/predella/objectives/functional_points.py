"""Functional point sets: the cross-entropy of Klocek et al. 2019, Eq. 1, or a maximum mean discrepancy (Sec. 2.2)."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from predella.config import config
from predella.losses.transport import gaussian_mmd, kernel_cross_entropy
from predella.models.functional_points import FunctionalPoints, bright_points, pixel_points, resampled
from predella.objectives.base import Objective, Phase
from predella.tasks.base import Batch

BANDWIDTHS = (0.05, 0.1, 0.2, 0.4)  # of the discrepancy's kernels, in the window [-1, 1]²


@config
class FunctionalPointsObjectiveConfig:
    """Args:
    loss: "cross_entropy", or "mmd" for data of more dimensions.
    samples: points of the circle that are mapped, a set.
    sigma: deviation of a kernel, in the window [-1, 1]²; a pixel of 28 is 0.071 wide.
    """

    kind: Literal["functional_points"] = "functional_points"
    loss: Literal["cross_entropy", "mmd"] = "cross_entropy"
    samples: int = 256
    sigma: float = 0.05

    def __post_init__(self):
        if self.samples < 2 or not self.sigma > 0:
            raise ValueError(f"samples must be at least 2 and sigma positive, got {self.samples} and {self.sigma}")

    def build(self, model: nn.Module) -> "FunctionalPointsObjective":
        """The objective that trains `model`.

        Raises:
            ValueError: another model.
        """
        if not isinstance(model, FunctionalPoints):
            raise ValueError(f"{self.kind} trains a FunctionalPoints, got a {type(model).__name__}")
        return FunctionalPointsObjective(model, self)


class FunctionalPointsObjective(Objective):
    """One phase: the hypernetwork."""

    def __init__(self, model: FunctionalPoints, config: FunctionalPointsObjectiveConfig):
        self.model, self.config = model, config
        self.parts: Mapping[str, nn.Module] = {"model": model}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("hypernetwork", self.losses, {self.config.loss: 1.0}, [self.model]),)

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        """Raise ValueError for pictures that are no distributions."""
        if batch.target.shape[1] != 1:
            raise ValueError(f"a distribution is a grey picture, got {batch.target.shape[1]} channels; set data.channels to 1")
        if (batch.target <= -1).flatten(1).all(1).any():
            raise ValueError("a black picture is no distribution; leave it out")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean over sets of Eq. 1, or of the discrepancy to as many draws of the set."""
        image = batch.target
        theta = self.model.weights(resampled((image + 1) / 2, self.model.config.grid))
        generator = batch.generator()
        z = torch.stack([self.model.circle(self.config.samples, generator) for _ in range(batch.whole)])
        made = self.model.query(theta, batch.share(z).to(image))
        if self.config.loss == "cross_entropy":
            return {"cross_entropy": kernel_cross_entropy(made, *bright_points(image), self.config.sigma).mean()}
        points, shares = pixel_points(image)
        cells = 2 / torch.tensor(image.shape[-2:], dtype=image.dtype, device=image.device)
        draws = batch.share(torch.rand(batch.whole, self.config.samples, 3, generator=generator)).to(image)
        sums = shares.cumsum(1)
        drawn = torch.searchsorted(sums, draws[..., 0].contiguous() * sums[:, -1:], right=True).clamp(max=shares.shape[1] - 1)
        spread = draws[..., 1:] - 0.5
        real = points.gather(1, drawn[..., None].expand(-1, -1, 2)) + spread * cells
        return {"mmd": torch.stack([gaussian_mmd(a, b, BANDWIDTHS) for a, b in zip(made, real)]).mean()}

    @torch.no_grad()
    def samples(self, batch: Batch) -> Tensor:
        """(B, 1, H, 2W): set | its curve, by 2000 points."""
        image = batch.target
        made = self.model(resampled((image + 1) / 2, self.model.config.grid), 2000)
        height, width = image.shape[-2:]
        shown = torch.full_like(image, -1).flatten(1)
        rows, columns = ((made[..., d] + 1) / 2 * n for d, n in ((0, height), (1, width)))
        cell = rows.long().clamp(0, height - 1) * width + columns.long().clamp(0, width - 1)
        return torch.cat([image, shown.scatter(1, cell, 1.0).view_as(image)], -1)

"""Classification: cross-entropy."""

from collections.abc import Mapping
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.models.classifier import Classifier
from predella.objectives.base import Objective, Phase, check_labels
from predella.tasks.base import Batch


@config
class ClassifierObjectiveConfig:
    """Args:
    smoothing: share of a label spread over all classes.
    """

    kind: Literal["classifier"] = "classifier"
    smoothing: float = 0.0

    def __post_init__(self):
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing must lie in [0, 1), got {self.smoothing}")

    def build(self, model: nn.Module) -> "ClassifierObjective":
        """The objective that trains `model`."""
        if not isinstance(model, Classifier):
            raise ValueError(f"{self.kind} trains a Classifier, got a {type(model).__name__}")
        return ClassifierObjective(model, self)


class ClassifierObjective(Objective):
    """One phase."""

    def __init__(self, model: Classifier, config: ClassifierObjectiveConfig):
        self.model, self.config = model, config
        self.parts: Mapping[str, nn.Module] = {"model": model}

    def phases(self) -> tuple[Phase, ...]:
        return (Phase("classifier", self.losses, {"cross_entropy": 1.0}, [self.model]),)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """-Σ log p(y | x) / B."""
        label = batch.labels()
        return {"cross_entropy": F.cross_entropy(self.model(batch.target), label, label_smoothing=self.config.smoothing)}

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        check_labels(labels, self.model.config.classes)

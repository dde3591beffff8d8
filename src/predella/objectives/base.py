"""Phases: the only thing the trainer knows about a paper."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from predella.tasks.base import Batch


@dataclass(frozen=True)
class Phase:
    """One optimizer update in a step.

    Attributes:
        name: also the optimizer's name.
        losses: batch → raw scalars by name.
        weights: λ under the same names.
        trains: the only modules that receive gradients.
        every: run at steps divisible by this number.
    """

    name: str
    losses: Callable[[Batch], dict[str, Tensor]]
    weights: Mapping[str, float]
    trains: Sequence[nn.Module]
    every: int = 1

    def total(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Σ λ · L, and the terms.

        Raises:
            KeyError: losses and weights don't have the same names.
        """
        terms = self.losses(batch)
        if terms.keys() != self.weights.keys():
            raise KeyError(f"phase '{self.name}': losses {sorted(terms)} and weights {sorted(self.weights)} must have the same names")
        return sum((self.weights[k] * terms[k] for k in terms), start=batch.target.new_zeros(())), terms


class Objective:
    """Abstract: what is trained, on which stream, in which phases."""

    parts: Mapping[str, nn.Module]  # all that trains, set up and saved by the trainer
    started: bool = False  # the model's weights are those of an earlier run
    averaged: bool = False  # a later stage begins with the moving average of the one before
    group: int = 1  # so many items are looked at with one another: a process's share of a batch is a multiple of it
    pause: int = 1  # a run can be saved and resumed at steps of the stage that this divides
    preparing: str = ""  # in words, what `stream` computes before the first of so many steps, if that takes long

    def stream(self, since: Callable[[int], Iterator[Batch]], step: int) -> Iterator[Batch]:
        """The batches of step, step + 1, … of the stage; IMLE rewrites it.

        Args:
            since: number → that batch of the data and all later ones.
            step: 0, or one that `pause` divides.
        """
        return since(step)

    def check(self, batch: Batch, labels: Tensor | None) -> None:
        """Raise ValueError if batches like this one, of pictures with these classes (N,), can't be trained on.

        Called before anything is written.
        """

    def follow(self, before: "Objective") -> None:
        """Before a stage's `begin`: take over from the objective of the stage before what only training needs, such as a critic."""

    def begin(self, batches: Iterator[Batch]) -> None:
        """Once, before the stage's first step: what the data must say first (which dimensions, which statistics).

        `batches` are whole ones, the same in every process.
        """

    def go_on(self) -> None:
        """Before the first step of a stage, and of its rest when a run is resumed: what was fitted to a finished model is void."""

    def end(self, batches: Iterator[Batch]) -> None:
        """Once, after the last stage's last step, with the moving average in the model: what is fitted to the trained model."""

    def phases(self) -> tuple[Phase, ...]:
        raise NotImplementedError(f"{type(self).__name__} must define phases()")

    def samples(self, batch: Batch) -> Tensor | None:
        """(B, C, H, W) to look at: for each item of `batch`, input | answer | target side by side; None if there is nothing."""
        return None


def check_labels(labels: Tensor | None, classes: int, least: int = 0) -> None:
    """Raise ValueError unless there are labels 0 … classes - 1, each class at least `least` times."""
    if labels is None:
        raise ValueError("this recipe needs classes: give an npz with x_train and y_train, or MNIST")
    if labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"classes must be numbers from 0 to {classes - 1}, got {int(labels.min())} … {int(labels.max())}")
    counts = torch.bincount(labels, minlength=classes)
    if counts.min() < least:
        raise ValueError(f"every class needs at least {least} pictures, class {int(counts.argmin())} has {int(counts.min())}")

"""What a batch is, and what a task does."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


def _alone(x: Tensor) -> Tensor:
    return x


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    Attributes:
        target: (B, C, H, W) in [-1, 1].
        condition: what the model sees, or None.
        seed: of everything an objective still draws for this step; equal in all processes.
        label: (B,) int64, for pictures that have classes.
        part: (process, processes): these are items B · process … B · (process + 1) of the whole batch.
        gather: (B, …) of this process → (B · processes, …) of all, differentiable; for losses that compare sets.
        sizes: (height, width) of each item where pictures differ: an item fills its target's top left, zeros the rest; () = all fill it.
        codes: one (B, D) a level, coarse to fine; filled by IMLE.
        wanted: what the answers are compared with, one (B, D) a supervised level; filled by IMLE where a pool's fit in memory.
    """

    target: Tensor
    condition: Tensor | None = None
    seed: int = 0
    label: Tensor | None = None
    part: tuple[int, int] = (0, 1)
    gather: Callable[[Tensor], Tensor] = _alone
    codes: tuple[Tensor, ...] = ()
    wanted: tuple[Tensor, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()

    def to(self, device) -> "Batch":
        """The same batch on another device."""
        target, condition, label = (
            None if t is None else t.to(device, non_blocking=True) for t in (self.target, self.condition, self.label)
        )
        assert target is not None
        codes, wanted = (tuple(c.to(device, non_blocking=True) for c in each) for each in (self.codes, self.wanted))
        return replace(self, target=target, condition=condition, label=label, codes=codes, wanted=wanted)

    @property
    def whole(self) -> int:
        """How many items all processes have together."""
        return len(self.target) * self.part[1]

    def share(self, draws: Tensor) -> Tensor:
        """Of one draw for each item of the whole batch, those of this process: many processes then see what one would."""
        return draws.chunk(self.part[1])[self.part[0]]

    def by_size(self) -> list[tuple[Tensor, Tensor]]:
        """(items (n,), their pictures (n, C, h, w)) for each size that occurs, in order of the first item."""
        sizes = self.sizes or (tuple(self.target.shape[-2:]),) * len(self.target)
        groups = [torch.tensor([i for i, s in enumerate(sizes) if s == size]) for size in dict.fromkeys(sizes)]
        return [(items, self.target[items.to(self.target.device)][..., : sizes[items[0]][0], : sizes[items[0]][1]]) for items in groups]

    def labels(self) -> Tensor:
        """The classes.

        Raises:
            ValueError: data without classes.
        """
        if self.label is None:
            raise ValueError("this recipe needs classes: give an npz with x_train and y_train, or MNIST")
        return self.label

    def generators(self, each: int) -> list[list[torch.Generator]]:
        """`each` fresh CPU generators for each item of this process, by its place in the whole batch: what an item draws depends
        neither on how many processes there are nor on what others draw."""
        seeds = torch.randint(1 << 62, (self.whole, each), generator=self.generator())
        return [[torch.Generator().manual_seed(seed) for seed in row] for row in self.share(seeds).tolist()]

    def generator(self, purpose: int = 0) -> torch.Generator:
        """A fresh CPU generator that starts from the batch's seed; one of another `purpose` (1, 2, …) draws apart from it."""
        return torch.Generator().manual_seed(self.seed ^ purpose)


class Pictures(Protocol):
    """A sequence of 8-bit pictures (C, H, W)."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Tensor: ...


class Task(Protocol):
    """A degradation: how the condition is made, and how far an answer is from keeping to it.

    Tasks whose condition can be kept have also project(condition, sample), the sample moved to keep to it (`Exact`); those that take
    only certain pictures check_pictures(pictures), which raises UserError for others before a training begins.
    """

    def crop(self, generator: torch.Generator) -> int:
        """Edge length, in pixels, of the square training crop for the next batch; 0 = whole pictures, of any size."""
        ...

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, H, W) in [-1, 1] → Batch; `seeds` (B,) int64, one an item, for tasks that draw."""
        ...

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): root mean square of A(sample) - condition; 0 when the sample keeps to its condition."""
        ...


def check_pictures(task: Task, pictures: Pictures) -> None:
    """Raise UserError if the task takes only certain pictures, and not these."""
    check = getattr(task, "check_pictures", None)
    if check is not None:
        check(pictures)


@runtime_checkable
class Exact(Protocol):
    """A task whose condition can be kept exactly."""

    def project(self, condition: Tensor, sample: Tensor) -> Tensor:
        """`sample` (B, C, H, W), moved to keep to its condition; values may leave [-1, 1]."""
        ...

"""Implicit maximum likelihood: of many samples for one condition, only the nearest to the observation is trained (Li et al. 2020).

Candidates come in blocks, so memory does not grow with their number; the nearest is found exactly.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

S = TypeVar("S", bound="Repeatable")


class Repeatable(Protocol):
    """What a level hands to the next; each item may be repeated for several candidates."""

    def repeat(self: S, times: int) -> S: ...


class Nearest:
    """Of candidates offered in blocks, the nearest for each item, and how near it is."""

    code: Tensor  # (B, D)
    distance: Tensor  # (B,)

    def __init__(self):
        self.empty = True

    def offer(self, code: Tensor, distance: Tensor) -> None:
        """code (B, k, D), distance (B, k); among equals the first stays."""
        near, index = distance.min(1)
        found = code[torch.arange(len(code), device=code.device), index]
        if self.empty:
            self.code, self.distance, self.empty = found, near, False
        else:
            closer = near < self.distance
            self.code = torch.where(closer[:, None], found, self.code)
            self.distance = torch.where(closer, near, self.distance)


def blocks(total: int, size: int) -> list[int]:
    """7 in blocks of 3 → [3, 3, 1]."""
    return [min(size, total - first) for first in range(0, total, size)]


Draw = Callable[[int, int], Tensor]  # (level, k) → (B, k, D): k candidate codes for each item
Step = Callable[[int, Tensor, S | None], S]  # (level, codes (B · k, D), state of B · k items below) → their state
Far = Callable[[int, S], Tensor]  # (level, state of B · k items) → (B · k,): how far its answer is from the observation there


@torch.no_grad()
def choose_by_level(samples: Sequence[int], draw: Draw, step: Step, far: Far, block: int) -> tuple[list[Tensor], Tensor]:
    """Hierarchical sampling (Peng et al., Sec. 4.2): the nearest code of each level, on top of the winners below.

    What the winners below make is computed once, not for every candidate.

    Args:
        samples: candidates a level, coarse to fine.
        draw, step, far: as above; block candidates of each item are in memory at once.

    Returns:
        One (B, D) a level, and the last level's distances (B,).
    """
    state, codes, near = None, [], None
    for level, count in enumerate(samples):
        nearest = Nearest()
        for k in blocks(count, block):
            candidates = draw(level, k)
            below = None if state is None else state.repeat(k)
            distance = far(level, step(level, candidates.flatten(0, 1), below))
            nearest.offer(candidates, distance.view(len(candidates), k))
        codes.append(nearest.code)
        near = nearest.distance
        if level + 1 < len(samples):
            state = step(level, nearest.code, state)
    assert near is not None, "there is at least one level"
    return codes, near


@torch.no_grad()
def choose_together(count: int, levels: int, draw: Draw, step: Step, far: Far, block: int) -> tuple[list[Tensor], Tensor]:
    """Vanilla sampling (Li et al. 2020): `count` candidates, each a draw of all levels' codes, the nearest over all levels' sum.

    With one level's answer supervised alone, `far` is 0 at the others.

    Returns:
        One (B, D) a level, and the distances (B,).
    """
    nearest = Nearest()
    sizes: list[int] = []
    for k in blocks(count, block):
        candidates = [draw(level, k) for level in range(levels)]
        sizes = [c.shape[-1] for c in candidates]
        state, distance = None, torch.zeros(())
        for level, codes in enumerate(candidates):
            state = step(level, codes.flatten(0, 1), state)
            distance = distance.to(codes.device) + far(level, state)
        nearest.offer(torch.cat(candidates, -1), distance.view(-1, k))
    return list(nearest.code.split(sizes, 1)), nearest.distance

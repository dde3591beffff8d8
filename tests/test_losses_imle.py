"""Choosing codes: the nearest of all candidates, level by level or together, in blocks of any size, the prefix computed once."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from predella.losses.imle import Nearest, choose_by_level, choose_together

TARGET = torch.tensor([3.0, -4.0, 0.5])  # one number an item


@dataclass(frozen=True)
class Sum:
    """A toy tower: each level adds its code; the answer is the sum."""

    value: Tensor

    def repeat(self, times):
        return Sum(self.value.repeat_interleave(times, 0))


class Game:
    """Draws from a list fixed beforehand, in order; counts what is computed."""

    def __init__(self, counts):
        generator = torch.Generator().manual_seed(0)
        self.pool = [torch.randn(len(TARGET), n, 1, generator=generator) / 2**i for i, n in enumerate(counts)]
        self.at, self.items, self.largest = [0] * len(counts), [0] * len(counts), 0

    def draw(self, level, k):
        first = self.at[level]
        self.at[level] += k
        return self.pool[level][:, first : first + k]

    def step(self, level, code, below):
        self.items[level] += len(code)
        self.largest = max(self.largest, len(code))
        return Sum(code[:, 0] + (0 if below is None else below.value))

    def far(self, level, state):
        return (state.value.view(len(TARGET), -1) - TARGET[:, None]).square().flatten()


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_level_by_level_is_the_greedy_choice(block):
    game = Game((7, 5, 9))
    codes, distance = choose_by_level((7, 5, 9), game.draw, game.step, game.far, block)
    total = torch.zeros(len(TARGET))
    for level, code in enumerate(codes):
        best = (total[:, None] + game.pool[level][:, :, 0] - TARGET[:, None]).abs().argmin(1)
        expected = game.pool[level][torch.arange(len(TARGET)), best]
        assert torch.equal(code, expected)
        total = total + expected[:, 0]
    torch.testing.assert_close(distance, (total - TARGET).square())
    assert game.largest <= block * len(TARGET)


def test_what_the_winners_make_is_computed_once():
    """Items a level: its candidates, and its winner where another level follows."""
    game = Game((7, 5, 9))
    choose_by_level((7, 5, 9), game.draw, game.step, game.far, 4)
    assert game.items == [len(TARGET) * n for n in (7 + 1, 5 + 1, 9)]


@pytest.mark.parametrize("block", [1, 4, 100])
def test_together_is_the_best_whole(block):
    game = Game((12, 12))
    codes, distance = choose_together(12, 2, game.draw, game.step, game.far, block)
    first, second = (p[:, :, 0] for p in game.pool)
    far = (first - TARGET[:, None]).square() + (first + second - TARGET[:, None]).square()
    best = far.argmin(1)
    for code, pool in zip(codes, game.pool):
        assert torch.equal(code, pool[torch.arange(len(TARGET)), best])
    torch.testing.assert_close(distance, far.min(1).values)
    assert game.largest <= block * len(TARGET) and game.items == [36, 36]


def test_among_equals_the_first_stays():
    nearest = Nearest()
    nearest.offer(torch.tensor([[[1.0], [2.0]]]), torch.tensor([[5.0, 5.0]]))
    nearest.offer(torch.tensor([[[3.0]]]), torch.tensor([[5.0]]))
    assert nearest.code.item() == 1.0
    nearest.offer(torch.tensor([[[4.0]]]), torch.tensor([[4.0]]))
    assert nearest.code.item() == 4.0 and nearest.distance.item() == 4.0

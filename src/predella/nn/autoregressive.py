"""Inverse autoregressive flow: a posterior beyond a Gaussian, whose draws and their density take one pass (Kingma et al. 2016)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

KEEP = 2.0  # of a gate's logit at the start: most of z passes


class MaskedLinear(nn.Linear):
    """A linear layer of which only the connections in `mask` (outputs, inputs) exist."""

    mask: Tensor

    def __init__(self, mask: Tensor):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(self.weight.dtype), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * self.mask, self.bias)


class Autoregressive(nn.Module):
    """z (B, D), context (B, H) → two numbers a dimension, (B, D) each, that depend on the dimensions before it and on the context.

    One hidden layer (Germain et al. 2015, Eq. 12–13).
    """

    def __init__(self, dims: int, hidden: int, context: int):
        super().__init__()
        if dims < 2:
            raise ValueError(f"an autoregressive network needs at least 2 dimensions, got {dims}")
        place, sees = torch.arange(dims), torch.arange(hidden) % (dims - 1)  # a hidden unit sees dimensions 0 … sees
        self.first = MaskedLinear(sees[:, None] >= place[None])
        self.context = nn.Linear(context, hidden, bias=False)
        self.last = MaskedLinear((place[:, None] > sees[None]).repeat(2, 1))
        nn.init.normal_(self.last.weight, std=0.01)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        first, second = self.last(F.elu(self.first(z) + self.context(context))).chunk(2, 1)
        return first, second


class InverseAutoregressive(nn.Module):
    """`steps` gated steps z ← g ⊙ z + (1 - g) ⊙ m, g = sigmoid(s), each over the dimensions in turned order (Alg. 1)."""

    def __init__(self, dims: int, steps: int, hidden: int, context: int):
        super().__init__()
        self.steps = nn.ModuleList([Autoregressive(dims, hidden, context) for _ in range(steps)])

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (B, H) → (z', ladj (B,))."""
        ladj = z.new_zeros(len(z))
        for step in self.steps:
            m, s = step(z, context)
            gate = torch.sigmoid(s + KEEP)
            z, ladj = (gate * z + (1 - gate) * m).flip(1), ladj + F.logsigmoid(s + KEEP).sum(1)
        return z, ladj

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Back, one dimension after another: D passes a step."""
        ladj = z.new_zeros(len(z))
        for step in reversed(self.steps):
            wanted, z = z.flip(1), torch.zeros_like(z)
            for i in range(z.shape[1]):
                m, s = step(z, context)
                gate = torch.sigmoid(s[:, i] + KEEP)
                found = (wanted[:, i] - (1 - gate) * m[:, i]) / gate
                z = torch.cat([z[:, :i], found[:, None], z[:, i + 1 :]], 1)
            ladj = ladj - F.logsigmoid(step(z, context)[1] + KEEP).sum(1)
        return z, ladj

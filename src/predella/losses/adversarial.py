"""Adversarial losses: a critic's three terms, from its logits.

`real` and `fake` are the critic's, `generator` is what the network that makes the fakes minimises. Which sample is "real" is
the objective's business: an image for a GAN, a draw of the prior for an adversarial autoencoder.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Term = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Adversarial:
    """Three functions of logits (B, …) → a scalar."""

    real: Term
    fake: Term
    generator: Term


def hinge_real(logits: Tensor) -> Tensor:
    """-E[min(0, -1 + D)] (Lim and Ye 2017; Schirrmeister et al. 2018, Eq. 3)."""
    return (1 - logits).clamp(min=0).mean()


def hinge_fake(logits: Tensor) -> Tensor:
    """-E[min(0, -1 - D)]."""
    return (1 + logits).clamp(min=0).mean()


def cross_entropy_real(logits: Tensor) -> Tensor:
    """-E[ln D], D = sigmoid(logits) (Goodfellow et al. 2014; Lucas et al. 2018, Eq. 1)."""
    return F.softplus(-logits).mean()


def cross_entropy_fake(logits: Tensor) -> Tensor:
    """-E[ln(1 - D)]."""
    return F.softplus(logits).mean()


def negative(logits: Tensor) -> Tensor:
    """-E[D] of logits D; with D = sigmoid(logits) it is -E[ln D / (1 - D)] (Lucas et al. 2018, Eq. 2)."""
    return -logits.mean()


def literal(logits: Tensor) -> Tensor:
    """E[min(0, -1 - D)], as Eq. 3 of Schirrmeister et al. prints it. Its gradient vanishes exactly where D < -1."""
    return (-1 - logits).clamp(max=0).mean()


def positive(logits: Tensor) -> Tensor:
    """E[D]."""
    return logits.mean()


def logits_and_slopes(critic: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The critic's logits at (B, C, H, W), and (B, H, W): Euclidean norm over the channels of d(Σ logits)/dx there.

    Both are differentiable by the critic's parameters.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = critic(x)
        (slope,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return logits, slope.square().sum(1).add(1e-16).sqrt()


HINGE = Adversarial(hinge_real, hinge_fake, negative)
HINGE_LITERAL = Adversarial(hinge_real, hinge_fake, literal)
LOG_RATIO = Adversarial(cross_entropy_real, cross_entropy_fake, negative)
WASSERSTEIN = Adversarial(negative, positive, negative)  # Arjovsky et al. 2017
ADVERSARIAL: dict[str, Adversarial] = {"hinge": HINGE, "hinge_literal": HINGE_LITERAL}

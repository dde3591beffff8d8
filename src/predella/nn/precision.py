"""What is evaluated in 32 bits, though training is in mixed precision."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

R = TypeVar("R")


def outside_autocast(function: Callable[..., R]) -> Callable[..., R]:
    """Decorator of `function(_, weights, …)`: under autocast it is evaluated in 32 bits, and so are tensors of 16 that are handed to it.

    A phase of several turns has few digits left in 16 bits for its place in the turn. Without autocast nothing is changed: a model in
    half precision stays one.
    """

    @wraps(function)
    def evaluated(owner: Any, weights: dict[str, Tensor], *args: Any, **kwargs: Any) -> R:
        device = next(iter(weights.values())).device.type
        if not torch.is_autocast_enabled(device):
            return function(owner, weights, *args, **kwargs)
        with torch.autocast(device, enabled=False):
            weights, kwargs = ({k: in_32_bits(v) for k, v in some.items()} for some in (weights, kwargs))
            return function(owner, weights, *(in_32_bits(a) for a in args), **kwargs)

    return evaluated


def in_32_bits(x: Any) -> Any:
    """A tensor of 16 bits in 32; anything else as it is."""
    return x.float() if isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16) else x

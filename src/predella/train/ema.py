"""Exponential moving average of a module's parameters and buffers."""

import torch
from torch import Tensor, nn


class EMA:
    """shadow ← d · shadow + (1 - d) · value, d = min(decay, (1 + t) / (10 + t)): young averages forget fast.

    Args:
        module: followed, never changed.
        decay: a step; 0 makes the shadow a copy.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.module, self.decay = module, decay
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Once after every step."""
        d = min(self.decay, (1 + step) / (10 + step))
        values = self.module.state_dict()
        floats = [k for k in self.shadow if self.shadow[k].is_floating_point()]
        torch._foreach_lerp_([self.shadow[k] for k in floats], [values[k].detach() for k in floats], 1 - d)
        for k in self.shadow.keys() - set(floats):
            self.shadow[k].copy_(values[k])

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Restore a saved shadow."""
        for k, v in tensors.items():
            self.shadow[k].copy_(v)

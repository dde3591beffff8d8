"""Where a verb runs: on a CUDA accelerator if there is one, else on the CPU."""

from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def placed(model: M, cpu: bool = False) -> M:
    """The model on the accelerator, if there is one and `cpu` is off, in true float32. (Coordinates are float64, so CUDA only.)

    TF32 would round convolutions to 10 bits, and an encoding would no longer decode to its image.
    """
    if cpu or not torch.cuda.is_available():
        return model
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return model.to("cuda")


def free_memory(device: torch.device) -> int:
    """Bytes that are free: the accelerator's own, or the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters are."""
    return next(model.parameters()).device

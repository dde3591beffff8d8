"""The only file that knows the distributed engine (accelerate): devices, processes, precision."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from predella.train.optim import Precision


class Engine:
    """One process's view of the machine.

    One device or CPU when started plainly; several processes under `torchrun --nproc-per-node N -m predella train …`.

    Args:
        device: "auto" takes CUDA accelerators if there are any, "cpu" never. (Others lack float64, which coordinates are.)
        precision: "no" = float32 (accelerators too: their faster TF32 rounds to 10 bits, which breaks exact inverses),
            "tf32", or "bf16" = autocast.

    Attributes:
        emulates: the precision is one that this processor has no instructions for, so that it is many times slower, not faster.
    """

    def __init__(self, device: Literal["auto", "cpu"] = "auto", precision: Precision = "no"):
        self._accelerator = Accelerator(cpu=device == "cpu" or not torch.cuda.is_available(), mixed_precision="no")
        self._mixed = precision == "bf16"  # not accelerate's: its precision is the whole process's, two runs could not differ
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        self.device = self._accelerator.device
        self.emulates = self._mixed and self.device.type == "cpu" and not _multiplies_bf16()
        self.rank, self.world = self._accelerator.process_index, self._accelerator.num_processes
        self.main = self._accelerator.is_main_process

    @contextmanager
    def autocast(self) -> Generator[None]:
        """Mixed precision, if chosen."""
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._mixed):
            yield

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Mean of the gradients over all processes, in place; one message for all of them.

        The average is taken explicitly after backward: wrappers that hook `forward` are silently skipped when a phase
        calls any other method of a model.
        """
        if self.world == 1:
            return
        having = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in having]
        flat = self._reduce(torch.cat([g.flatten() for g in gradients]))
        for p, g in zip(having, flat.split([p.numel() for p in having])):
            p.grad = g.view_as(p)

    def average_buffers(self, modules: Iterable[nn.Module]) -> None:
        """Mean of floating buffers (running statistics) over all processes, in place."""
        if self.world == 1:
            return
        for module in modules:
            for buffer in module.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(self._reduce(buffer.clone()))

    def gather(self, x: Tensor) -> Tensor:
        """All processes' rows (B, …) → (B · processes, …), in order and differentiable.

        A loss over the gathered set, taken by every process, has after `average_gradients` the gradient of one process.
        """
        if self.world == 1:
            return x
        from torch.distributed.nn.functional import all_gather

        return torch.cat(all_gather(x.contiguous()))

    def any(self, flag: bool) -> bool:
        """True in all processes if true in one."""
        if self.world == 1:
            return flag
        return bool(self._reduce(torch.tensor([float(flag)], device=self.device)).item() > 0)

    def _reduce(self, x: Tensor) -> Tensor:
        return self._accelerator.reduce(x, "mean")

    def wait(self) -> None:
        """Until all processes are here."""
        self._accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the process group."""
        self._accelerator.end_training()


def _multiplies_bf16() -> bool:
    """Whether the processor does; True if it does not say."""
    can = torch.cpu.get_capabilities()
    return can.get("architecture") != "x86_64" or bool(can.get("avx512_bf16") or can.get("amx_bf16"))

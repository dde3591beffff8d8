"""Optimizers and learning-rate schedules, by config."""

import logging
import math
from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any, Literal

import torch
from torch import Tensor, nn

from predella.config import config

log = logging.getLogger(__name__)
Precision = Literal["no", "tf32", "bf16"]


@config
class Optim:
    """AdamW for all parameters, or Muon (Jordan et al. 2024) for the matrices that `muon` names and AdamW for the rest.

    Args:
        lr: of AdamW, at the top of the schedule.
        betas, weight_decay: of AdamW.
        muon: patterns (shell-style) of parameter names, such as "paint.encoder.body.*"; kernels count as matrices
            (out, in · area). Parameters with fewer than two axes always stay with AdamW.
        muon_lr, muon_decay, muon_momentum: learning rate (at the top of the schedule), weight decay and momentum of Muon.
        slow: patterns of parameters that AdamW changes with the learning rate `slow_lr` instead; a warning if there are none, as in a
            shared critic, which has no encoder.
        clip: largest gradient norm over the phase; 0 = no clipping.
        warmup: steps of linear increase.
        schedule: "constant"; "cosine" or "linear" from the stage's first step down to 0 after its last; "drop": a tenth for the last
            fifth of the stage's steps. Times the warm-up.
    """

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    muon: tuple[str, ...] = ()
    muon_lr: float = 0.02
    muon_decay: float = 0.01
    muon_momentum: float = 0.95
    slow: tuple[str, ...] = ()
    slow_lr: float = 1e-6
    clip: float = 0.0
    warmup: int = 0
    schedule: Literal["constant", "cosine", "linear", "drop"] = "constant"

    def __post_init__(self):
        for name in ("lr", "slow_lr", "muon_lr", "weight_decay", "muon_decay", "clip", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if not 0 <= self.muon_momentum < 1:
            raise ValueError(f"muon_momentum must lie in [0, 1), got {self.muon_momentum}")

    def build(self, modules: Sequence[nn.Module]) -> "PhaseOptimizer":
        """The optimizer of one phase."""
        return PhaseOptimizer(self, modules)

    def factor(self, step: int, steps: int) -> float:
        """Learning rate at `step` of `steps`, as a fraction of the top."""
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        done = min(1.0, step / max(1, steps))
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        fall = {"constant": 1.0, "cosine": cosine, "linear": 1 - done, "drop": 0.1 if done >= 0.8 else 1.0}[self.schedule]
        return rise * fall


def _named(named: Sequence[tuple[str, nn.Parameter]], patterns: Sequence[str], what: str) -> list[tuple[str, nn.Parameter]]:
    chosen = [(n, p) for n, p in named if any(fnmatch(n, pattern) for pattern in patterns)]
    if patterns and not chosen:
        raise ValueError(f"{what}={patterns} names none of the parameters, such as '{named[0][0]}'")
    return chosen


class PhaseOptimizer:
    """One or two torch optimizers that step together; state in and out as plain tensors and numbers."""

    def __init__(self, config: Optim, modules: Sequence[nn.Module]):
        self.config = config
        named = [(n, p) for m in modules for n, p in m.named_parameters() if p.requires_grad]
        self.parameters = [p for _, p in named]
        self._matrices = [p for _, p in _named(named, config.muon, "muon") if p.ndim >= 2]
        slow = [p for n, p in named if any(fnmatch(n, pattern) for pattern in config.slow)]
        if config.slow and not slow:
            log.warning("slow=%s names none of the parameters; all learn at %g", config.slow, config.lr)
        if {id(p) for p in slow} & {id(p) for p in self._matrices}:
            raise ValueError(f"muon={config.muon} and slow={config.slow} name the same parameters; each has one learning rate")
        taken = {id(p) for p in (*self._matrices, *slow)}
        rest = [p for _, p in named if id(p) not in taken]
        self._views = [nn.Parameter(p.data.view(len(p), -1)) for p in self._matrices]  # share storage with the kernels
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = []
        if rest:
            adam = torch.optim.AdamW(rest, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
            self._optimizers.append((adam, config.lr))
        if slow:
            adam = torch.optim.AdamW(slow, lr=config.slow_lr, betas=config.betas, weight_decay=config.weight_decay)
            self._optimizers.append((adam, config.slow_lr))
        if self._views:
            muon = torch.optim.Muon(self._views, lr=config.muon_lr, weight_decay=config.muon_decay, momentum=config.muon_momentum)
            self._optimizers.append((muon, config.muon_lr))

    def zero_grad(self) -> None:
        for p in self.parameters:
            p.grad = None

    def norm(self) -> Tensor:
        """Of all gradients together."""
        return nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])

    def step(self, factor: float, norm: Tensor | None = None) -> None:
        """Clip, scale the learning rates by `factor`, update.

        Args:
            norm: what `norm` says, if it is known already.
        """
        if self.config.clip:
            nn.utils.clip_grads_with_norm_(self.parameters, self.config.clip, self.norm() if norm is None else norm)
        for view, p in zip(self._views, self._matrices):
            view.grad = None if p.grad is None else p.grad.reshape(len(p), -1)
        for optimizer, lr in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            optimizer.step()

    def tensors(self) -> dict[str, Tensor]:
        """State as flat tensors: "optimizer.parameter.key"."""
        out = {}
        for k, (optimizer, _) in enumerate(self._optimizers):
            for i, state in optimizer.state_dict()["state"].items():
                for key, value in state.items():
                    out[f"{k}.{i}.{key}"] = torch.as_tensor(value)
        return out

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` returned."""
        for k, (optimizer, _) in enumerate(self._optimizers):
            state: dict[int, dict[str, Any]] = {}
            for name, value in tensors.items():
                which, i, key = name.split(".")
                if int(which) == k:
                    state.setdefault(int(i), {})[key] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

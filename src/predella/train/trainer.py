"""The loop: for every batch, for every phase, losses → weighted sum → backward → step. It imports no paper."""

import logging
import math
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Protocol

import torch
from torch import Tensor, nn

from predella.models.base import Model
from predella.objectives.base import Objective, Phase
from predella.tasks.base import Batch
from predella.train.checkpoint import load_state, prefixed, save_state, under
from predella.train.ema import EMA
from predella.train.engine import Engine
from predella.train.log import RunLog
from predella.train.optim import Optim, PhaseOptimizer

log = logging.getLogger(__name__)


class Stream(Protocol):
    """Batches by number."""

    batch_size: int

    def since(self, step: int) -> Iterator[Batch]: ...

    def whole(self) -> Iterator[Batch]: ...


@dataclass(frozen=True)
class Part:
    """One stage, ready to run: its objective, its stream, its optimizers by phase name."""

    name: str
    steps: int
    objective: Objective
    stream: Stream
    optim: Mapping[str, Optim]


def check_stage(name: str, steps: int, objective: Objective, optim: Mapping[str, Optim]) -> None:
    """Raise ValueError if the stage would end where its objective can't be saved, or if a phase has no optimizer of its own."""
    if steps % objective.pause:
        raise ValueError(f"stage '{name}' has {steps} steps; its objective needs a multiple of {objective.pause}")
    trained = {p.name for p in objective.phases()}
    if without := sorted(trained - optim.keys()):
        raise ValueError(
            f"stage '{name}' trains {', '.join(sorted(trained))}, but its optim is for {', '.join(sorted(optim))}; "
            f"give {', '.join(without)} one, too (--stages.N.optim takes them all, as JSON), or choose a recipe that trains them"
        )


class NotFinite(RuntimeError):
    """A loss became infinite or not a number; the message names step, phase and terms.

    Attributes:
        kept: what is left of the run, for who has its folder.
    """

    def __init__(self, message: str, kept: str = ""):
        super().__init__(message)
        self.kept = kept


class Interrupted(Exception):
    """Training was asked to stop; the state is saved."""


class Trainer:
    """Runs the stages of one run folder.

    Args:
        model: what is saved for users, as its moving average.
        parts: the stages, in order.
        folder: the run folder; the caller has written config and recipe there.
        ema: decay of the moving average.
        save_every, log_every, sample_every: in steps.
        show: a fixed batch for the sample sheets, or None.
        tell: hears the fraction of all steps that is done, after each.
        keep_every: in steps; a copy of the averaged model stays in checkpoints/step-N, for learning curves. 0 = none.
    """

    def __init__(self, model: Model, parts: Sequence[Part], folder: Path, engine: Engine, *, ema: float = 0.999,
                 save_every: int = 1000, log_every: int = 100, sample_every: int = 2000, show: Batch | None = None,
                 keep_every: int = 0, tell: Callable[[float], None] | None = None):  # fmt: skip
        self.model, self.parts, self.folder, self.engine = model.to(engine.device), parts, Path(folder), engine
        self.save_every, self.log_every, self.sample_every, self.keep_every = save_every, log_every, sample_every, keep_every
        self.tell = tell
        self.show = None if show is None else show.to(engine.device)
        for part in parts:
            check_stage(part.name, part.steps, part.objective, part.optim)
            if unused := sorted(part.optim.keys() - {p.name for p in part.objective.phases()}):
                log.warning("stage '%s' trains no %s; the optimizer for it is not used", part.name, ", ".join(unused))
            for module in part.objective.parts.values():
                module.to(engine.device)
        self.ema = EMA(model, ema)
        self.stage, self.step = 0, 0  # the step counts over all stages
        self.saved: int | None = None  # the step whose state is in the folder
        self.optimizers: dict[str, PhaseOptimizer] = {}
        self.stop = False

    def fit(self, resume: bool = False) -> None:
        """Train to the end.

        Raises:
            Interrupted: Ctrl-C or SIGTERM; the state is saved and `resume` goes on from it.
            NotFinite: a loss is infinite or not a number.
        """
        total = sum(p.steps for p in self.parts)
        elapsed = self._restore() if resume else 0.0
        runlog = RunLog(self.folder, total, elapsed)
        if self.engine.main:
            runlog.rewind(self.step)
        if resume and self.step >= total:
            log.warning("already finished: step %d of %d; more with --stages.%d.steps N", self.step, total, len(self.parts) - 1)
        with _catch_signals(self):
            for index in range(self.stage, len(self.parts)):
                if index != self.stage or not self.optimizers:
                    self._enter(index)
                if self.step == sum(p.steps for p in self.parts[:index]):
                    if index:
                        if self.parts[index].objective.averaged:
                            self.model.load_state_dict(self.ema.shadow)
                        self.parts[index].objective.follow(self.parts[index - 1].objective)
                    self._begin(self.parts[index])
                self._run_stage(self.parts[index], runlog)
        self._end(self.parts[-1])
        self._save(runlog)

    def _begin(self, part: Part) -> None:
        """Let the objective look at the data."""
        self._shared(lambda: part.objective.begin(b.to(self.engine.device) for b in part.stream.whole()))

    def _shared(self, hook: Callable[[], None]) -> None:
        """The moving average takes what an objective's hook sets in the model."""
        before = {k: v.clone() for k, v in self.model.state_dict().items()}
        hook()
        for k, v in self.model.state_dict().items():
            if not torch.equal(before[k], v):
                self.ema.shadow[k].copy_(v)

    def _end(self, part: Part) -> None:
        """Let the objective fit what belongs to the averaged model; buffers it sets are set in both."""
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema.shadow)
        part.objective.end(b.to(self.engine.device) for b in part.stream.whole())
        changed = {k: v.clone() for k, v in self.model.state_dict().items() if not torch.equal(v, self.ema.shadow[k])}
        self.ema.load(changed)
        self.model.load_state_dict({**current, **changed})

    def _enter(self, index: int) -> None:
        self.stage = index
        part = self.parts[index]
        phases = part.objective.phases()
        check_stage(part.name, part.steps, part.objective, part.optim)
        self.optimizers = {p.name: part.optim[p.name].build(p.trains) for p in phases}

    def _run_stage(self, part: Part, runlog: RunLog) -> None:
        before, whole = self._before(), sum(p.steps for p in self.parts)
        self._shared(part.objective.go_on)
        phases = part.objective.phases()
        for module in part.objective.parts.values():
            module.train()
        stream = part.objective.stream(part.stream.since, self.step - before)
        if self.engine.main and self.step < before + part.steps:
            runlog.enter(self.step, part.objective.pause, part.objective.preparing)
        seen: dict[str, list[float]] = {}
        due = False
        while self.step < before + part.steps:
            began = time.monotonic()
            with self.engine.autocast():  # an objective's stream may compute: implicit likelihood chooses codes in it
                batch = next(stream)
            runlog.waited(time.monotonic() - began)
            batch = replace(batch.to(self.engine.device), gather=self.engine.gather)
            local = self.step - before
            for phase in phases:
                if local % phase.every == 0:
                    for name, value in self._update(part, phase, batch, local).items():
                        seen.setdefault(name, []).append(value)
            self.ema.update(self.step)
            self.step += 1
            if self.tell is not None:
                self.tell(self.step / whole)
            if self.engine.main:
                runlog.early(self.step)
            if self.step % self.log_every == 0 or self.step == before + part.steps:
                if self.engine.main:
                    factors = {f"lr_{n}": o.config.lr * o.config.factor(local, part.steps) for n, o in self.optimizers.items()}
                    means = {k: math.fsum(v) / len(v) for k, v in seen.items()}
                    runlog.row(self.step, part.stream.batch_size, {"stage": part.name, **means, **factors})
                seen = {}
            if self.show is not None and self.engine.main and self.step % self.sample_every == 0:
                self._sheet(part.objective, runlog)
            if self.keep_every and self.step % self.keep_every == 0 and self.engine.main:
                with self._averaged():
                    self.model.save_pretrained(self.folder / "checkpoints" / f"step-{self.step:07d}")
            stopping = self.engine.any(self.stop)
            due = due or stopping or self.step % self.save_every == 0
            if due and (self.step - before) % part.objective.pause == 0:
                self._save(runlog)
                due = False
                if stopping and self.step < whole:
                    raise Interrupted(f"stopped at step {self.step}; {self.folder} continues with --resume")

    def next_pause(self) -> int:
        """The first step from this one's end on where the state can be saved."""
        before, pause = self._before(), self.parts[self.stage].objective.pause
        return before + ((self.step - before) // pause + 1) * pause

    def _before(self) -> int:
        """Steps of the stages before this one."""
        return sum(p.steps for p in self.parts[: self.stage])

    def _update(self, part: Part, phase: Phase, batch: Batch, local: int) -> dict[str, float]:
        """One phase: gradients reach `phase.trains` and nothing else."""
        optimizer = self.optimizers[phase.name]
        with only(part.objective.parts.values(), optimizer.parameters):
            with self.engine.autocast():
                total, terms = phase.total(batch)
            whole, *each = torch.stack([v.detach().to(total.dtype) for v in (total, *terms.values())]).tolist()  # one wait for the device
            values = dict(zip(terms, each))
            if self.engine.any(not math.isfinite(whole)):
                shown = ", ".join(f"{k}={v:.4g}" for k, v in values.items())
                where = f"step {self.step}, phase '{phase.name}': {shown}"
                raise NotFinite(f"{where}; lower the learning rate or clip the gradient", self._kept())
            optimizer.zero_grad()
            total.backward()
        self.engine.average_gradients(optimizer.parameters)
        self.engine.average_buffers(phase.trains)
        norm = optimizer.norm()
        if not math.isfinite(norm):
            shown = ", ".join(f"{k}={v:.4g}" for k, v in values.items())
            raise NotFinite(f"step {self.step}, phase '{phase.name}': {shown}, gradient={norm:.4g}; lower the learning rate", self._kept())
        optimizer.step(optimizer.config.factor(local, part.steps), norm)
        return {f"{phase.name}_{k}": v for k, v in values.items()}

    def _sheet(self, objective: Objective, runlog: RunLog) -> None:
        assert self.show is not None
        with self._averaged():
            self.model.eval()
            sheet = objective.samples(self.show)
            self.model.train()
        if sheet is not None:
            runlog.sheet(self.step, sheet)

    def _save(self, runlog: RunLog) -> None:
        """State and model, by the main process; the others wait."""
        if self.engine.main:
            objective = self.parts[self.stage].objective
            tensors: dict[str, Tensor] = prefixed("ema", self.ema.shadow)
            for name, module in objective.parts.items():
                tensors |= prefixed(f"part/{name}", module.state_dict())
            for name, optimizer in self.optimizers.items():
                tensors |= prefixed(f"optim/{name}", optimizer.tensors())
            tensors["rng"] = torch.get_rng_state()
            save_state(self.folder, tensors, {"stage": self.stage, "step": self.step, "elapsed_s": runlog.elapsed})
            with self._averaged():
                self.model.save_pretrained(self.folder)
        self.saved = self.step
        self.engine.wait()

    def _kept(self) -> str:
        """What is left of a run that diverged."""
        if self.saved is None:
            return "nothing was saved before"
        return f"{self.folder} keeps the model of step {self.saved}, from which --start {self.folder} --out ANOTHER goes on"

    @contextmanager
    def _averaged(self) -> Generator[None]:
        """The model with the weights of its moving average."""
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.ema.shadow)
        yield
        self.model.load_state_dict(current)

    def _restore(self) -> float:
        tensors, numbers = load_state(self.folder)
        self._enter(numbers["stage"])
        self.step = self.saved = numbers["step"]
        for name, module in self.parts[self.stage].objective.parts.items():
            module.load_state_dict(under(f"part/{name}", tensors))
        for name, optimizer in self.optimizers.items():
            optimizer.load_tensors(under(f"optim/{name}", tensors))
        self.ema.load(under("ema", tensors))
        torch.set_rng_state(tensors["rng"])
        return numbers["elapsed_s"]


class only:
    """Context: of all `modules`, only `parameters` require gradients."""

    def __init__(self, modules, parameters: Sequence[nn.Parameter]):
        keep = {id(p) for p in parameters}
        self.frozen = [p for m in modules for p in m.parameters() if p.requires_grad and id(p) not in keep]

    def __enter__(self) -> None:
        for p in self.frozen:
            p.requires_grad_(False)

    def __exit__(self, *_) -> None:
        for p in self.frozen:
            p.requires_grad_(True)


class _catch_signals:
    """First Ctrl-C or SIGTERM: stop after this step. Second: at once."""

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.before: dict[int, Callable | int | None] = {}

    def __enter__(self) -> None:
        def ask(number: int, frame: FrameType | None) -> None:
            if self.trainer.stop:
                saved, folder = self.trainer.saved, self.trainer.folder
                raise KeyboardInterrupt("nothing was saved" if saved is None else f"{folder} continues from step {saved} with --resume")
            self.trainer.stop = True
            going_on = "going on to step %d, which can be resumed from, then saving; once more to stop at once"
            Thread(target=log.warning, args=(going_on, self.trainer.next_pause())).start()  # this one may be in the middle of a line

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, ask)
            except ValueError:  # not the main thread
                return

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

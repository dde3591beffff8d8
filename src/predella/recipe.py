"""A recipe: everything a run depends on, as one frozen value; Python functions return them, JSON records them."""

import json
from dataclasses import asdict
from typing import Any, Literal

import torch

from predella.config import config, read_config
from predella.data.batches import Augment
from predella.data.images import Source
from predella.errors import UserError, did_you_mean
from predella.models.base import find_source
from predella.models.classifier import ClassifierConfig
from predella.models.coverage_quality import CoverageQualityConfig
from predella.models.functional_image import FunctionalImageConfig
from predella.models.functional_points import FunctionalPointsConfig
from predella.models.meta_internal import MetaInternalConfig
from predella.models.reversible import ReversibleConfig
from predella.models.tower import TowerConfig
from predella.objectives.classifier import ClassifierObjectiveConfig
from predella.objectives.coverage_quality import CoverageQualityObjectiveConfig
from predella.objectives.functional_blend import FunctionalBlendObjectiveConfig
from predella.objectives.functional_image import FunctionalImageObjective
from predella.objectives.functional_points import FunctionalPointsObjectiveConfig
from predella.objectives.meta_internal import MetaInternalObjectiveConfig
from predella.objectives.reversible import ReversibleGANConfig, ReversibleMatchConfig, ReversibleTransportConfig
from predella.objectives.tower import TowerObjectiveConfig
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression
from predella.tasks.internal import Internal
from predella.tasks.layout import Layout
from predella.tasks.masking import Masking
from predella.tasks.pca import PrincipalComponents
from predella.tasks.super_resolution import SuperResolution
from predella.tasks.unconditional import Unconditional
from predella.train.optim import Optim, Precision

Task = SuperResolution | Masking | Unconditional | Decompression | Colorization | PrincipalComponents | Layout | Internal
ModelConfig = (
    FunctionalImageConfig
    | ReversibleConfig
    | ClassifierConfig
    | TowerConfig
    | MetaInternalConfig
    | CoverageQualityConfig
    | FunctionalPointsConfig
)
ObjectiveConfig = (
    FunctionalImageObjective
    | ReversibleMatchConfig
    | ReversibleTransportConfig
    | ReversibleGANConfig
    | ClassifierObjectiveConfig
    | TowerObjectiveConfig
    | MetaInternalObjectiveConfig
    | CoverageQualityObjectiveConfig
    | FunctionalPointsObjectiveConfig
    | FunctionalBlendObjectiveConfig
)


@config
class Stage:
    """A period with one objective.

    Args:
        steps: how many batches.
        batch_size: items a step, over all processes; 0 = all pictures of the data.
        optim: one optimizer a phase, by the phase's name.
        task: in place of the recipe's, for this stage.
    """

    name: str = "train"
    steps: int
    batch_size: int
    objective: ObjectiveConfig
    optim: dict[str, Optim]
    task: Task | None = None

    def __post_init__(self):
        if self.steps < 1 or self.batch_size < 0:
            raise ValueError(f"steps must be at least 1 and batch_size at least 0 (all pictures), got {self.steps} and {self.batch_size}")


@config
class Recipe:
    """The whole run.

    Args:
        name: of the recipe function.
        data, augment: where pictures come from, and how they are varied.
        task: makes the condition.
        model: a config; its type says which model.
        stages: in order.
        ema: decay of the moving average that is saved.
        seed: of weights, batches and everything drawn.
        precision: "no" = float32, "tf32" (accelerators), or "bf16" = mixed (accelerators, and processors that have AVX512-BF16).
        log_every, save_every, sample_every: in steps.
        keep_every: in steps; a copy of the averaged model stays in checkpoints/, for learning curves; 0 = none.
        samples: items on a sample sheet.
        workers: threads that prepare batches ahead.
        measures: the protocol of `predella evaluate`.
        start: a model folder or shipped name whose weights training starts from; "" = drawn from the seed.
    """

    name: str
    data: Source
    augment: Augment
    task: Task
    model: ModelConfig
    stages: tuple[Stage, ...]
    measures: Literal["super_resolution", "fill", "faces", "digits", "classes", "restoration", "internal", "density", "points", "blends"]
    start: str = ""
    ema: float = 0.999
    seed: int = 0
    precision: Precision = "no"
    log_every: int = 100
    save_every: int = 1000
    sample_every: int = 2000
    keep_every: int = 0
    samples: int = 4
    workers: int = 1

    def __post_init__(self):
        if self.keep_every < 0:
            raise ValueError(f"keep_every must be 0 or more, got {self.keep_every}")
        for name in ("log_every", "save_every", "sample_every", "samples", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must lie in 0…2^32 - 1, got {self.seed}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must lie in [0, 1), got {self.ema}")
        if isinstance(self.model, FunctionalImageConfig):
            self._check_functional(self.model)
        elif isinstance(self.model, TowerConfig):
            self._check_tower(self.model)
        elif isinstance(self.model, FunctionalPointsConfig):
            if self.data.channels != 1 or not all(isinstance(task, Unconditional) for task in self._tasks()):
                raise ValueError(f"point sets are read from grey pictures on the unconditional task, got {self.data.channels} channels")
        elif isinstance(self.model, MetaInternalConfig):
            self._check_internal(self.model)
        else:
            self._check_sized(self.model)

    def _check_functional(self, model: FunctionalImageConfig) -> None:
        if self.data.channels != 3:
            raise ValueError(f"functional images have 3 channels, got data.channels = {self.data.channels}")
        for task in self._tasks():
            if model.mask != isinstance(task, Masking) or isinstance(task, Unconditional):
                raise ValueError(f"model.mask is {model.mask} and the task is {type(task).__name__}; masks belong to masking")

    def _check_tower(self, model: TowerConfig) -> None:
        if self.data.channels != model.channels:
            raise ValueError(f"data.channels is {self.data.channels} and model.channels {model.channels}; they must agree")
        for task in self._tasks():
            wanted: int = model.channels
            edges: tuple[int, ...] = ()
            match task:
                case SuperResolution():
                    if {*task.scales, *task.choices} != {float(model.factor)}:
                        raise ValueError(f"this tower enlarges by {model.factor}, got task.scales {task.scales}")
                case Masking() | Unconditional() | Internal():
                    raise ValueError(f"a tower can't be trained on {type(task).__name__}: it needs a condition like the picture")
                case Colorization():
                    wanted, edges = 1, (task.edge,)
                case Layout():
                    wanted, edges = task.channels, (task.edge,)
                case PrincipalComponents():
                    edges = task.size
                    if task.channels != model.channels:
                        raise ValueError(f"the basis '{task.basis}' has {task.channels} channels and the model {model.channels}")
                case _:  # JPEGs, and a task of one's own, which says `channels` if its condition has others than the picture
                    wanted, edges = getattr(task, "channels", wanted), (task.crop(torch.Generator()),)
            for edge in edges:
                if edge % model.factor:
                    raise ValueError(f"the edge of the task's crops must be divisible by {model.factor}, the tower's factor, got {edge}")
            if isinstance(task, Layout) and (self.data.edge or self.augment.shrink > 1):
                raise ValueError("label maps can't be resampled; leave data.edge at 0 and augment.shrink at 1, and set task.shrink")
            if isinstance(task, Layout) and self.data.smallest < task.edge * task.shrink:
                raise ValueError(
                    f"label maps can't be resampled; data.smallest must be task.edge · task.shrink = {task.edge * task.shrink} or more, "
                    f"got {self.data.smallest}"
                )
            if isinstance(task, Layout) != self.data.paired:
                raise ValueError(f"data.paired is {self.data.paired} and the task is {type(task).__name__}; pairs belong to layout")
            if model.condition != wanted or (model.answer == "ab") != isinstance(task, Colorization):
                got = f"model.condition {model.condition} and model.answer '{model.answer}'"
                raise ValueError(
                    f"{type(task).__name__} gives {wanted} channels, and colours ('ab') belong to colorization; set both, got {got}"
                )

    def _check_internal(self, model: MetaInternalConfig) -> None:
        longest = self.data.longest or max(self.data.stretch, default=0)
        if self.data.channels != 3 or longest != model.finest:
            raise ValueError(
                f"data.longest must be model.finest = {model.finest} (or data.stretch end in it) with 3 channels, "
                f"got {longest} and {self.data.channels}"
            )
        if not all(isinstance(t, Internal) for t in self._tasks()):
            raise ValueError(f"this model trains on the internal task, got {self.task}")
        trained, known = [s.objective for s in self.stages if isinstance(s.objective, MetaInternalObjectiveConfig)], 0
        if len(trained) != len(self.stages):
            raise ValueError(f"this model is trained by meta_internal alone, got {[s.objective.kind for s in self.stages]}")
        for objective in trained:
            if objective.scale >= model.scales or (objective.scale != known and not (objective.together and objective.scale >= known - 1)):
                raise ValueError(
                    f"stages must train scales 0, 1, … of model.scales = {model.scales} in order, and all of them if together, "
                    f"got {[o.scale for o in trained]}"
                )
            known = objective.scale + 1
        critics = [o.critic if o.adversarial else None for o in trained]
        if len(set(critics) - {None}) > 1:
            raise ValueError(f"the critic goes on from stage to stage, got {critics}; set stages.N.objective.critic alike in all of them")
        if None in critics and any(critics[critics.index(None) :]):
            raise ValueError(f"the critic goes on from stage to stage, but after one without it there is none, got {critics}")

    def _check_sized(self, model: ReversibleConfig | ClassifierConfig | CoverageQualityConfig) -> None:
        if self.data.channels != model.channels:
            raise ValueError(f"data.channels is {self.data.channels} and model.channels {model.channels}; they must agree")
        for task in self._tasks():
            if not isinstance(task, Unconditional) or task.edge != model.size:
                asked = f"--data.edge {model.size} --task.edge {model.size}"
                raise ValueError(f"model.size is {model.size}, task.edge {getattr(task, 'edge', 'none')}; they must agree: {asked}")

    def _tasks(self) -> tuple[Task, ...]:
        return self.task, *(s.task for s in self.stages if s.task)

    def to_json(self) -> str:
        """The record of the recipe; `read_recipe` takes it back."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_recipe(text: str) -> Recipe:
    """A recipe from its record.

    Raises:
        UserError: not JSON, unknown or ill-typed fields.
    """
    try:
        return read_config(Recipe, json.loads(text))
    except ValueError as error:
        raise UserError(f"the recipe can't be read: {error}") from None


def override(recipe: Recipe, changes: dict[str, str]) -> Recipe:
    """The recipe with dotted fields set from command-line words, typed by the field.

    Raises:
        UserError: an unknown field (with the nearest name), or a value that does not fit.

    Example:
        >>> from predella.recipes.functional_sr import functional_sr
        >>> override(functional_sr(), {"stages.0.steps": "7", "seed": "3"}).stages[0].steps
        7
    """
    values = asdict(recipe)
    for path, word in changes.items():
        at: Any = values
        parts = path.replace("-", "_").split(".")
        for i, part in enumerate(parts):
            known = list(at) if isinstance(at, dict) else [str(k) for k in range(len(at))] if isinstance(at, list | tuple) else []
            if part not in known:
                owner, kind = ("Recipe" if i == 0 else f"'{'.'.join(parts[:i])}'"), "entry" if isinstance(at, list | tuple) else "field"
                raise UserError(f"{owner} has no {kind} '{part}'" + (did_you_mean(part, known) if known else "; it holds one value"))
            key: Any = int(part) if isinstance(at, list | tuple) else part
            if i == len(parts) - 1:
                at[key] = _parse(word, at[key])
            elif isinstance(at[key], tuple):
                at[key] = list(at[key])
            at = at[key]
    try:
        return read_config(Recipe, values)
    except ValueError as error:
        raise UserError(f"recipe '{recipe.name}': {error}") from None


def _parse(word: str, old: Any) -> Any:
    """A word from the command line: JSON, or `a,b` for a tuple, or the word itself; the field's type decides the rest."""
    if isinstance(old, str):
        return word
    if isinstance(old, list | tuple) and not word.lstrip().startswith("["):
        return [_parse(w, old[0] if old else None) for w in word.split(",") if w]
    try:
        return json.loads(word)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(word, word)


def task_of(source: str) -> Task:
    """The task that a model was trained for, by the recipe beside it.

    Args:
        source: a shipped name or a run folder.

    Raises:
        UserError: no such model, or no recipe.
    """
    file = find_source(source) / "recipe.json"
    if not file.exists():
        raise UserError(f"{source} has no recipe.json that says what it restores; give a folder made by `predella train`")
    return read_recipe(file.read_text()).task

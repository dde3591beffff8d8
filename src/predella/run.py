"""From a recipe to a trained run folder: builds the pieces, records them, trains."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from predella.atomic import check_folder, write_text
from predella.card import START, model_card
from predella.config import differences
from predella.data.batches import Batches, seed_of
from predella.data.images import count_pictures
from predella.errors import UserError
from predella.models.base import WEIGHTS, Model, find_source, model_class
from predella.models.classifier import ClassifierConfig
from predella.models.coverage_quality import CoverageQualityConfig
from predella.models.functional_image import FunctionalImageConfig
from predella.models.functional_points import FunctionalPointsConfig
from predella.models.meta_internal import MetaInternalConfig
from predella.models.reversible import ReversibleConfig
from predella.models.tower import TowerConfig
from predella.objectives.base import Objective
from predella.recipe import Recipe, read_recipe
from predella.tasks.base import check_pictures
from predella.train.checkpoint import STATE, load_numbers
from predella.train.engine import Engine
from predella.train.log import environment, hardware
from predella.train.trainer import Part, Trainer, check_stage

log = logging.getLogger("predella.train")
WRITTEN = ("metrics.jsonl", STATE, WEIGHTS, "config.json", "README.md")
RECORDS = ("recipe.json", "environment.json", "metrics.jsonl")
MODEL_OF: dict[type, str] = {
    FunctionalImageConfig: "functional_image", ReversibleConfig: "reversible", ClassifierConfig: "classifier", TowerConfig: "tower",
    MetaInternalConfig: "meta_internal", CoverageQualityConfig: "coverage_quality", FunctionalPointsConfig: "functional_points",
}  # fmt: skip


def build_model(recipe: Recipe) -> Model:
    """The recipe's model, with weights drawn from its seed, or those of the model it starts from.

    Raises:
        UserError: nothing to start from there, or another model.
    """
    cls = model_class(MODEL_OF[type(recipe.model)])
    if recipe.start:
        _start_of(recipe)
        start = cls.from_pretrained(recipe.start)
        for field, made, asked in differences(start.config, recipe.model, "model"):
            if field != "model.memory":  # how activations are kept changes no value
                raise UserError(f"{recipe.start} has {field} = {made}, the recipe {asked}; train on with the same {field}")
        model = cls(recipe.model)
        model.load_state_dict(start.state_dict())
        return model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, 4))
        return cls(recipe.model)


def _start_of(recipe: Recipe) -> Path:
    """The model folder that a recipe starts from.

    Raises:
        UserError: there is none.
    """
    try:
        return find_source(recipe.start)
    except UserError as error:
        raise UserError(f"start: {error}; train that run first, or name another with --start") from None


def start(recipe: Recipe, folder: Path, command: str, *, resume: bool = False, force: bool = False, cpu: bool = False,
          tell: Callable[[float], None] | None = None) -> Model:  # fmt: skip
    """Train `recipe` into `folder`; the folder is a model folder at every checkpoint. `tell` hears the fraction done after each step.

    Raises:
        UserError: the folder holds another run, or the data can't be used.
        Interrupted, NotFinite: see `Trainer.fit`.
    """
    folder = Path(folder)
    check_folder(folder)
    holds = (folder / "recipe.json").exists()
    if resume and not (folder / STATE).exists():
        raise UserError(f"{folder} has no {STATE} to resume from; start without --resume")
    if resume and holds:
        before = read_recipe((folder / "recipe.json").read_text())
        _check_same(before, recipe, folder)
        _check_done(before, recipe, folder)
    if not resume and holds and not force:
        go_on = "go on with --resume, replace it" if (folder / STATE).exists() else "nothing of it was saved to go on from; replace it"
        raise UserError(f"{folder} holds a run; {go_on} with --force, or choose another --out")
    if not resume and not holds and not force and (found := [n for n in WRITTEN if (folder / n).exists()]):
        raise UserError(f"{folder} holds {found[0]}, which no run of this house wrote; choose another --out, or replace it with --force")
    if not resume and recipe.start and _would_clear(folder.resolve(), _start_of(recipe).resolve()):
        raise UserError(f"{folder} holds the weights to start from, and would be replaced; choose another --out")
    for path in recipe.data.paths:
        count_pictures(path)  # that all are there
    engine = Engine("cpu" if cpu else "auto", recipe.precision)
    if engine.main and engine.emulates:
        log.warning("this processor has no bf16 arithmetic, and emulates it several times slower than float32; --precision no is faster")
    model = build_model(replace(recipe, start="") if resume else recipe)  # of a run that goes on, the weights are in its state
    objectives = [_objective(recipe, i, model) for i in range(len(recipe.stages))]
    images = recipe.data.open()  # may take minutes: all that is wrong with the recipe by itself is found before
    parts = []
    for i, (stage, objective) in enumerate(zip(recipe.stages, objectives)):
        stream = Batches(images, stage.task or recipe.task, stage.batch_size or len(images), recipe.augment, seed_of(recipe.seed, 5, i),
                         engine.rank, engine.world, recipe.workers)  # fmt: skip
        if engine.world > 1 and stream.batch_size // engine.world % objective.group:
            needed = f"a multiple of {engine.world * objective.group}"
            raise UserError(f"stages.{i}.batch_size must be {needed}, for {engine.world} processes, got {stream.batch_size}")
        parts.append(Part(stage.name, stage.steps, objective, stream, stage.optim))
    show = Batches(images, recipe.task, recipe.samples, recipe.augment, seed_of(recipe.seed, 6))(0)
    for task in (recipe.task, *(stage.task for stage in recipe.stages if stage.task)):
        check_pictures(task, images)
    for part in parts:
        part.objective.check(show, images.labels)
    if engine.main:
        if not resume:
            _clear(folder)
            if recipe.start:
                _keep_records(find_source(recipe.start), folder / START)
        write_text(folder / "recipe.json", recipe.to_json())
        made = environment(command, hardware(engine.device, engine.world))
        if resume and (folder / "environment.json").exists():
            before = json.loads((folder / "environment.json").read_text())
            more = load_numbers(folder)["step"] < sum(stage.steps for stage in recipe.stages)
            again = [{k: made[k] for k in ("command", "commit")}] if more else []
            made = {**before, "resumed": [*before.get("resumed", []), *again]}
        write_text(folder / "environment.json", json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    engine.wait()
    numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
    log.info("%s: %s parameters, %d pictures, into %s", recipe.name, f"{numbers:,}", len(images), folder)
    trainer = Trainer(model, parts, folder, engine, ema=recipe.ema, save_every=recipe.save_every,
                      log_every=recipe.log_every, sample_every=recipe.sample_every, keep_every=recipe.keep_every,
                      show=show, tell=tell)  # fmt: skip
    try:
        trainer.fit(resume)
    except BaseException:
        if engine.main and not resume:
            _withdraw(folder)
        raise
    model.load_state_dict(trainer.ema.shadow)
    if engine.main:
        write_text(folder / "README.md", model_card(folder))
        log.info("done: %s; it serves: predella %s", folder / WEIGHTS, ", ".join((*model.verbs, "evaluate")))
    engine.close()
    return model.eval()


def _objective(recipe: Recipe, number: int, model: Model) -> Objective:
    """Of the stage of that number, refused if it or its optimizers can't be."""
    stage = recipe.stages[number]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(recipe.seed, 7, number))  # of critics
        objective = stage.objective.build(model)
    objective.started = bool(recipe.start)
    check_stage(stage.name, stage.steps, objective, stage.optim)
    for phase in objective.phases():
        stage.optim[phase.name].build(phase.trains)
    return objective


def _check_same(before: Recipe, now: Recipe, folder: Path) -> None:
    """When a run goes on, only its name, the number of steps, the place of the data and what is shown or saved may differ, and
    stages may follow."""

    def fixed(recipe: Recipe) -> Recipe:
        stages = tuple(replace(s, steps=1) for s in recipe.stages[: len(before.stages)])
        names = ("name", "data", "log_every", "save_every", "sample_every", "keep_every", "samples", "workers")
        free = {k: getattr(before, k) for k in names}
        return replace(recipe, stages=stages, **free)

    was, asked = fixed(before), fixed(now)
    for field, old, new in (*differences(replace(was, stages=()), replace(asked, stages=()), ""), *_stages(was, asked)):
        shown = f" = {old}, got {new}" if len(f"{old}{new}") < 80 else " of other values"
        raise UserError(f"{folder} was trained with {field.removeprefix('.')}{shown}; resume with the same, or start in another --out")


def _stages(was: Recipe, asked: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """Where two recipes' stages differ, as `differences` has it."""
    if len(was.stages) != len(asked.stages):
        yield "stages", f"{len(was.stages)} stages", f"{len(asked.stages)}"
    for i, (a, b) in enumerate(zip(was.stages, asked.stages)):
        yield from differences(a, b, f"stages.{i}")


def _check_done(before: Recipe, now: Recipe, folder: Path) -> None:
    """Steps that are done can't be asked for otherwise."""
    at = load_numbers(folder)
    done = at["step"] - sum(stage.steps for stage in before.stages[: at["stage"]])
    for i, (was, stage) in enumerate(zip(before.stages, now.stages)):
        if i < at["stage"] and stage.steps != was.steps:
            raise UserError(f"stages.{i}.steps was {was.steps:,} when that stage ended, got {stage.steps:,}; leave it as it was")
        if i == at["stage"] and stage.steps < done:
            raise UserError(f"stages.{i}.steps must be at least {done:,}, for so many are done in {folder}; got {stage.steps:,}")


def _keep_records(run: Path, place: Path) -> None:
    """Copy the records of the run that weights come from, and of those it started from itself."""
    for name in RECORDS:
        if (run / name).exists():
            write_text(place / name, (run / name).read_text())
    if (run / START).is_dir():
        _keep_records(run / START, place / START)


def _withdraw(folder: Path) -> None:
    """Remove the records of a run that ended before it had anything to keep, so that it can be begun again."""
    if any((folder / name).exists() for name in (*WRITTEN, "samples", "checkpoints")):
        return
    _clear(folder)
    for name in RECORDS:
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _would_clear(folder: Path, model: Path) -> bool:
    """Whether `_clear` removes the model folder `model`."""
    return model == folder or any(model.is_relative_to(folder / part) for part in (START, "checkpoints"))


def _clear(folder: Path) -> None:
    """Remove what a former run wrote, and nothing else."""
    if (folder / START).is_dir():
        _clear(folder / START)
        for name in RECORDS:
            (folder / START / name).unlink(missing_ok=True)
        if not any((folder / START).iterdir()):
            (folder / START).rmdir()
    for name in WRITTEN:
        (folder / name).unlink(missing_ok=True)
    for sheet in (folder / "samples").glob("step-*.png"):
        sheet.unlink()
    for kept in (folder / "checkpoints").glob("step-*"):
        for name in (WEIGHTS, "config.json"):
            (kept / name).unlink(missing_ok=True)
        if not any(kept.iterdir()):
            kept.rmdir()

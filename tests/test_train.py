"""The machine: resume is bit for bit, a kill loses nothing, phases change only what they train, two processes are one."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from benchmarks.reversible_faces import images_seen
from torch import nn

from predella.errors import UserError
from predella.models.base import load
from predella.models.reversible import StandardNormal
from predella.objectives.base import Objective, Phase
from predella.objectives.meta_internal import MetaInternalObjective
from predella.recipe import Recipe, override
from predella.recipes import RECIPES, find_recipe
from predella.recipes.tower_variants import RECIPES as VARIED
from predella.run import start
from predella.tasks.base import Batch
from predella.tasks.super_resolution import SuperResolution
from predella.train.checkpoint import load_state, save_state
from predella.train.ema import EMA
from predella.train.optim import Optim
from predella.train.trainer import NotFinite, Part, Trainer


def tiny(name="functional_sr", steps=6, **change) -> Recipe:
    recipe = find_recipe(name)(smoke=True)
    stage = replace(recipe.stages[0], steps=steps)
    return replace(recipe, stages=(stage,), log_every=2, save_every=2, sample_every=1000, **change)


def weights(folder):
    return load(folder).state_dict()


def equal(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(autouse=True)
def float32():
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["functional_sr", "functional_sr_paper"])
def test_resume_is_bit_for_bit(tmp_path, name):
    start(tiny(name), tmp_path / "straight", "test", cpu=True)
    cut = tiny(name)

    import predella.train.trainer as trainer

    real = trainer.Trainer._save
    calls = []

    def stop_at_four(self, log):
        real(self, log)
        calls.append(self.step)
        if self.step == 4 and len(calls) == 2:
            raise KeyboardInterrupt

    trainer.Trainer._save = stop_at_four
    try:
        with pytest.raises(KeyboardInterrupt):
            start(cut, tmp_path / "cut", "test", cpu=True)
    finally:
        trainer.Trainer._save = real
    assert load_state(tmp_path / "cut")[1]["step"] == 4
    start(cut, tmp_path / "cut", "test", resume=True, cpu=True)
    assert equal(weights(tmp_path / "straight"), weights(tmp_path / "cut"))
    a, b = (load_state(tmp_path / k)[0] for k in ("straight", "cut"))
    assert a.keys() == b.keys() and equal(a, b)
    rows = [json.loads(r)["step"] for r in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert rows == [2, 4, 6]  # nothing twice


def test_a_run_goes_on_with_a_stage_that_was_added_later(tmp_path):
    first = tiny(steps=3)
    later = replace(first.stages[0], name="later", steps=2, task=SuperResolution(patch=12))
    both = replace(first, stages=(*first.stages, later))
    start(both, tmp_path / "both", "test", cpu=True)
    start(first, tmp_path / "added", "test", cpu=True)
    start(both, tmp_path / "added", "test", resume=True, cpu=True)
    assert equal(weights(tmp_path / "both"), weights(tmp_path / "added"))
    with pytest.raises(UserError, match=r"trained with stages\.0\.name = .*, got later"):
        start(replace(both, stages=(later, *both.stages)), tmp_path / "added", "test", resume=True, cpu=True)


@pytest.mark.parametrize("when", [4, 14])
def test_resume_of_two_stages_with_a_critic_is_bit_for_bit(tmp_path, monkeypatch, when):
    """Cut in the first stage and in the second, whose critic has a state of its own (spectral normalisation)."""
    import predella.train.trainer as trainer

    recipe = replace(find_recipe("reversible_faces")(smoke=True), save_every=2)
    start(recipe, tmp_path / "straight", "test", cpu=True)
    real = trainer.Trainer._save

    def stop(self, log):
        real(self, log)
        if self.step == when:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_save", stop)
        with pytest.raises(KeyboardInterrupt):
            start(recipe, tmp_path / "cut", "test", cpu=True)
    start(recipe, tmp_path / "cut", "test", resume=True, cpu=True)
    a, b = (load_state(tmp_path / k)[0] for k in ("straight", "cut"))
    assert a.keys() == b.keys() and any(k.startswith("part/critic") for k in a) and equal(a, b)
    assert equal(weights(tmp_path / "straight"), weights(tmp_path / "cut"))


def test_a_kill_while_writing_leaves_the_state_before(tmp_path, monkeypatch):
    save_state(tmp_path, {"x": torch.ones(3)}, {"step": 1})

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_state(tmp_path, {"x": torch.zeros(3)}, {"step": 2})
    tensors, numbers = load_state(tmp_path)
    assert numbers == {"step": 1} and tensors["x"].sum() == 3
    assert [p.name for p in (tmp_path / "state").iterdir()] == ["latest.safetensors"]


def test_a_first_stage_goes_on_as_the_whole_recipe(tmp_path):
    """`reversible_faces_reconstruct`, resumed as `reversible_faces`, ends where `reversible_faces` alone ends."""
    start(find_recipe("reversible_faces")(smoke=True), tmp_path / "straight", "test", cpu=True)
    start(find_recipe("reversible_faces_reconstruct")(smoke=True), tmp_path / "parts", "test", cpu=True)
    start(find_recipe("reversible_faces")(smoke=True), tmp_path / "parts", "test", resume=True, cpu=True)
    assert equal(weights(tmp_path / "straight"), weights(tmp_path / "parts"))
    assert json.loads((tmp_path / "parts" / "recipe.json").read_text())["name"] == "reversible_faces"


def test_densities_of_former_weights_are_void(tmp_path):
    first, second = (find_recipe(f"reversible_faces_{k}")(smoke=True) for k in ("reconstruct", "match"))
    assert start(first, tmp_path / "a", "test", cpu=True).fitted
    start(replace(second, start=str(tmp_path / "a"), keep_every=5), tmp_path / "b", "test", cpu=True)
    assert not load(tmp_path / "b" / "checkpoints" / "step-0000005").fitted
    assert load(tmp_path / "b").fitted
    assert json.loads((tmp_path / "b" / "start" / "recipe.json").read_text())["name"] == first.name
    assert "started from the weights of `test`" in (tmp_path / "b" / "README.md").read_text()
    assert images_seen(tmp_path / "b") == 2 * images_seen(tmp_path / "a") == 160
    start(first, tmp_path / "b", "test", force=True, cpu=True)
    assert not (tmp_path / "b" / "start").exists()


def test_memory_is_free_to_choose_when_training_goes_on(tmp_path):
    first, second = (find_recipe(f"reversible_faces_{k}")(smoke=True) for k in ("reconstruct", "match"))
    start(first, tmp_path / "a", "test", cpu=True)
    other = "stored" if second.model.memory == "flat" else "flat"
    changed = replace(second, start=str(tmp_path / "a"), model=replace(second.model, memory=other))
    assert start(changed, tmp_path / "b", "test", cpu=True).config.memory == other
    with pytest.raises(UserError, match=r"has model\.prior\.dims = 8, the recipe 9; train on with the same model\.prior\.dims$"):
        start(replace(changed, model=replace(changed.model, prior=StandardNormal(dims=9))), tmp_path / "c", "test", cpu=True)
    with pytest.raises(UserError, match=r"no model is called 'runs/none'.*train that run first, or name another with --start"):
        start(replace(changed, start="runs/none"), tmp_path / "c", "test", cpu=True)


def test_ctrl_c_ends_cleanly_and_resumably(tmp_path):
    """A real process, a real signal."""
    command = [sys.executable, "-m", "predella", "train", "functional_sr", "--smoke", "--cpu", "--out", str(tmp_path / "r")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "--stages.0.steps", "100000"], stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 10/"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    assert process.wait(60) == 130 and "--resume" in rest and "Traceback" not in rest
    stopped = load_state(tmp_path / "r")[1]["step"]
    assert stopped >= 10
    done = subprocess.run([*command, "--resume", "--stages.0.steps", str(stopped + 5)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert load_state(tmp_path / "r")[1]["step"] == stopped + 5


def test_a_kill_between_weights_and_config_leaves_a_whole_model(tmp_path, monkeypatch):
    from predella.models import base
    from predella.run import build_model

    model = build_model(tiny())
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    real = base.write_text
    for killed_at in (0, 1):  # before the weights are replaced, after it
        calls = []

        def write(*arguments, calls=calls, killed_at=killed_at):
            calls.append(1)
            if len(calls) - 1 == killed_at:
                raise KeyboardInterrupt
            real(*arguments)

        monkeypatch.setattr(base, "write_text", write)
        with pytest.raises(KeyboardInterrupt):
            model.save_pretrained(tmp_path)
        assert load(tmp_path) is not None


def test_a_gradient_that_is_not_finite_changes_nothing(tmp_path):
    objective = Toy()
    trainer = toy_trainer(tmp_path, objective)
    trainer._enter(0)
    root = Phase("first", lambda b: {"fit": (objective.a.weight * 0).sum().abs().sqrt()}, {"fit": 1.0}, [objective.a])
    before = objective.a.weight.clone()
    with pytest.raises(NotFinite, match="gradient=nan"):
        trainer._update(trainer.parts[0], root, next(Numbers().since(0)), 0)
    assert torch.equal(before, objective.a.weight)


class Toy(Objective):
    """Two networks, two phases; the second every second step."""

    def __init__(self, bad_at=None):
        self.a, self.b = nn.Linear(2, 1), nn.Linear(2, 1)
        self.parts = {"a": self.a, "b": self.b}
        self.bad_at, self.seen = bad_at, 0

    def phases(self):
        return (
            Phase("first", lambda batch: {"fit": self._fit(self.a, batch)}, {"fit": 1.0}, [self.a]),
            Phase("second", lambda batch: {"fit": self._fit(self.b, batch), "tie": self.a.weight.sum() * 0}, {"fit": 2.0, "tie": 1.0},
                  [self.b], every=2),
        )  # fmt: skip

    def _fit(self, net, batch):
        self.seen += 1
        value = (net(batch.condition) - batch.target).square().mean()
        return value * float("nan") if self.seen == self.bad_at else value


class Numbers:
    batch_size = 4

    def whole(self):
        return self.since(0)

    def since(self, step):
        while True:
            g = torch.Generator().manual_seed(step)
            x = torch.randn(4, 2, generator=g)
            yield Batch(target=x.sum(1, keepdim=True), condition=x, seed=step)
            step += 1


def toy_trainer(folder, objective, steps=4, optim=None):
    from predella.models.functional_image import CellFields, FunctionalImage, FunctionalImageConfig
    from predella.train.engine import Engine

    model = FunctionalImage(FunctionalImageConfig(field=CellFields(width=2, blocks=1, hidden=2)))
    optim = optim or {"first": Optim(lr=0.1), "second": Optim(lr=0.1)}
    parts = [Part("toy", steps, objective, Numbers(), optim)]
    return Trainer(model, parts, folder, Engine("cpu"), log_every=1, save_every=100)


def test_a_phase_changes_only_what_it_trains(tmp_path):
    objective = Toy()
    trainer = toy_trainer(tmp_path, objective)
    trainer._enter(0)
    part, (first, second) = trainer.parts[0], objective.phases()
    batch = next(Numbers().since(0))
    before = [p.clone() for p in (*objective.a.parameters(), *objective.b.parameters())]
    trainer._update(part, first, batch, 0)
    after = [*objective.a.parameters(), *objective.b.parameters()]
    assert not torch.equal(before[0], after[0]) and torch.equal(before[2], after[2])
    assert objective.b.weight.grad is None and all(p.requires_grad for p in after)
    trainer._update(part, second, batch, 0)
    assert objective.a.weight.grad is not None and not torch.equal(before[2], after[2])
    assert torch.equal(objective.a.weight, after[0])


def test_every_runs_a_phase_now_and_then(tmp_path):
    objective = Toy()
    toy_trainer(tmp_path, objective, steps=4).fit()
    assert objective.seen == 4 + 2
    rows = [json.loads(r) for r in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert ["second_fit" in r for r in rows] == [True, False, True, False]


def test_not_finite_names_step_phase_and_terms(tmp_path):
    with pytest.raises(NotFinite, match=r"step 1, phase 'first': fit=nan; lower"):
        toy_trainer(tmp_path, Toy(bad_at=3)).fit()


def test_a_run_that_diverges_names_the_last_good_model(tmp_path):
    trainer = toy_trainer(tmp_path, Toy(bad_at=3))
    with pytest.raises(NotFinite) as caught:
        trainer.fit()
    assert caught.value.kept == "nothing was saved before"
    trainer = toy_trainer(tmp_path, Toy(bad_at=6), steps=8)
    trainer.save_every = 2
    with pytest.raises(NotFinite) as caught:
        trainer.fit()
    assert trainer.saved and f"{tmp_path} keeps the model of step {trainer.saved}, from which --start {tmp_path}" in caught.value.kept
    assert load(tmp_path).state_dict()


def test_names_of_losses_weights_and_optimizers_must_agree(tmp_path):
    with pytest.raises(ValueError, match="trains first.*, but its optim is for other; give first"):
        toy_trainer(tmp_path, Toy(), optim={"other": Optim()}).fit()
    phase = Phase("p", lambda b: {"a": b.target.sum()}, {"b": 1.0}, [])
    with pytest.raises(KeyError, match=r"\['a'\].*\['b'\]"):
        phase.total(Batch(torch.zeros(1)))


def test_ema_is_the_weighted_mean():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 0.0)
    ema = EMA(net, 0.5)
    nn.init.constant_(net.weight, 1.0)
    for step in range(20, 23):
        ema.update(step)
    assert ema.shadow["weight"].item() == pytest.approx(1 - 0.5**3)


def test_a_run_is_not_overwritten_nor_resumed_as_another(tmp_path):
    start(tiny(steps=2), tmp_path / "r", "test", cpu=True)
    with pytest.raises(UserError, match=r"--resume.*--force"):
        start(tiny(steps=2), tmp_path / "r", "test", cpu=True)
    with pytest.raises(UserError, match="trained with seed = 0, got 5; resume"):
        start(tiny(steps=2, seed=5), tmp_path / "r", "test", resume=True, cpu=True)
    with pytest.raises(UserError, match="nothing|no state"):
        start(tiny(steps=2), tmp_path / "other", "test", resume=True, cpu=True)
    larger = replace(tiny(), stages=(replace(tiny().stages[0], batch_size=8),))
    with pytest.raises(UserError, match=r"trained with stages\.0\.batch_size = \d+, got 8; resume"):
        start(larger, tmp_path / "r", "test", resume=True, cpu=True)
    start(tiny(steps=2), tmp_path / "r", "test", force=True, cpu=True)
    names = {p.name for p in (tmp_path / "r").iterdir()}
    assert {"config.json", "model.safetensors", "recipe.json", "environment.json", "metrics.jsonl", "README.md", "state"} <= names


def test_a_batch_of_none_is_all_pictures(tmp_path, monkeypatch):
    recipe = override(find_recipe("meta_internal_batch")(smoke=True), {"data.part": "0,5", "stages.0.steps": "1", "stages.1.steps": "1"})
    seen = []
    begin = MetaInternalObjective.generator_losses
    monkeypatch.setattr(MetaInternalObjective, "generator_losses", lambda self, batch: seen.append(batch.target) or begin(self, batch))
    start(recipe, tmp_path / "r", "test", cpu=True)
    assert [len(x.flatten(1).unique(dim=0)) for x in seen] == [5, 5]  # each once
    assert "scale_0: 1 of all pictures" in (tmp_path / "r" / "README.md").read_text()


@pytest.mark.parametrize("name", [n for n in RECIPES if n not in VARIED or n.startswith("tower_sr16") or n.endswith("_paper")])
def test_smoke_of_every_recipe(tmp_path, name):
    recipe = find_recipe(name)(smoke=True)
    model = start(recipe, tmp_path / "r", "test", cpu=True)
    steps = sum(stage.steps for stage in recipe.stages)
    sheets = steps // recipe.sample_every if name != "mnist_classifier" else 0  # which has nothing to show
    assert len(list((tmp_path / "r" / "samples").glob("*.png"))) == sheets
    assert equal(model.state_dict(), weights(tmp_path / "r"))


def test_some_parameters_may_be_slower(caplog):
    layers = nn.ModuleDict({"mapping": nn.Linear(2, 2), "rest": nn.Linear(2, 2)})
    before = {n: p.detach().clone() for n, p in layers.named_parameters()}
    optimizer = Optim(lr=1e-2, slow=("mapping.*",), slow_lr=1e-4).build([layers])
    for p in layers.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(1.0)
    for name, p in layers.named_parameters():
        torch.testing.assert_close((before[name] - p).abs(), torch.full_like(p, 1e-4 if "mapping" in name else 1e-2))
    again = Optim(lr=1e-2, slow=("mapping.*",), slow_lr=1e-4).build([layers])
    again.load_tensors(optimizer.tensors())
    assert again.tensors().keys() == optimizer.tensors().keys()
    with pytest.raises(ValueError, match="name the same parameters"):
        Optim(muon=("*weight",), slow=("mapping.*",)).build([layers])
    with caplog.at_level("WARNING"):
        Optim(lr=1e-2, slow=("maping.*",)).build([layers])
    assert "slow=('maping.*',) names none of the parameters; all learn at 0.01" in caplog.text

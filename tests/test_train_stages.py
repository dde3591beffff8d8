"""Stages: schedules reach the optimizers and begin anew, each stage takes over from the last, what is kept is averaged."""

import json
import logging
import os
import signal
import time

import pytest
import torch
from torch import nn

from predella.models.base import load
from predella.models.functional_image import CellFields, FunctionalImage, FunctionalImageConfig
from predella.objectives.base import Objective, Phase
from predella.tasks.base import Batch
from predella.train.checkpoint import load_state, save_state
from predella.train.engine import Engine
from predella.train.log import RunLog
from predella.train.optim import Optim
from predella.train.trainer import Interrupted, Part, Trainer

BY_SIGN = {"betas": (0.0, 0.0)}  # AdamW without memory steps by the learning rate, against the gradient's sign


class Pull(Objective):
    """All of a model's weights are drawn towards -100."""

    def __init__(self, model):
        self.model, self.parts, self.told = model, {"model": model}, []

    def phases(self):
        return (Phase("pull", lambda batch: {"away": sum((p + 100).square().sum() for p in self.model.parameters())}, {"away": 1.0},
                      [self.model]),)  # fmt: skip

    def follow(self, before):
        self.told.append(("follow", before))

    def begin(self, batches):
        self.told.append(("begin", None))


class Nothing:
    batch_size = 2

    def whole(self):
        return self.since(0)

    def since(self, step):
        while True:
            yield Batch(target=torch.zeros(2, 1), seed=step)


@pytest.fixture(autouse=True)
def float32():
    torch.set_default_dtype(torch.float32)


def trainer(folder, stages, **more):
    """Of a small model, with a stage for each (steps, Optim)."""
    torch.manual_seed(0)
    model = FunctionalImage(FunctionalImageConfig(field=CellFields(width=2, blocks=1, hidden=2)))
    parts = [Part(f"stage{i}", steps, Pull(model), Nothing(), {"pull": optim}) for i, (steps, optim) in enumerate(stages)]
    return Trainer(model, parts, folder, Engine("cpu"), **{"log_every": 1, "save_every": 100, "ema": 0.5, **more})


def test_the_schedule_is_what_the_optimizer_steps_by(tmp_path):
    first, second = Optim(lr=0.1, warmup=2, schedule="linear", **BY_SIGN), Optim(lr=0.1, warmup=2, schedule="cosine", **BY_SIGN)
    made = trainer(tmp_path, [(4, first), (2, second)])
    before = {k: p.clone() for k, p in made.model.named_parameters()}
    made.fit()
    whole = 0.1 * (0.5 * 1 + 0.75 + 0.5 + 0.25 + 0.5 * 1 + 1 * 0.5)  # the second stage's schedule begins anew
    raw = {k.removeprefix("part/model/"): v for k, v in load_state(tmp_path)[0].items() if k.startswith("part/model/")}
    for name, p in before.items():
        torch.testing.assert_close(raw[name], p - whole, atol=1e-5, rtol=0)
    rows = [json.loads(line)["lr_pull"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == pytest.approx([0.05, 0.075, 0.05, 0.025, 0.05, 0.05])


def test_a_long_way_to_the_first_row_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("predella.train.log.SILENCE", 0.0)
    with caplog.at_level("INFO"):
        trainer(tmp_path, [(6, Optim())], log_every=4).fit()
    said = [m for m in caplog.messages if "left at this speed" in m]
    assert [m.split(" ·")[0] for m in said] == ["step 1/6", "step 2/6", "step 3/6", "step 4/6"]


def test_what_is_made_before_many_steps_is_not_taken_for_their_speed(tmp_path, monkeypatch, caplog):
    """100 seconds before each 10 of 30 steps, which take a second each."""
    now = [0.0]
    monkeypatch.setattr("predella.train.log.time.monotonic", lambda: now[0])
    log = RunLog(tmp_path, 30)
    with caplog.at_level("INFO"):
        log.enter(0, 10, "choosing codes")
        now[0] = 101.0
        log.waited(100.0)
        log.early(1)
        now[0] = 109.0
        log.early(9)
        now[0] = 110.0
        log.row(10, 1, {})
        now[0] = 220.0
        log.waited(100.0)
        log.row(20, 1, {})
    early, rows = ["step 1/30 · 4 min left at this speed"], ["step 10/30 · ", "step 20/30 ·  · 0 images/s · 2 min left"]
    assert caplog.messages == ["step 0/30 · choosing codes", *early, *rows]


def test_time_that_batches_take_is_told_apart(tmp_path, monkeypatch):
    seconds, plain = [], Pull.stream

    def slow(self, since, step):
        time.sleep(0.2)
        yield from plain(self, since, step)

    monkeypatch.setattr(Pull, "stream", slow)
    monkeypatch.setattr(RunLog, "waited", lambda self, took: seconds.append(took))
    trainer(tmp_path, [(3, Optim())]).fit()
    assert len(seconds) == 3 and seconds[0] >= 0.2 > seconds[1]


def test_a_signal_in_the_middle_of_a_line_waits_for_its_end(tmp_path):
    """Streams refuse to be written to by what interrupts their writing."""
    lines = []

    class Interrupting(logging.Handler):
        inside = False

        def emit(self, record):
            lines.append(("again " if self.inside else "") + record.getMessage())
            if len(lines) == 1:
                self.inside = True
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
                self.inside = False

    log, handler = logging.getLogger("predella.train"), Interrupting()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        with pytest.raises(Interrupted, match="stopped at step 1"):
            trainer(tmp_path, [(6, Optim())]).fit()
        for _ in range(100):
            if len(lines) > 1:
                break
            time.sleep(0.05)
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    assert lines[0].startswith("step 1/6") and lines[1].startswith("going on to step"), lines


def test_a_stop_at_once_says_what_is_kept(tmp_path):
    made = trainer(tmp_path, [(6, Optim())])
    batches = made.parts[0].stream.since

    def twice(step):
        for n, batch in enumerate(batches(step)):
            if n == 3:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    made.parts[0].stream.since = twice
    with pytest.raises(KeyboardInterrupt, match="nothing was saved$"):
        made.fit()
    made = trainer(tmp_path / "r", [(6, Optim())], save_every=2)
    made.parts[0].stream.since = twice
    with pytest.raises(KeyboardInterrupt, match="r continues from step 2 with --resume"):
        made.fit()


def test_a_stage_takes_over_from_the_one_before_and_then_looks_at_the_data(tmp_path):
    made = trainer(tmp_path, [(1, Optim()), (2, Optim())])
    made.fit()
    first, second = (part.objective for part in made.parts)
    assert first.told == [("begin", None)] and second.told == [("follow", first), ("begin", None)]


def test_a_kept_checkpoint_is_the_averaged_model(tmp_path):
    made = trainer(tmp_path, [(4, Optim(lr=0.5))], keep_every=2)
    made.fit()
    kept, final = (load(folder).state_dict() for folder in (tmp_path / "checkpoints" / "step-0000004", tmp_path))
    raw = load_state(tmp_path)[0]
    assert all(torch.equal(v, final[k]) for k, v in kept.items())
    assert any(not torch.equal(raw[f"part/model/{k}"], v) for k, v in kept.items())


def test_time_goes_on_where_a_run_was_left(tmp_path):
    trainer(tmp_path, [(2, Optim())]).fit()
    tensors, numbers = load_state(tmp_path)
    save_state(tmp_path, tensors, {**numbers, "elapsed_s": 1000.0})
    trainer(tmp_path, [(3, Optim())]).fit(resume=True)
    assert 1000 <= load_state(tmp_path)[1]["elapsed_s"] < 1100
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["elapsed_s"] >= 1000


@pytest.mark.parametrize(("precision", "kind"), [("bf16", torch.bfloat16), ("no", torch.float32)])
def test_a_precision_is_what_products_are_computed_in(precision, kind):
    with Engine("cpu", precision).autocast():
        assert nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype is kind

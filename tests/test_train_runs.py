"""Runs by the command line: nothing is lost, what is recorded is what happened, and options that contradict are refused."""

import json
import shutil

import pytest
import torch

from predella.card import model_card
from predella.data.batches import seed_of
from predella.data.images import Source
from predella.recipe import override
from predella.recipes import find_recipe
from predella.train.log import append_row, hardware, last_step, read_rows


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a finished run."""
    shutil.copytree(runs / "functional_sr", tmp_path / "run")
    return tmp_path / "run"


def contents(folder):
    return {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_run_is_not_cleared_of_the_weights_it_starts_from(refuses, run):
    before = contents(run)
    words = ("train", "functional_sr", "--smoke", "--start", run, "--out", run, "--force", "--cpu")
    refuses(*words, says=[f"{run} holds the weights to start from", "another --out"])
    assert contents(run) == before


def test_a_run_goes_on_without_what_it_started_from(cli, run, tmp_path):
    """Its weights are in its state."""
    words = ("train", "functional_sr", "--smoke", "--cpu", "--out", tmp_path / "second")
    assert cli(*words, "--start", run)[0] == 0
    shutil.rmtree(run)
    status, _, err = cli(*words, "--resume", "--start", run, "--stages.0.steps", "22")
    assert status == 0, err
    assert last_step(tmp_path / "second")["step"] == 22


def test_a_recipe_is_refused_before_its_pictures_are_read(refuses, monkeypatch, tmp_path):
    """Thousands of them take minutes."""

    def read(_):
        raise AssertionError("pictures were read")

    monkeypatch.setattr(Source, "open", read)
    words = ("train", "tower_jpeg", "--data", "photos", "--cpu", "--out", tmp_path / "r")
    refuses(*words, "--stages.0.steps", "7", says="stage 'train' has 7 steps; its objective needs a multiple of 200")
    refuses(*words[:3], tmp_path / "none", *words[4:], "--stages.0.steps", "7", says="none does not exist")
    assert not (tmp_path / "r").exists()


def test_what_is_done_cant_be_asked_for_otherwise(cli, refuses, tmp_path):
    words = ("train", "reversible_faces", "--smoke", "--cpu", "--out", tmp_path / "two")
    assert cli(*words)[0] == 0
    first, last = (stage.steps for stage in find_recipe("reversible_faces")(smoke=True).stages)
    refuses(*words, "--resume", "--stages.0.steps", first + 1, says=["stages.0.steps was", "when that stage ended"])
    refuses(*words, "--resume", "--stages.1.steps", last - 1, says=f"stages.1.steps must be at least {last}")


def test_a_recorded_recipe_resumes_where_it_lies(cli, run):
    status, _, err = cli("train", run / "recipe.json", "--resume", "--cpu", "--stages.0.steps", "22")
    assert status == 0, err
    assert last_step(run)["step"] == 22


def test_fields_that_contradict_are_refused(refuses):
    refuses("train", "functional_sr", "--seed", "1", "--seed", "2", says="--seed is given twice")
    refuses("train", "functional_sr", "--data", "photos", "--data.paths", "digits", says="--data and --data.paths say the same")
    refuses("train", "functional_sr", "--seed", 2**32, says="seed must lie in 0…2^32 - 1")


def test_a_line_cut_short_is_passed_over(tmp_path):
    file = tmp_path / "metrics.jsonl"
    append_row(file, {"step": 1, "elapsed_s": 2.0})
    with open(file, "a") as stream:
        stream.write('{"step": 2, "elap')
    assert last_step(tmp_path)["step"] == 1
    append_row(file, {"step": 3})
    assert read_rows(file) == [{"step": 1, "elapsed_s": 2.0}, {"step": 3}] and last_step(tmp_path)["step"] == 3
    assert read_rows(tmp_path / "none.jsonl") == []


def test_a_card_tells_of_the_model_as_it_is(run):
    """Of what was measured twice the last, nothing of fewer steps, and of a start that was never logged that it was not."""
    step = last_step(run)["step"]
    row = {"run": "run", "set": "S", "ask": "x2", "measure": "psnr_y", "protocol": "P"}
    for steps, value in ((1, 11.1), (step, 22.2), (step, 33.3)):
        append_row(run / "metrics.jsonl", {**row, "steps": steps, "value": value})
    append_row(run / "metrics.jsonl", {**row, "steps": step, "value": 44.4, "at": 1})
    (run / "start").mkdir()
    shutil.copy(run / "environment.json", run / "start")
    card = model_card(run)
    assert "33.3" in card and not any(v in card for v in ("11.1", "22.2", "44.4"))
    assert "how long is not recorded" in card


def test_hardware_is_what_was_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "H100")
    assert "CPU cores" in hardware(torch.device("cpu"), 8) and hardware(torch.device("cuda"), 8) == "8 × H100"


def test_one_is_told_that_blends_want_pairs_in_each_process(monkeypatch, refuses, tmp_path):
    monkeypatch.setattr("predella.run.Engine", lambda *_: type("E", (), {"rank": 0, "world": 4, "main": True, "emulates": False})())
    words = ("--smoke", "--cpu", "--stages.1.batch_size", "12", "--out", tmp_path / "r")
    assert len(find_recipe("functional_faces_blends")(smoke=True).stages) == 2
    refuses("train", "functional_faces_blends", *words, says="stages.1.batch_size must be a multiple of 8, for 4 processes, got 12")
    assert not (tmp_path / "r").exists()


def test_a_run_is_known_by_the_folder_it_lies_in(cli, run, monkeypatch):
    monkeypatch.chdir(run)
    status, out, err = cli("evaluate", ".", "--data", "photos", "--part", "0,1", "--scales", "2", "--json")
    assert status == 0, err
    assert {row["run"] for row in json.loads(out)["rows"]} == {"run"}


def test_each_kept_step_is_loaded_when_its_turn_comes(cli, tmp_path, monkeypatch):
    from predella import evaluation

    torch.set_default_dtype(torch.float32)
    words = ("--smoke", "--cpu", "--keep_every", "10", "--stages.0.steps", "20", "--out", tmp_path / "r")
    assert cli("train", "functional_sr", *words)[0] == 0
    seen, load = [], evaluation._model
    monkeypatch.setattr(evaluation, "_model", lambda folder: seen.append(folder) or load(folder))
    rows = evaluation.evaluate(str(tmp_path / "r"), ["photos"], evaluation.Asked(curve=True, scales=(2.0,), part=(0, 1)))
    next(rows)
    assert len(seen) == 1
    assert {row["at"] for row in rows} == {10, 20}


def test_seeds_differ_up_to_the_largest():
    recipe, largest = find_recipe("functional_sr")(smoke=True), 2**32 - 1
    assert override(recipe, {"seed": str(largest)}).seed == largest
    assert len({seed_of(seed, 1) for seed in (0, 1, largest - 1, largest)}) == 4

"""The arithmetic inside benchmarks, by brute force and on cases whose answer is known."""

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import internal_table, tables
from benchmarks.density_exact import bound
from benchmarks.density_outliers import around, auroc, png_bits
from benchmarks.density_toys import flow, integral, log_density, measure, train
from benchmarks.distance_floor import disjoint
from benchmarks.internal_table import _part
from benchmarks.posterior_rank import rank
from benchmarks.sampling_efficiency import expected_nearest
from benchmarks.tables import recorded
from benchmarks.tower_table import changes, made

from predella.atomic import write_text
from predella.models.coverage_quality import CoverageQuality, CoverageQualityConfig
from predella.models.tower import Tower
from predella.recipe import override
from predella.recipes import find_recipe


def test_expected_nearest_is_the_mean_over_all_choices():
    distances = torch.rand(3, 6)
    got = expected_nearest(distances)
    for n in range(1, 7):
        brute = torch.stack([distances[:, list(chosen)].amin(1) for chosen in combinations(range(6), n)]).mean()
        assert got[n - 1].item() == pytest.approx(brute.item())


def test_ranks_of_truths_that_are_drawn_alike_are_uniform():
    rng = np.random.default_rng(0)
    ranks = [rank(rng.standard_normal(2), rng.standard_normal((200, 2)), rng.standard_normal((200, 2))) for _ in range(300)]
    assert np.mean(np.array(ranks) <= 0.9) == pytest.approx(0.9, abs=0.05) and np.mean(ranks) == pytest.approx(0.5, abs=0.05)
    assert rank(np.array([9.0, 9.0]), rng.standard_normal((50, 2)), rng.standard_normal((50, 2))) == 1


@pytest.mark.parametrize("row", ["", "cimle", "cimle_single", "regression", "no_hs", "no_hs_mn", "no_hs_mn_is", "no_hs_mn_is_wn"])
def test_rows_of_the_towers_table_are_made_of_the_changed_tower(row):
    levels = '[{"width":8,"growth":4,"blocks":1},{"width":8,"growth":4,"blocks":2}]'
    fields = {"model.levels": levels, "stages.0.objective.samples": "9,4", "stages.0.objective.weights": "0.1,1", "data.part": "0,90",
              "precision": "bf16", "stages.0.optim.generator.muon_lr": "0.03", "seed": "5"}  # fmt: skip
    whole, recipe = made("color", "", fields), made("color", row, fields)
    name = f"tower_color_{row}" if row else "tower_color"
    given = find_recipe(name)()
    assert override(given, changes(given, recipe)) == recipe and recipe.name == name
    assert recipe.seed == 5 and recipe.precision == "bf16" and recipe.data == whole.data and recipe.data.edge == 64
    each = recipe.stages[0].objective.samples
    if row == "regression":
        assert set(each) == {1}
    else:
        assert sum(each) * 2 / len(each) in (13, 14)  # evaluations of levels
    counts = [sum(p.numel() for p in Tower(r.model).parameters()) for r in (whole, recipe)]
    if not row.startswith("no_hs_mn"):
        assert abs(counts[1] - counts[0]) < 0.1 * counts[0]
    assert recipe.stages[0].optim["generator"].muon_lr == (0.02 if row in ("cimle_single", "no_hs_mn_is_wn") else 0.03)


def test_a_toys_density_integrates_to_one():
    torch.manual_seed(0)
    model = flow()
    for p in model.parameters():
        p.data *= 1.05
    assert integral(model.float(), extent=8.0, cells=800, finest=800) == pytest.approx(1, abs=1e-3)
    assert log_density(model, torch.zeros(3, 2, dtype=torch.float32)).shape == (3,)
    assert _part("3,7") == (3, 7)


def test_likelihood_brings_points_and_the_adversary_brings_samples(monkeypatch):
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr("benchmarks.density_toys.integral", lambda model: integral(model, cells=800, finest=800))
    untrained, by_likelihood, by_adversary = measure(flow()), measure(train(1.0, 0.0, steps=300)), measure(train(0.0, 1.0, steps=300))
    assert by_likelihood["nats"] < untrained["nats"] - 1
    assert by_adversary["off"] < untrained["off"] - 0.2
    assert by_likelihood["integral"] == pytest.approx(1, abs=1e-3)


def test_bounds_of_the_same_draws_never_fall():
    weights = torch.randn(64, 5) * 3
    found = torch.stack([bound(weights, k) for k in (1, 4, 16, 64)])
    torch.testing.assert_close(found[0], weights.mean(0))
    torch.testing.assert_close(found[-1], weights.logsumexp(0) - torch.tensor(64.0).log())
    assert (found.diff(dim=0) > 0).all()


def test_outliers_take_more_bits_where_the_share_of_pairs_says_so():
    others, usual = torch.randn(7).round(), torch.randn(9).round()
    brute = [(a > b) + 0.5 * (a == b) for a in others.tolist() for b in usual.tolist()]
    assert auroc(others, usual) == pytest.approx(np.mean(brute))
    flat, noise = torch.zeros(1, 28, 28), torch.rand(1, 28, 28) * 2 - 1
    assert png_bits(flat) < 900 < 8 * 784 * 0.9 < png_bits(noise)
    model = CoverageQuality(CoverageQualityConfig(channels=1, counted=28, latent=4, width=8, flow=None))
    assert around(flat[None], model).shape == (1, 1, 32, 32) and around(flat[None], model)[0, 0, 1, 1] == -1


def test_an_evaluation_that_was_stopped_is_not_taken_for_whole(tmp_path):
    record = tmp_path / "r.jsonl"
    assert not recorded(record, "a", 0)
    rows = [{"run": run, "seed": 0, "measure": measure} for run, measure in (("a", "bpd_elbo"), ("a", "recall_x"), ("b", "bpd_elbo"))]
    write_text(record, "".join(json.dumps(r) + "\n" for r in rows))
    assert recorded(record, "a", 0) and not recorded(record, "a", 1)
    assert len(record.read_text().splitlines()) == 3
    assert not recorded(record, "a", 0, recalls=2)  # half of it is there, and goes
    assert [json.loads(line)["run"] for line in record.read_text().splitlines()] == ["b"]
    row = {"run": "c", "seed": 0, "measure": "recall_x", "command": "predella evaluate c --part 0,300 --record r.jsonl"}
    write_text(record, json.dumps(row) + "\n")
    assert recorded(record, "c", 0, asked={"--part": "0,300"}) and not recorded(record, "c", 0, asked={"--part": "0,30"})
    assert not recorded(record, "c", 0, asked={"--part": "0,300", "--samples": "5"})
    assert recorded(record, "c", 0, asked={"--part": "0,300"})  # rows of other pictures stay


def test_the_internal_table_asks_for_what_evaluate_takes(cli, monkeypatch, tmp_path, lpips_weights):
    monkeypatch.setenv("PREDELLA_WEIGHTS", str(lpips_weights))
    torch.set_default_dtype(torch.float32)

    def evaluated(*words):
        status, said, err = cli(*words)
        assert status == 0, err
        return said

    monkeypatch.setattr(internal_table, "_evaluated", evaluated)
    record = tmp_path / "r.jsonl"
    words = ["--data", "photos", "--few", "0,1", "--unseen", "1,2", "--rows", "patch", "--samples", "2", "--named", "toy"]
    monkeypatch.setattr("sys.argv", ["internal_table", *words, "--record", str(record)])
    internal_table.main()
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert {r["set"] for r in rows} == {"photos 0–1", "photos 1–2"} and {r["run"] for r in rows} == {"patch_toy"}
    internal_table.main()
    assert len(record.read_text().splitlines()) == len(rows)


def test_runs_of_other_settings_are_others(monkeypatch, tmp_path):
    made = []

    def train(*words):
        made.append(words)
        out = Path(words[words.index("--out") + 1])
        out.mkdir(exist_ok=True)
        (out / "README.md").touch()

    monkeypatch.setattr(tables, "predella", train)
    one = tables.trained(tmp_path / "r", "x", "d", {"steps": 3, "data.terms": ""}, "--force")
    assert made == [("train", "x", "--data", "d", "--steps", "3", "--force", "--out", str(one))]
    assert tables.trained(tmp_path / "r", "x", "d", {"steps": 3, "data.terms": ""}, "--force") == one and len(made) == 1
    assert tables.trained(tmp_path / "r", "x", "d", {"steps": 4}) != one and len(made) == 2
    (one / "README.md").unlink()
    (one / "state").mkdir()
    tables.trained(tmp_path / "r", "x", "d", {"steps": 3}, "--force")
    assert made[-1][-1] == "--resume"


def test_sets_of_a_floor_share_no_picture():
    pairs = disjoint(50, 6, torch.Generator().manual_seed(0))
    together = torch.cat([torch.cat(pair) for pair in pairs])
    assert len(pairs) == 4 and all(len(s) == 6 for pair in pairs for s in pair) and len(together.unique()) == 48
    assert len(disjoint(500, 2, torch.Generator())) == 10
    with pytest.raises(ValueError, match="two sets of 26 pictures need 52, got 50"):
        disjoint(50, 26, torch.Generator())


def test_without_what_is_kept_the_same_codes_are_chosen():
    from benchmarks import imle

    torch.set_default_dtype(torch.float32)
    objective, batch = imle.build(3, block=2)
    assert all(torch.equal(a, b) for a, b in zip(objective.choose(batch)[0], imle.without_cache(objective, batch)))

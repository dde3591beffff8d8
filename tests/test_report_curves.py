"""Learning curves: from kept checkpoints through the records into a picture."""

import json
import re

import pytest
from PIL import Image

from predella.curves import curves_svg
from predella.report import results


def rows(values):
    return [
        {"run": run, "set": "s", "ask": "a", "at": step, "measure": "fd_x_1k", "value": v}
        for run, line in values.items()
        for step, v in line.items()
    ]


def test_a_curve_has_a_line_a_run_with_its_points_in_place():
    svg = curves_svg(rows({"a & b": {0: 10.0, 100: 5.0}, "c": {50: 0.0}}), "fd_x_1k")
    lines = re.findall(r'polyline points="([^"]*)"', svg)
    assert len(lines) == 2 and "a &amp; b, s" in svg
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in lines[0].split())
    assert x0 < x1 and y0 < y1  # later to the right, smaller further down
    (middle,) = lines[1].split()
    assert float(middle.split(",")[0]) == pytest.approx((x0 + x1) / 2)


def test_ways_of_asking_have_a_line_each():
    asked = rows({"r": {0: 4.0, 9: 2.0}}) + [r | {"ask": "b"} for r in rows({"r": {0: 8.0, 9: 6.0}})]
    svg = curves_svg(asked, "fd_x_1k")
    assert svg.count("<polyline") == 2 and "r, s, a" in svg and "r, s, b" in svg
    assert "<polyline" in curves_svg(rows({"r": {0: 0.0}}), "fd_x_1k")  # one checkpoint, at a distance of nothing


def test_protocols_that_differ_say_whose_they_are(tmp_path):
    made = [("a", "20 samples"), ("b", "5 samples"), ("c", "20 samples")]
    lines = [json.dumps({"run": r, "set": "s", "ask": "x", "measure": m, "value": 1.0, "protocol": p}) for r, p in made for m in ("m", "k")]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    text = results(tmp_path)
    assert "* `m`, `k`: 20 samples (a, c)." in text and "* `m`, `k`: 5 samples (b)." in text


def test_every_command_that_measured_a_run_is_told(tmp_path):
    row = {"run": "r", "ask": "x", "measure": "m", "value": 1.0, "protocol": "p", "commit": "c", "steps": 9, "minutes": 0.0, "seed": None}
    made = [("s", "predella evaluate r"), ("t", "predella evaluate r --part 0,3"), ("u", "predella evaluate r")]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row | {"set": s, "command": c}) for s, c in made))
    told = [line for line in results(tmp_path).splitlines() if line.startswith("| r | 9 ")]
    assert told == [f"| r | 9 | – | – | c | `{command}` |" for command in ("predella evaluate r", "predella evaluate r --part 0,3")]


def test_a_benchmark_with_other_options_is_another(tmp_path):
    row = {"run": "flow", "set": "", "ask": "ratio", "measure": "benchmark", "commit": "c" * 40, "hardware": "h"}
    made = [(1.0, "python -m flow"), (2.0, "python -m flow --steps 9"), (3.0, "python -m flow")]
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row | {"value": v, "command": c}) for v, c in made))
    text = results(tmp_path)
    assert "| flow |  | ratio | 2 | h | 1 |" in text and "| flow |  | ratio | 3 | h | 2 |" in text and "| flow |  | ratio | 1 |" not in text
    assert "1. `python -m flow --steps 9` (commit cccccccccccc)" in text and "2. `python -m flow`" in text


def test_what_is_not_finite_is_a_dash(cli, tmp_path):
    photo = tmp_path / "grey"
    photo.mkdir()
    Image.new("RGB", (40, 40), (90, 90, 90)).save(photo / "one.png")  # as large as it was made: bicubic gives it back
    record = tmp_path / "records" / "r.jsonl"
    status, said, err = cli("evaluate", "bicubic", "--data", photo, "--scales", "2", "--record", record, "--json")
    assert status == 0 and [r["value"] for r in json.loads(said)["rows"] if r["measure"] == "psnr_y"] == [None], err
    assert "Infinity" not in said + record.read_text()
    assert "| bicubic | – |" in results(record.parent)


def test_checkpoints_become_a_curve(cli, refuses, tmp_path, runs, vgg_weights):
    run, record = tmp_path / "r", tmp_path / "records" / "faces.jsonl"
    status, _, err = cli("train", "reversible_faces", "--smoke", "--cpu", "--keep-every", "10", "--out", run)
    assert status == 0, err
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step-0000010", "step-0000020"]
    words = ["evaluate", run, "--curve", "--data", "photos", "--part", "0,6", "--weights", vgg_weights, "--record", record]
    status, _, err = cli(*words)
    assert status == 0, err
    steps = {json.loads(line)["at"] for line in record.read_text().splitlines()}
    assert steps == {10, 20}
    assert cli("report", "--results", record.parent, "--out", tmp_path / "R.md")[0] == 0
    assert "curve_fd_vgg16_relu4_3_6.svg" in (tmp_path / "R.md").read_text()
    svg = record.parent / "curve_fd_vgg16_relu4_3_6.svg"
    assert svg.read_text().count("<circle") == 2
    assert cli("report", "--results", record.parent, "--out", tmp_path / "R.md", "--check")[0] == 0
    svg.write_text("")
    refuses("report", "--results", record.parent, "--out", tmp_path / "R.md", "--check", says="not what the records say")
    refuses(
        "evaluate",
        runs / "reversible_faces",
        "--curve",
        "--data",
        "photos",
        "--weights",
        vgg_weights,
        says=["no checkpoints", "--keep-every"],
    )


def test_records_of_several_seeds_stay_apart(tmp_path):
    from predella.report import read_records

    row = {"run": "r", "set": "s", "ask": "a", "measure": "m", "protocol": "p"}
    lines = [{**row, "seed": 0, "value": 1}, {**row, "seed": 1, "value": 2}, {**row, "seed": 1, "value": 3}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [(r["run"], r["value"]) for r in read_records(tmp_path)] == [("r, seed 0", 1), ("r, seed 1", 3)]


def test_seeds_are_followed_by_their_mean_and_deviation(tmp_path):
    row = {"run": "r", "set": "s", "protocol": "p", "images": 9}
    made = [
        (0, "a", "m", 1.0),
        (1, "a", "m", 4.0),
        (0, "b", "m", 2.0),
        (0, "pca", "d", 3.0),
        (1, "pca", "d", 3.5),
        (2, "pca", "d", 7.0),
        (2, "a", "k", 5.0),
    ]
    lines = [json.dumps(row | {"seed": seed, "ask": ask, "measure": m, "value": v}) for seed, ask, m, v in made]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    text = results(tmp_path).splitlines()
    table = text[text.index("| r, seed 0 | a | 1 |  |") :][:6]
    assert table == [
        "| r, seed 0 | a | 1 |  |",
        "| r, seed 1 | a | 4 |  |",
        "| r, seed 2 | a |  | 5 |",
        "| r, mean of 3 seeds | a |  |  |",  # no measure has all of them
        "| r, seed 0 | b | 2 |  |",
        "",
    ]
    assert text[text.index("| r, seed 2 | 7 |") + 1] == "| r, mean of 3 seeds | 4.5 ± 2.2 |"


def test_towers_stand_beside_conditional_imle(tmp_path):
    def row(run, seed, measure, value, ask="colorization"):
        return {"run": run, "set": "faces", "ask": ask, "measure": measure, "value": value, "protocol": "p", "seed": seed}

    rows = [row(f"tower_color{twin}", seed, "fd_x", value) for twin, seed, value in
            [("", 0, 6.0), ("_cimle", 0, 10.0), ("", 1, 8.0), ("_cimle", 1, 10.0), ("_regression", 0, 30.0)]]  # fmt: skip
    rows += [row("tower_jpeg_cimle_single", 0, "fd_x", 20.0, "decompression")]
    rows += [row("tower_jpeg", 0, "fd_x", 5.0, "decompression"), row("tower_jpeg_cimle", 0, "fd_x", 10.0, "decompression")]
    rows += [row(f"tower_jpeg{twin}_800_lpips", 0, "fd_x", value, "decompression") for twin, value in (("", 9.0), ("_cimle", 10.0))]
    (tmp_path / "tower.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = results(tmp_path)
    assert "fd_x over that of conditional IMLE at a single scale: decompression (faces) 0.250; mean 0.250" in text
    assert "fd_x over that of conditional IMLE: colorization (faces) 0.700, decompression (faces) 0.500; mean 0.600" in text
    assert "fd_x over that of conditional IMLE (lpips): decompression (faces) 0.900; mean 0.900" in text  # a setting of its own
    assert "### colorization, faces" in text and "## Generating" not in text


def test_answers_measured_on_several_numbers_of_pictures_have_a_line_each(tmp_path):
    row = {"run": "jpeg", "set": "faces", "ask": "decompression", "measure": "lpips_nearest", "protocol": "p", "seed": None}
    counted = [{**row, "images": 300, "value": 1.0}, {**row, "images": 1000, "value": 2.0}, {**row, "images": 300, "value": 3.0}]
    lone = {**row, "run": "tower_jpeg", "images": 300, "value": 4.0}
    (tmp_path / "tower.jsonl").write_text("\n".join(map(json.dumps, [*counted, lone])))
    lines = results(tmp_path).splitlines()
    assert [line for line in lines if line.startswith("| jpeg, ") and line.count("|") == 3] == [
        "| jpeg, 1000 pictures | 2 |",
        "| jpeg, 300 pictures | 3 |",
    ]
    assert "| tower_jpeg | 4 |" in lines
    assert [line.count("|") for line in lines if line.startswith("| jpeg, 300 pictures |")] == [3, 7]  # measured, and where from


def test_answers_to_other_pictures_have_a_line_each_and_say_of_how_many_conditions(tmp_path):
    row = {"run": "jpeg", "set": "faces", "ask": "decompression", "measure": "psnr_rgb", "protocol": "p", "seed": None, "images": 300}
    more = {**row, "measure": "fd_x_2500", "images": 2500, "value": 7.0}
    parts = [{**r, "command": f"predella evaluate jpeg --part {part} --json"} for r, part in
             (({**row, "value": 1.0}, "0,300"), ({**row, "value": 2.0}, "500,3000"), (more, "500,3000"))]  # fmt: skip
    (tmp_path / "tower.jsonl").write_text("\n".join(map(json.dumps, parts)))
    text = results(tmp_path)
    assert "| jpeg, pictures 0,300 | 1 |  |\n| jpeg, pictures 500,3000 | 2 | 7 |" in text
    assert "* `psnr_rgb`: p; 300 conditions.\n* `fd_x_2500`: p.\n" in text


def test_a_setting_may_have_a_dot(tmp_path):
    made = (("tower_jpeg_240_muon0.02", 3.0), ("tower_jpeg_cimle_240_muon0.02", 2.0), ("tower_jpeg_cimle_single_240_muon0.02", 1.0))
    row = {"set": "faces", "ask": "decompression", "measure": "lpips_diversity", "protocol": "p", "images": 3, "seed": 0}
    (tmp_path / "r.jsonl").write_text("\n".join(json.dumps(row | {"run": run, "value": v}) for run, v in made))
    text = results(tmp_path)
    assert "lpips_diversity over that of conditional IMLE (muon0.02): decompression (faces) 1.500" in text
    assert "lpips_diversity over that of conditional IMLE at a single scale (muon0.02): decompression (faces) 3.000" in text


def test_a_run_is_compared_with_its_twin_on_as_many_pictures(tmp_path):
    row = {"run": "tower_jpeg", "set": "faces", "ask": "decompression", "measure": "lpips_diversity", "protocol": "p", "seed": 0}
    twin = {**row, "run": "tower_jpeg_cimle"}
    rows = [{**row, "images": 300, "value": 3.0}, {**row, "images": 1000, "value": 100.0}, {**twin, "images": 300, "value": 6.0}]
    (tmp_path / "tower.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert "lpips_diversity over that of conditional IMLE: decompression (faces) 0.500; mean 0.500" in results(tmp_path)

"""Tracing: points in the input's own units, drawings, and a user's mistakes."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from predella.apps.trace import drawing, encoded, shape_of
from predella.models.base import load


@pytest.fixture(autouse=True)
def single():
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def digit(tmp_path):
    array = np.zeros((40, 60), np.uint8)
    array[8:32, 26:34] = 255
    Image.fromarray(array).save(tmp_path / "digit.png")
    return tmp_path / "digit.png"


@pytest.fixture
def points(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    np.save(tmp_path / "ring.npy", np.stack([1000 + 50 * np.cos(angle), 7 + 20 * np.sin(angle)], 1))
    np.savetxt(tmp_path / "ring.csv", np.load(tmp_path / "ring.npy"), delimiter=",", header="x,y", comments="")
    return tmp_path / "ring.npy"


def test_all_kinds_of_files_at_once(cli, curves, digit, tmp_path):
    outs = [tmp_path / f"out.{e}" for e in ("npy", "csv", "svg", "png")]
    status, out, err = cli("trace", digit, "--out", *outs, "--points", "50", "--model", curves / "functional_digits", "--edge", "120")
    assert status == 0 and "50 points" in out, err
    places = np.load(outs[0])
    assert places.shape == (50, 2) and (places >= [10, 0]).all() and (places <= [50, 40]).all()  # the central square of 60×40
    np.testing.assert_allclose(np.loadtxt(outs[1], delimiter=",", skiprows=1), places, rtol=1e-4)
    path = re.search(r'viewBox="0 0 60 40"><path d="M(.*)Z"', outs[2].read_text())
    np.testing.assert_allclose([[float(v) for v in p.split()] for p in path[1].split("L")], places, rtol=1e-4)
    assert Image.open(outs[3]).size == (120, 80) and np.asarray(Image.open(outs[3])).max() > 100


def test_the_number_of_points_is_free(cli, curves, digit, tmp_path):
    words = ("trace", digit, "--model", curves / "functional_digits", "--out")
    cli(*words, tmp_path / "few.npy", "--points", "10")
    cli(*words, tmp_path / "many.npy", "--points", "1000")
    np.testing.assert_allclose(np.load(tmp_path / "many.npy")[::100], np.load(tmp_path / "few.npy"), rtol=1e-4)


def test_points_keep_their_units(cli, curves, points, tmp_path):
    words = ("--model", curves / "functional_digits", "--json")
    assert cli("trace", points, "--out", tmp_path / "a.npy", tmp_path / "a.svg", *words)[0] == 0
    status, out, _ = cli("trace", points.with_suffix(".csv"), "--out", tmp_path / "b.npy", *words)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), atol=0.01)
    assert status == 0 and json.loads(out)["points"] == 2000
    shape = shape_of(points, load(curves / "functional_digits"))
    corners = shape.places(torch.tensor([[-0.9, -0.9], [0.9, 0.9], [0.0, 0.9]]))  # (y, x), y downward; the window's edges are at .9
    np.testing.assert_allclose(corners, [[950, 57], [1050, -43], [1050, 7]])
    (width, height), (left, low) = shape.frame(corners)
    np.testing.assert_allclose([left, low, left + width, low + height], [949.2, -43.8, 1050.8, 57.8])
    places = np.load(tmp_path / "a.npy")
    box = [float(v) for v in re.search(r'viewBox="(.*?)"', (tmp_path / "a.svg").read_text())[1].split()]
    assert (places[:, 0] > box[0]).all() and (places[:, 0] < box[0] + box[2]).all() and (-places[:, 1] < box[1] + box[3]).all()


def test_points_far_from_the_origin_keep_their_digits(curves, tmp_path):
    """Of a map's coordinates, metres."""
    at = np.array([500000.0, 5412345.0])
    np.save(tmp_path / "far.npy", at + np.array([[0, 0], [0.1, 0], [0.1, 0.1]]))
    shape = shape_of(tmp_path / "far.npy", load(curves / "functional_digits"))
    places = shape.places(torch.tensor([[0.9, -0.9], [-0.9, 0.9]]))
    np.testing.assert_allclose(places.numpy() - at, [[0, 0], [0.1, 0.1]], atol=1e-8)
    text = encoded(shape, places, ".csv", 64).decode()
    assert "500000.1,5412345.1" in text
    np.save(tmp_path / "line.npy", np.array([[0.0, 5.0], [100.0, 5.0]]))
    flat = shape_of(tmp_path / "line.npy", load(curves / "functional_digits"))
    (_, height), _ = flat.frame(torch.tensor([[0.0, 5.0], [100.0, 5.0]], dtype=torch.float64))
    assert height == pytest.approx(1.6)


def test_a_shape_is_seen_upright(curves, tmp_path):
    """A point file whose points are high and right is bright above and right."""
    model = load(curves / "functional_digits")
    np.save(tmp_path / "corner.npy", np.array([[0.0, 0.0], *[[10.0, 10.0]] * 50]))
    seen = shape_of(tmp_path / "corner.npy", model)
    assert seen.density[0, 0, :3, -3:].sum() > 40
    line = torch.tensor([[0.0, 0.0], [10.0, 10.0]])
    drawn = drawing(line, (10.0, 10.0), (0.0, 0.0), True, 64).pixels[0, 0]
    assert drawn[2:6, -6:-2].max() > 0 and drawn[2:6, 2:6].max() == -1


def test_dark_shapes(cli, refuses, curves, digit, tmp_path):
    Image.fromarray(255 - np.asarray(Image.open(digit))).save(tmp_path / "ink.png")
    words = ("--model", curves / "functional_digits", "--out")
    cli("trace", digit, *words, tmp_path / "a.npy")
    cli("trace", tmp_path / "ink.png", "--invert", *words, tmp_path / "b.npy")
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), atol=0.1)
    assert "% of it; --invert, if it is a drawing" in cli("trace", tmp_path / "ink.png", *words, tmp_path / "d.npy")[2]
    row = ("interpolate", curves / "functional_digits", tmp_path / "ink.png", tmp_path / "ink.png", "--out", tmp_path / "row.png")
    assert "of it; --invert" not in cli(*row, "--invert")[2] and "of it; --invert" in cli(*row, "--force")[2]
    Image.new("LA", (20, 20), (255, 0)).save(tmp_path / "clear.png")
    refuses("trace", tmp_path / "clear.png", "--invert", *words, tmp_path / "c.npy", says=["clear.png is white", "needs a dark shape"])
    Image.new("L", (20, 20)).save(tmp_path / "black.png")
    refuses("trace", tmp_path / "black.png", *words, tmp_path / "c.npy", says=["black.png is black", "--invert"])


def test_between_two_shapes(cli, refuses, curves, digit, points, tmp_path):
    run = curves / "functional_digits"
    assert cli("interpolate", run, digit, points, "--steps", "3", "--out", tmp_path / "row.png")[0] == 0
    assert Image.open(tmp_path / "row.png").size == (3 * 128 + 4, 128)
    assert cli("interpolate", run, digit, points, "--steps", "3", "--layers", "1", "--out", tmp_path / "one.png")[0] == 0
    whole, one = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("row", "one"))
    assert (whole[:, :128] == one[:, :128]).all() and (whole[:, -128:] != one[:, -128:]).any()
    assert cli("interpolate", run, digit, points, "--steps", "3", "--layers", "all", "--out", tmp_path / "all.png")[0] == 0
    grid = np.asarray(Image.open(tmp_path / "all.png"))
    assert grid.shape[0] == 3 * 128 + 4 and (grid[:128] == one).all() and (grid[-128:] == whole).all()
    refuses("interpolate", run, digit, points, "--layers", "9", "--out", tmp_path / "x.png", says="--layers must lie in 1…3 for this model")


def test_wrong_input(cli, refuses, curves, digit, tmp_path, runs):
    model, out = ("--model", curves / "functional_digits"), ("--out", tmp_path / "x.npy")
    for name, array, says in (
        ("empty", np.zeros((0, 2)), "holds no points"),
        ("nan", np.array([[0, 1], [np.nan, 1.0]]), "not finite: 1 of 2 points"),
        ("space", np.zeros((5, 3)), "points in the plane are (N, 2)"),
        ("one", np.ones((5, 2)), "one place only"),
        ("object", np.array([[1, None]], dtype=object), "can't be read as points"),
        ("far", np.array([[-1e308, 0], [1e308, 1.0]]), "too far apart"),
    ):
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
        refuses("trace", tmp_path / f"{name}.npy", *model, *out, says=[f"{name}.npy", says])
    (tmp_path / "words.csv").write_text("x,y\n1,2\nthree,4\n")
    refuses("trace", tmp_path / "words.csv", *model, *out, says="can't be read as points")
    (tmp_path / "nothing.csv").write_text("")
    (tmp_path / "nothing.npy").write_bytes(b"")
    refuses("trace", tmp_path / "nothing.npy", *model, *out, says="can't be read as points")
    np.savez(tmp_path / "several.npz", a=np.zeros((3, 2)))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    refuses("trace", tmp_path / "several.npy", *model, *out, says=["can't be read as points", "several arrays"])
    (tmp_path / "damaged.npy").write_bytes(b"PK\x03\x04garbage")
    refuses("trace", tmp_path / "damaged.npy", *model, *out, says="can't be read as points")
    (tmp_path / "first.csv").write_text("NaN,1.0\n0,1\n1,2\n")  # no header
    refuses("trace", tmp_path / "first.csv", *model, *out, says="not finite: 1 of")
    (tmp_path / "ragged.csv").write_text("0,1\n1\n")
    refuses("trace", tmp_path / "ragged.csv", *model, *out, says="row 2 has 1 numbers, the first 2")
    refuses("trace", tmp_path / "ragged.csv", "--invert", *model, *out, says="--invert: of no use for a file of points")
    refuses("trace", digit, "--edge", "100", *model, *out, says="--edge: of no use for files other than .png")
    refuses("trace", tmp_path / "nothing.csv", *model, *out, says="nothing.csv holds no points")
    refuses("trace", tmp_path / "none.csv", *model, *out, says="does not exist")
    refuses("trace", digit, *model, "--out", tmp_path / "x.gif", says="which no trace is written as")
    refuses("trace", digit, *model, "--out", tmp_path / "x.npy", tmp_path / "x.npy", says="names one file twice")
    refuses("trace", digit, *model, *out, "--points", "2", says="3…10000000, got 2")
    refuses("trace", digit, "--model", runs / "reversible_faces", *out, says="can't trace")
    (tmp_path / "set").mkdir()
    for i, level in enumerate((0, 200)):
        Image.new("L", (28, 28), level).save(tmp_path / "set" / f"{i}.png")
    refuses("evaluate", "functional_digits", "--data", tmp_path / "set", says="1 of 2 pictures are black, which is no distribution")
    assert cli("evaluate", curves / "functional_digits", "--data", tmp_path / "set")[0] == 0  # recorded to leave them out
    assert not (tmp_path / "x.npy").exists()

"""The verbs on densities of pixels: bits that add up, files that come back, and a user's mistakes."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from predella.apps import density
from predella.apps.density import Score
from predella.data.images import Source
from predella.image.contract import to_uint8
from predella.image.files import Picture
from predella.losses.likelihood import INTERVAL
from predella.models.base import load
from predella.models.coverage_quality import CoverageQuality, CoverageQualityConfig
from predella.nn.classics import FIDInception


@pytest.fixture(autouse=True)
def single():
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    place = tmp_path / "pictures"
    place.mkdir()
    for i in range(3):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i}.png")
    return place


def array(path):
    return np.asarray(Image.open(path))


def test_scores_of_a_folder(cli, densities, pictures):
    (pictures / "broken.png").write_bytes(b"nothing")
    status, out, err = cli("score", pictures, "--model", densities / "cq_cifar_cqf", "--samples", "8", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and "left out" in err and rows[-1]["images"] == 3 and rows[-1]["bound"] == "iw8"
    assert all(r["bpd_iw8"] <= r["bpd_elbo"] and r["bpd_iw8_error"] > 0 and r["dims"] == 768 for r in rows[:-1])
    assert rows[-1]["mean"] == pytest.approx(sum(r["bpd_iw8"] for r in rows[:-1]) / 3)
    _, again, _ = cli("score", pictures / "1.png", "--model", densities / "cq_cifar_cqf", "--samples", "8", "--json")
    assert json.loads(again.splitlines()[0])["bpd_elbo"] == rows[1]["bpd_elbo"]  # whatever stands beside it
    assert all(r["bpd_elbo_error"] == pytest.approx(r["bpd_iw8_error"]) for r in rows[:-1])  # eight draws: groups of one
    _, out, _ = cli("score", pictures / "1.png", "--model", densities / "cq_cifar_cqf", "--samples", "1")
    assert "elbo" in out and "iw" not in out


def test_bits_of_a_density_that_is_known():
    """A decoder that gives N(0, 1) whatever z, a posterior that is the prior: no draw differs, bits are the Gaussian's."""
    model = CoverageQuality(CoverageQualityConfig(channels=1, size=8, latent=2, width=4, flow=None)).double()
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
        model.decoder.scale.bias.fill_(math.log(math.expm1(1 - 0.003)))
    x = torch.zeros(1, 1, 8, 8, dtype=torch.float64) - 1 / 255
    torch.set_default_dtype(torch.float64)
    one = density.score(model, x, (8, 8), 5, torch.Generator().manual_seed(0))
    assert (
        isinstance(one, Score) and 0 < one.error < 1e-3 and one.elbo_error == pytest.approx(one.error, rel=0.01)
    )  # of the dequantisation alone
    assert one.elbo == pytest.approx(one.tighter) == pytest.approx(0.5 * math.log2(2 * math.pi) - math.log2(INTERVAL), abs=1e-4)


def test_errors_tell_of_draws_that_disagree():
    """Weights that differ by tens of nats, by the draw of z or by that of the dequantisation: the error must say so."""

    class Wild(CoverageQuality):
        by_pixels, by_draw = 0.0, 0.0

        def log_weights(self, x, noise, own):
            return self.by_draw * noise[..., 0] + self.by_pixels * x.flatten(1).sum(1) * 256

    model = Wild(CoverageQualityConfig(channels=1, size=8, latent=2, width=4, flow=None))
    for model.by_pixels, model.by_draw in ((0.0, 30.0), (30.0, 0.0), (3.0, 3.0)):
        for draws in (3, 19, 32):
            found = [density.score(model, torch.zeros(1, 1, 8, 8), (8, 8), draws, torch.Generator().manual_seed(s)) for s in range(60)]
            for value, error in (("elbo", "elbo_error"), ("tighter", "error")):
                values, errors = (torch.tensor([getattr(s, a) for s in found]) for a in (value, error))
                assert 0.4 < errors.mean() / values.std() < 2, (draws, value, errors.mean(), values.std())


def test_what_is_padded_resampled_rounded_or_converted(cli, densities, tmp_path):
    digits, colours = load(densities / "cq_mnist_vae"), load(densities / "cq_cifar_cqf")
    x, own, notes = density.prepared(Picture(torch.zeros(1, 1, 10, 12)), digits, "a")
    assert (
        own == (10, 12)
        and "bound" not in notes[0]
        and "padded with black to 16×16" in notes[0]
        and x[..., 0, 0] == -1
        and x[0, 0, 8, 8].abs() < 0.01
    )
    _, own, notes = density.prepared(Picture(torch.zeros(1, 3, 40, 20), bits=16), digits, "b")
    assert own == (16, 16) and ["brightness" in notes[0], "rounded to 8" in notes[1], "made 16×16" in notes[2]] == [True] * 3
    _, _, notes = density.prepared(Picture(torch.zeros(1, 1, 16, 16)), colours, "c")
    assert len(notes) == 1 and "three equal channels all count" in notes[0]
    padded = CoverageQuality(CoverageQualityConfig(channels=1, size=16, counted=8, latent=2, width=4, flow=None))
    for edge, own, note in ((8, 8, ""), (12, 12, "padded with black to 16×16"), (16, 16, ""), (40, 8, "made 8×8")):
        x, size, notes = density.prepared(Picture(torch.ones(1, 1, edge, edge)), padded, "d")
        *notes, bright = notes
        assert size == (own, own) and (note in notes[0] if note else not notes) and (x > 0).sum() == own**2
        assert "bright nearly everywhere" in bright
    assert not density.prepared(Picture(-torch.ones(1, 1, 8, 8)), padded, "dark")[2]
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    Image.fromarray(np.full((8, 8, 3), [255, 0, 0], np.uint8)).save(tmp_path / "red.png")
    read = Source(paths=(str(tmp_path / "red.png"),), channels=1, smallest=8).open()[0]
    assert (to_uint8(density.prepared(Picture(red), padded, "e")[0])[0, :, 4:12, 4:12] == read).all()
    clear, _, notes = density.prepared(Picture(red, alpha=-torch.ones(1, 1, 8, 8)), padded, "f")
    assert (clear[..., 4:12, 4:12] == 1).all() and "transparent" in notes[1]
    Image.new("L", (16, 16)).save(tmp_path / "grey.png")
    _, _, err = cli("score", tmp_path / "grey.png", "--model", densities / "cq_cifar_cqf", "--samples", "1")
    assert "grey.png is grey" in err


def test_samples_and_their_means(cli, densities, tmp_path):
    words = ("sample", densities / "cq_cifar_cqf", "--count", "4", "--seed", "3", "--out")
    assert cli(*words, tmp_path / "a.png")[0] == cli(*words, tmp_path / "b.png")[0] == cli(*words, tmp_path / "m.png", "--mean")[0] == 0
    assert (array(tmp_path / "a.png") == array(tmp_path / "b.png")).all() and array(tmp_path / "a.png").shape == (34, 34, 3)
    assert (array(tmp_path / "a.png") != array(tmp_path / "m.png")).any()


def test_through_the_posterior(cli, densities, pictures, tmp_path):
    run = densities / "cq_cifar_cqf"
    assert cli("encode", run, pictures / "0.png", pictures / "1.png", "--out", tmp_path / "z.safetensors")[0] == 0
    assert cli("decode", run, tmp_path / "z.safetensors", "--out", tmp_path / "back")[0] == 0
    words = ("interpolate", run, pictures / "0.png", pictures / "1.png", "--steps", "3", "--out")
    assert cli(*words, tmp_path / "between")[0] == 0
    for i, name in ((0, "0.png"), (2, "1.png")):
        assert (array(tmp_path / "between" / f"{i:04}.png") == array(tmp_path / "back" / name)).all()


def test_evaluate(cli, densities, pictures, vgg_weights, tmp_path):
    for i in range(3, 8):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(pictures / f"{i}.png")
    words = ("--data", pictures, "--samples", "20", "--weights", vgg_weights, "--record", tmp_path / "r.jsonl")
    status, out, err = cli("evaluate", densities / "cq_cifar_cqf", *words, "--json")
    assert status == 0, err
    values = {r["measure"]: r["value"] for r in json.loads(out)["rows"]}
    assert {r["ask"] for r in json.loads(out)["rows"] if r["measure"].startswith("fd_")} == {"samples", "means"}
    assert "a Fréchet distance of 8 pictures is too large" in err
    assert values["bpd_iw20"] <= values["bpd_elbo"] and values["fd_vgg16_relu4_3_8"] > 0
    elbo = next(r for r in json.loads(out)["rows"] if r["measure"] == "bpd_elbo")
    assert elbo["images"] == 8 and elbo["error"] > 0 and "768 dimensions" in elbo["protocol"]


def test_inception_judges_where_its_weights_are(cli, densities, pictures, monkeypatch, refuses, tmp_path):
    class Small(FIDInception):
        """Official names and calls; a mean of colours instead of 24 million parameters."""

        def __init__(self):
            torch.nn.Module.__init__(self)
            self.fc = torch.nn.Linear(3, 1008)

        def forward(self, x):
            return x.mean((2, 3))

    (large := tmp_path / "large").mkdir()
    for i in range(3, 8):
        for edge, folder in ((16, pictures), (32, large)):
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (edge, edge, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    words = ("evaluate", densities / "cq_cifar_cqf", "--data", pictures, "--samples", "2", "--features")
    refuses(*words, "inception", "--weights", tmp_path, says=["no weights of inception", "put pt_inception"])
    refuses(*words, "cifar_classifier", says="judges 32×32 pixels in colour, not the 16×16 of 3 here; take vgg16")
    ours = "or take --features cifar_classifier, which needs no such weights"
    refuses("evaluate", "cq_cifar_cqf", "--data", large, "--samples", "2", "--weights", tmp_path, says=["no weights of resnet20", ours])
    monkeypatch.setattr("predella.protocols.load_classic", lambda which, weights: Small())
    rows = json.loads(cli(*words, "inception", "--json")[1])["rows"]
    found = {(r["ask"], r["measure"]): r["value"] for r in rows}
    for ask in ("samples", "means"):
        assert 1 <= found[ask, "inception_score"] < 1008 and found[ask, "fid_8"] > 0
    assert not any("classifier" in m for _, m in found)


def test_few_pictures_are_scored_but_judge_no_samples(cli, densities, pictures, caplog):
    words = ("evaluate", densities / "cq_cifar_cqf", "--data", pictures, "--samples", "2", "--json")
    status, out, err = cli(*words)
    assert status == 0 and "not judged by 3 pictures" in caplog.text, err
    assert {r["measure"] for r in json.loads(out)["rows"]} == {"bpd_elbo", "bpd_iw2"}


def test_wrong_input(cli, refuses, densities, pictures, tmp_path, runs):
    run, one = densities / "cq_cifar_cqf", pictures / "0.png"
    refuses("score", one, "--model", runs / "reversible_faces", says="can't score")
    refuses("score", one, "--model", run, "--samples", "0", says="1…100000, got 0")
    refuses("score", one, "--model", run, "--box", "0,0,99,9", says="does not lie inside the picture")
    refuses("score", pictures / "none.png", "--model", run, says="none.png does not exist")
    refuses("sample", run, "--labels", "3", "--out", tmp_path / "a.png", says="--labels and --density are for reversible networks")
    refuses("sample", runs / "reversible_faces", "--mean", "--out", tmp_path / "a.png", says="--mean is for densities of pixels")
    boxed = ("encode", run, one, "--box", "0,0,8,8", "--out", tmp_path / "boxed.safetensors")
    assert f"the box of {one} has 8×8 pixels; it is padded with black to 16×16" in cli(*boxed)[2]
    refuses("encode", run, one, "--restricted", "--out", tmp_path / "z.safetensors", says="--restricted is for reversible networks")
    refuses("interpolate", run, one, one, "--space", "full", "--out", tmp_path / "a.png", says="--space: of no use for a density")
    assert not list(tmp_path.glob("*.png"))
    train = ("--smoke", "--out", tmp_path / "run")
    says = "'train' trains critic, model, but its optim is for model; give critic one, too"
    refuses("train", "cq_cifar_vae", "--stages.0.objective.quality", "0.1", *train, says=says)
    assert not (tmp_path / "run").exists()
    refuses(
        "train", "cq_cifar_vae", "--stages.0.objective.quality", "-1", *train, says="stages.0.objective: coverage, quality and free must"
    )
    refuses("evaluate", run, "--data", pictures, "--part", "90,99", says="no pictures in the part 90,99: it has 3; take an earlier part")

"""Metrics of pairs and sets by `predella measure`, and what is said of their limits."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from predella import load
from predella.image.contract import from_uint8
from predella.image.files import read
from predella.losses.distances import lpips
from predella.metrics.frechet import frechet_distance


@pytest.fixture
def two(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path / "a.png", tmp_path / "b.png"


def test_pairs_are_compared_by_lpips(cli, two, lpips_weights):
    words = ("measure", "lpips_vgg16", "psnr_y", "--pairs", *two, "--border", "3", "--weights", lpips_weights, "--json")
    status, said, err = cli(*words)
    x, y = (read(f).rgb()[..., 3:-3, 3:-3] for f in two)
    with torch.no_grad():
        wanted = lpips("vgg16", lpips_weights)(x, y).item()
    assert status == 0 and json.loads(said)["mean"]["lpips_vgg16"] == pytest.approx(wanted, rel=1e-4), err
    _, said, _ = cli("measure", "lpips_vgg16", "--pairs", two[0], two[0], "--weights", lpips_weights, "--json")
    assert json.loads(said)["mean"]["lpips_vgg16"] == 0


def test_weights_of_lpips_that_are_missing_are_named(refuses, two, tmp_path):
    (tmp_path / "empty").mkdir()
    words = ("measure", "lpips_vgg16", "--pairs", *two, "--weights", tmp_path / "empty")
    refuses(*words, says=["vgg16-397923af.pth", "its heads, https://github.com/richzhang"])
    refuses("measure", "lpips", "--pairs", *two, says=["no metric of pairs is called 'lpips'", "lpips_vgg16"])


def test_pairs_and_sets_are_told_apart(refuses, two, tmp_path):
    refuses("measure", "psnr_y", "--real", tmp_path, "--generated", tmp_path, says="psnr_y compares pairs of images: give --pairs A B")
    refuses("measure", "fd_cifar_classifier", "--pairs", *two, says="compares two sets of images: give --real A --generated B")
    refuses("measure", "psnr_y,ssim_y", "--pairs", *two, says="metrics are separated by spaces, got 'psnr_y,ssim_y': psnr_y ssim_y")


def test_sets_that_are_few_are_called_so(cli, vgg_weights, tmp_path):
    rng = np.random.default_rng(0)
    for which in ("real", "made"):
        (tmp_path / which).mkdir()
        for i in range(3):
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / which / f"{i}.png")
    words = ("measure", "fd_vgg16_relu4_3", "--real", tmp_path / "real", "--generated", tmp_path / "made", "--weights", vgg_weights)
    status, said, err = cli(*words)
    assert status == 0 and "Fréchet distances of 3 images are too large" in err
    assert math.isfinite(float(said.split("=")[1].split()[0]))


def folder(path, shape):
    path.mkdir()
    rng = np.random.default_rng(sum(path.name.encode()))
    pictures = rng.integers(0, 256, (6, *shape), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(path / f"{i}.png")
    return torch.from_numpy(pictures)


def test_sets_are_compared_by_what_is_shipped(cli, refuses, tmp_path, monkeypatch):
    monkeypatch.setenv("PREDELLA_WEIGHTS", str(tmp_path))  # none there
    torch.set_default_dtype(torch.float32)
    colour = [from_uint8(folder(tmp_path / name, (32, 32, 3)).permute(0, 3, 1, 2)) for name in ("real", "made")]
    sets = ("--real", tmp_path / "real", "--generated", tmp_path / "made")
    status, said, err = cli("measure", "fd_cifar_classifier", "precision_cifar_classifier", *sets, "--json")
    with torch.no_grad():
        wanted = frechet_distance(*map(load("cifar_classifier").features, colour))  # what its linear layer sees
    values = json.loads(said)["values"]
    assert (
        status == 0 and values["fd_cifar_classifier_6"] == pytest.approx(wanted, rel=1e-4) and "precision_cifar_classifier_6" in values
    ), err
    refuses("measure", "fd_mnist_classifier", *sets, says=["mnist_classifier looks at grey pictures", "take cifar_classifier"])
    refuses("measure", "fd_cifar_clasifier", *sets, says="did you mean 'fd_cifar_classifier'")
    grey = [from_uint8(folder(tmp_path / name, (28, 28))[:, None]) for name in ("ones", "sevens")]
    status, said, err = cli("measure", "fd_mnist_classifier", "--real", tmp_path / "ones", "--generated", tmp_path / "sevens", "--json")
    with torch.no_grad():
        wanted = frechet_distance(*(load("mnist_classifier").maps(x)[-1].mean((2, 3)) for x in grey))
    assert status == 0 and json.loads(said)["values"] == {"fd_mnist_classifier_6": pytest.approx(wanted, rel=1e-4)}, err

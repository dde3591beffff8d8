"""Tasks of restoration: what the condition is, and that the residual is 0 for an answer that keeps to it."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from predella.image.color import lab_to_rgb, rgb_to_lab
from predella.image.contract import quantize
from predella.tasks.colorization import Colorization
from predella.tasks.decompression import Decompression, compress
from predella.tasks.masking import KINDS, Masking


def photo(count=2, edge=24):
    """Smooth colours with some noise."""
    torch.manual_seed(0)
    low = torch.rand(count, 3, 3, 3) * 1.6 - 0.8
    return quantize(torch.nn.functional.interpolate(low, (edge, edge), mode="bicubic") + 0.05 * torch.randn(count, 3, edge, edge))


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0.0, 0.0)),
    ],
)
def test_known_colours(rgb, lab):
    """Values of published sRGB to CIELAB tables (D65)."""
    x = torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1) / 127.5 - 1
    torch.testing.assert_close(rgb_to_lab(x).flatten(), torch.tensor(lab, dtype=torch.float64), atol=0.02, rtol=0)


def test_lab_and_back():
    x = torch.rand(1, 3, 20, 20, dtype=torch.float64) * 2 - 1
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(x)), x, atol=1e-6, rtol=0)
    lab = torch.tensor([50.0, 120.0, -120.0]).view(1, 3, 1, 1).requires_grad_()
    out = lab_to_rgb(lab)
    assert out.abs().max() <= 1 and torch.isfinite(torch.autograd.grad(out.sum(), lab)[0]).all()
    dark = torch.full((1, 3, 1, 1), -1.0, requires_grad=True)
    assert torch.isfinite(torch.autograd.grad(rgb_to_lab(dark).sum(), dark)[0]).all()


def test_colourisation_keeps_lightness():
    x = photo()
    batch = Colorization(edge=24)(x)
    assert batch.condition.shape == (2, 1, 24, 24) and batch.condition.abs().max() <= 1 and batch.target is x
    assert Colorization().residual(batch.condition, x).max() < 1e-6
    lab = rgb_to_lab(x)
    other = lab_to_rgb(torch.cat([lab[:, :1], 0.3 * lab[:, 1:]], 1))  # paler, as light
    assert Colorization().residual(batch.condition, other).max() < 1e-3
    assert Colorization().residual(batch.condition, x * 0.5).min() > 0.02


def test_decompression_is_what_a_file_shows():
    x = photo()
    batch = Decompression(quality=10, edge=24)(x)
    with BytesIO() as file:
        Image.fromarray(((x[1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=10)
        shown = np.asarray(Image.open(file))
    assert np.array_equal(((batch.condition[1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), shown)
    errors = [(compress(x, q) - x).square().mean().item() for q in (5, 30, 90)]
    assert errors[0] > errors[1] > errors[2]
    residual = Decompression(quality=10).residual(batch.condition, x)
    assert residual.max() == 0 and Decompression(quality=10).residual(batch.condition, -x).min() > 0.1
    grey = x[:, :1]
    assert Decompression(quality=50)(grey).condition.shape == grey.shape


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Decompression(quality=0), "1…95, got 0"),
        (lambda: Decompression(edge=4), "at least 8"),
        (lambda: Colorization(edge=1), "at least 2"),
        (lambda: rgb_to_lab(torch.zeros(1, 1, 2, 2)), r"takes \(B, 3, H, W\)"),
        (lambda: lab_to_rgb(torch.zeros(3, 2, 2)), r"takes \(B, 3, H, W\)"),
    ],
)
def test_wrong_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_every_kind_of_hole_is_drawn(monkeypatch):
    drawn = []

    def holes(size, kind, cover, seed):
        drawn.append((kind, cover))
        return torch.ones(1, *size)

    monkeypatch.setattr("predella.tasks.masking.holes", holes)
    Masking(cover=(0.1, 0.3))(torch.zeros(300, 3, 8, 8), torch.arange(300))
    shares = [sum(kind == k for kind, _ in drawn) / 300 for k in KINDS]
    assert sum(shares) == pytest.approx(1) and all(abs(s - 1 / len(KINDS)) < 0.1 for s in shares)
    covers = [cover for _, cover in drawn]
    assert 0.1 <= min(covers) < 0.13 < 0.27 < max(covers) <= 0.3

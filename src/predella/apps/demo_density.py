"""The demo's panel of coverage and quality: what likelihood, adversary and flow are worth, apart and together."""

import json

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.apps import density
from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.sheet import sheet
from predella.image.contract import quantize
from predella.image.fit import fit_square
from predella.models.base import PRETRAINED
from predella.models.coverage_quality import CoverageQuality
from predella.models.reversible import Reversible

DIGITS = {"vae": "VAE", "vaef": "VAE-F", "gan": "GAN", "cq": "CQ", "cqf": "CQ-F"}  # rows of the ablation
INK = -0.6  # what is darker is the background of a sampled digit
COLUMNS, ROWS = 6, 6
WAYS = ((3, 8), (4, 9))
SEEN = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
SMOOTH = 8  # pixels that a photo is smoothed to


def densities(photos: dict[str, Tensor]) -> Panel:
    """System 5: samples of five models that differ in their losses and in the flow, with bits and distances; the posterior."""
    figures = []
    for name, called in DIGITS.items():
        model = CoverageQuality.from_pretrained(f"cq_mnist_{name}")
        drawn = next(density.samples(model, COLUMNS * ROWS, torch.Generator().manual_seed(0)))
        ask = "means" if model.config.noiseless else "samples"
        bits, distance = (_measured(f"cq_mnist_{name}", measure, ask) for measure in ("bpd_iw", "fd_"))
        figures.append(Figure(f"density-{name}", _wide(list(drawn.split(COLUMNS))), f"{called}: {bits:.1f} bits, distance {distance:.0f}"))
    model, hand = CoverageQuality.from_pretrained("cq_mnist_cqf"), Reversible.from_pretrained("reversible_mnist_ot")
    with torch.no_grad():
        digits = quantize(hand.sample(10, torch.Generator().manual_seed(0), label=torch.arange(10)).clamp(-1, 1))
    digits = torch.where(digits < INK, -1.0, digits)
    generator = torch.Generator().manual_seed(0)
    bits = [density.score(model, x[None], model.config.own, 16, generator).elbo for x in digits]
    again = density.decoded(model, density.code(model, digits))
    ways = [density.between(model, digits[a : a + 1], digits[b : b + 1], 10) for a, b in WAYS]
    five = "Digits by likelihood (VAE), adversary (GAN), both (CQ); -F: a flow under the density. Bits a pixel, distance of 1,000 samples."
    rows = (
        Row(five, tuple(figures)),
        Row("What has a density and a posterior: scores, reconstructions, interpolations (likelihood and adversary, with a flow).", (
            Figure("density-again", _wide([digits, again]),
                   f"another network's digits, and from their codes; {min(bits):.1f} to {max(bits):.1f} bits"),
            Figure("density-between", _wide(ways), ", ".join(f"{a} to {b}" for a, b in WAYS)),
        )),
        _photographs(photos),
    )  # fmt: skip
    text = "One model with a density and a critic: the likelihood keeps every mode, the adversary keeps the samples where pictures are."
    return Panel("Coverage and quality", text, rows)


def _photographs(photos: dict[str, Tensor]) -> Row:
    """Samples of a density of small photographs, and its known failure."""
    name = "cq_cifar_cqf"
    model = CoverageQuality.from_pretrained(name)
    size, own = model.config.size, model.config.own
    drawn = next(density.samples(model, COLUMNS * 3, torch.Generator().manual_seed(0)))  # as many rows as beside it
    seen = torch.cat([fit_square(photos[n], size) for n in SEEN])
    smooth = F.interpolate(F.adaptive_avg_pool2d(seen, SMOOTH), size=(size, size), mode="bicubic").clamp(-1, 1)
    noise = torch.rand(seen.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kinds, generator = [quantize(x) for x in (seen, smooth, noise)], torch.Generator().manual_seed(0)
    of_photo, of_smooth, of_noise = (sum(density.score(model, x[None], own, 16, generator).elbo for x in k) / len(k) for k in kinds)
    bits, distance = _measured(name, "bpd_iw", "samples"), _measured(name, "fd_", "samples")
    failure = f"photos {of_photo:.1f} bits, the same smoothed {of_smooth:.1f}, noise {of_noise:.1f}"
    text = "Photographs of 32 pixels; and what no density of pixels escapes: to be smooth is to be likely, whatever is seen."
    return Row(text, (
        Figure("density-cifar", _wide(list(drawn.split(COLUMNS))), f"CQ-F: {bits:.1f} bits, distance {distance:.0f}"),
        Figure("density-smooth", _wide(kinds), failure),
    ))  # fmt: skip


def _measured(name: str, measure: str, ask: str) -> float:
    """Of the shipped model, from its own record."""
    rows = [json.loads(line) for line in (PRETRAINED / name / "metrics.jsonl").read_text().splitlines()]
    found = [r["value"] for r in rows if r.get("measure", "").startswith(measure) and r["ask"] in ("pictures", ask)]
    return found[-1]


def _wide(rows: list[Tensor]) -> Tensor:
    return F.interpolate(sheet([r.expand(-1, 3, -1, -1) for r in rows], gap=1), scale_factor=2)

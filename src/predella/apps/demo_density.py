"""The demo's panel of coverage and quality: what likelihood, adversary and flow are worth, apart and together."""

import json

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.apps import density
from predella.apps.demo_page import Figure, Panel, Row
from predella.apps.sheet import sheet
from predella.image.fit import fit_square
from predella.models.base import PRETRAINED
from predella.models.coverage_quality import CoverageQuality

DIGITS = {  # row of the ablation → what it shows
    "vae": "likelihood, Gaussian pixels",
    "vaef": "likelihood, a flow's features",
    "gan": "adversary",
    "cq": "both, Gaussian pixels",
    "cqf": "both, a flow's features",
}
COLUMNS, ROWS = 6, 6


def densities(photos: dict[str, Tensor]) -> Panel:
    """System 5: samples of five models that differ in their losses only, with bits and distances; photographs."""
    figures = []
    for name, what in DIGITS.items():
        model = CoverageQuality.from_pretrained(f"cq_mnist_{name}")
        drawn = _drawn(model, mean=name == "gan").expand(-1, 3, -1, -1)
        bits, distance = (_measured(f"cq_mnist_{name}", m, "means" if name == "gan" else "samples") for m in ("bpd_iw", "fd_"))
        figures.append(Figure(f"density-{name}", _wide(drawn), f"{what}: {bits:.2f} bits, distance {distance:.0f}"))
    model = CoverageQuality.from_pretrained("cq_cifar_cqf")
    size = model.config.size
    seen = torch.cat([fit_square(photo, size) for photo in photos.values()])
    again = density.decoded(model, density.code(model, seen))
    scores = [density.score(model, x[None], model.config.counted_dims, 16, torch.Generator().manual_seed(0)).elbo for x in seen]
    bits = ", ".join(f"{s:.1f}" for s in scores)
    rows = (
        Row("Digits of five models that differ in their losses only; bits a pixel and distance of 1,000 test digits.", tuple(figures)),
        Row(f"Photographs of {size} by {size} pixels, by likelihood and adversary over a flow's features.", (
            Figure("density-photos", _wide(_drawn(model)), "samples"),
            Figure("density-again", F.interpolate(sheet([seen, again]), scale_factor=4), f"photos, and from their codes; {bits} bits"),
        )),
    )  # fmt: skip
    text = "One model with a density and a critic: the likelihood keeps every mode, the adversary keeps the samples where pictures are."
    return Panel("Coverage and quality", text, rows)


def _drawn(model: CoverageQuality, mean: bool = False) -> Tensor:
    return next(density.samples(model, COLUMNS * ROWS, torch.Generator().manual_seed(0), mean))


def _measured(name: str, measure: str, ask: str) -> float:
    """Of the shipped model, from its own record."""
    rows = [json.loads(line) for line in (PRETRAINED / name / "metrics.jsonl").read_text().splitlines()]
    found = [r["value"] for r in rows if r.get("measure", "").startswith(measure) and r["ask"] in ("pictures", ask)]
    return found[-1]


def _wide(x: Tensor) -> Tensor:
    return F.interpolate(sheet(list(x.split(COLUMNS)), gap=1), scale_factor=2)

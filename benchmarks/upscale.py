"""Enlarging: the shipped model beside bicubic, and beside the same encoder with LIIF's head (Chen et al. 2021), in one run.

LIIF's head as its authors describe it: at each of the four nearest low-resolution pixels an MLP of 4 hidden layers of 256
units sees the 3×3 unfolded features, the relative position and the pixel's size; the four answers are blended by area.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import predella
from benchmarks.timing import arguments, interleaved, peak_mb, report, seconds
from predella.image.coords import grid
from predella.image.resize import resize

LOW, HIGH = 256, 1024


class LocalImplicitHead(nn.Module):
    """features (1, C, h, w), queries (Q, 2) → (Q, 3)."""

    def __init__(self, width: int, hidden: int = 256):
        super().__init__()
        sizes = [9 * width + 4, hidden, hidden, hidden, hidden, 3]
        layers = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.ReLU())][:-1]
        self.mlp = nn.Sequential(*layers)

    def forward(self, features: Tensor, coords: Tensor, cell: tuple[float, float]) -> Tensor:
        h, w = features.shape[-2:]
        wide = F.unfold(features, 3, padding=1).view(1, -1, h, w)
        total, norm = torch.zeros(()), torch.zeros(())
        for dy in (-1, 1):
            for dx in (-1, 1):
                near = coords + torch.tensor([dy / h, dx / w]) + 1e-6
                near = near.clamp(-1 + 1e-6, 1 - 1e-6)
                row = ((near[:, 0] + 1) / 2 * h).floor().long().clamp(0, h - 1)
                column = ((near[:, 1] + 1) / 2 * w).floor().long().clamp(0, w - 1)
                centre = torch.stack([(2 * row + 1) / h - 1, (2 * column + 1) / w - 1], -1)
                relative = (coords - centre) * torch.tensor([float(h), float(w)])
                size = torch.tensor(cell).expand(len(coords), 2)
                value = self.mlp(torch.cat([wide[0, :, row, column].T, relative, size], -1))
                # the area between the query and the diagonally opposite centre: each side is 2 cell widths less the own distance
                area = (2 - relative.abs()).clamp(min=1e-9).prod(-1, keepdim=True)
                total, norm = total + value * area, norm + area
        return total / norm


def main() -> None:
    options = arguments("upscale")
    torch.manual_seed(0)
    model = predella.load("functional_sr")
    width = model.config.field.width
    head = LocalImplicitHead(width).eval()
    image = torch.rand(1, 3, LOW, LOW) * 2 - 1
    coords = grid(HIGH, HIGH)

    def liif(theta: Tensor) -> None:
        for part in coords.split(65536):
            head(theta, part, (2 / HIGH * LOW, 2 / HIGH * LOW))

    with torch.inference_mode():
        weights, features = model.weights(image), model.paint.encoder(image)
        head_out = nn.Conv2d(width, 6 * model.config.field.hidden, 1)
        times = interleaved(
            {
                "encoder": lambda: model.paint.encoder(image),
                "weights": lambda: model.weights(image),
                "field": lambda: (head_out(features), model.render(weights, (HIGH, HIGH))),
                "enlarge": lambda: model(image, (HIGH, HIGH)),
                "bicubic": lambda: resize(image, (HIGH, HIGH)),
            },
            repeat=3,
        )
        times["liif_head"] = seconds(lambda: liif(features), repeat=1, warm=False)  # a minute: warming it up would change nothing
    pixels = HIGH * HIGH / 1e6
    code = (
        "import torch, predella, numpy as np\n"
        "from predella.apps.upscale import upscale_array\nfrom predella.image.files import Picture\n"
        "model = predella.load('functional_sr')\n"
    )
    work = "upscale_array(Picture(torch.rand(1, 3, {h}, {w}) * 2 - 1), model, ({H}, {W}), 8)"
    figures = {
        "field_vs_liif_head": times["liif_head"] / times["field"],
        "enlarge_vs_liif": (times["encoder"] + times["liif_head"]) / times["enlarge"],
        "enlarge_megapixels_per_s": pixels / times["enlarge"],
        "bicubic_megapixels_per_s": pixels / times["bicubic"],
        "enlarge_vs_bicubic_time": times["enlarge"] / times["bicubic"],
        "enlarge_1024_peak_mb": peak_mb(code + work.format(h=LOW, w=LOW, H=HIGH, W=HIGH)),
        "tiled_24mp_peak_mb": peak_mb(code + work.format(h=2000, w=3000, H=4000, W=6000)),
        "import_peak_mb": peak_mb(code),
    }
    notes = [
        f"{LOW}×{LOW} → {HIGH}×{HIGH}, {torch.get_num_threads()} threads; the field's time includes its 1×1 head, LIIF's its unfolding"
    ]
    report(options, figures, notes)


if __name__ == "__main__":
    main()

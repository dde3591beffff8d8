"""Are unlikely pictures those of another kind? A density's bits as a detector of outliers, and its known failure.

    python -m benchmarks.density_outliers --model cq_cifar_cqf --data cifar10.npz#x_test --others mnist.npz#x_test facades

Three sets are made of the pictures themselves: `flat`, each one's mean colour; `noise`, random levels; `flipped`, upside down. Keys for
each SET: `bits_SET`, mean bits per dimension (`bits_known` of the pictures themselves); `auroc_SET`, how often a picture of SET takes
more bits than one of the data (.5: chance; below: what is foreign is taken for *more* likely); `auroc_png_SET`, the same after the bits
of a PNG file of the picture are taken off, for smooth pictures are cheap for every density (Serrà et al. 2020).
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import rankdata
from torch import Tensor

from benchmarks.timing import parser_of, report
from predella.apps.density import prepared
from predella.data.images import Source
from predella.image.contract import from_uint8, quantize, to_uint8
from predella.image.files import Picture
from predella.losses.likelihood import dequantized
from predella.models.base import load
from predella.models.coverage_quality import CoverageQuality

Size = tuple[int, int]


def main() -> None:
    parser = parser_of("density_outliers")
    parser.add_argument("--model", default="cq_cifar_cqf")
    parser.add_argument("--data", required=True, help="held-out pictures of the model's own kind")
    parser.add_argument("--others", nargs="+", default=[], help="pictures of other kinds")
    parser.add_argument("--count", type=int, default=500, help="pictures of each (default: 500)")
    parser.add_argument("--samples", type=int, default=10, help="draws of z a picture (default: 10)")
    options = parser.parse_args()
    model = load(options.model)
    assert isinstance(model, CoverageQuality)
    known, owns = pictures(options.data, options.count, model)
    generator = torch.Generator().manual_seed(0)
    own = known[..., margin(model) : known.shape[-2] - margin(model), margin(model) : known.shape[-1] - margin(model)]
    sets = {
        "flat": (around(quantize(own.mean((2, 3), keepdim=True).expand_as(own)), model), owns),
        "noise": (around(quantize(torch.rand(own.shape, generator=generator) * 2 - 1), model), owns),
        "flipped": (known.flip(2), owns),
    }
    sets |= {Path(name.split("#")[0]).stem: pictures(name, options.count, model) for name in options.others}
    usual = scores(model, known, owns, options.samples)
    figures = {"bits_known": usual[0].mean().item()}
    for name, (x, sizes) in sets.items():
        bits, rest = scores(model, x, sizes, options.samples)
        figures |= {f"bits_{name}": bits.mean().item(), f"auroc_{name}": auroc(bits, usual[0]), f"auroc_png_{name}": auroc(rest, usual[1])}
    report(options, figures, [f"{len(known)} pictures of {options.data}, {options.samples} draws of z"])


def margin(model: CoverageQuality) -> int:
    """Pixels of padding to each side of a picture."""
    return (model.config.size - (model.config.counted or model.config.size)) // 2


def around(x: Tensor, model: CoverageQuality) -> Tensor:
    """With the padding."""
    return torch.nn.functional.pad(x, [margin(model)] * 4, value=-1.0)


def pictures(name: str, count: int, model: CoverageQuality) -> tuple[Tensor, list[Size]]:
    """(N, C, size, size) as the model sees them, and height and width of the middle that is each picture's own."""
    found = Source(paths=(name,), smallest=8, part=(0, count)).open()
    ready = [prepared(Picture(from_uint8(found[i])[None]), model, name) for i in range(len(found))]
    return torch.cat([x for x, _, _ in ready]), [own for _, own, _ in ready]


@torch.no_grad()
def scores(model: CoverageQuality, x: Tensor, owns: list[Size], samples: int) -> tuple[Tensor, Tensor]:
    """(N,) bits per dimension of a picture's own numbers by importance weighting, and the same less those of a PNG file."""
    generator, out = torch.Generator().manual_seed(1), torch.empty(len(x))
    for own in dict.fromkeys(owns):
        for some in torch.tensor([i for i, o in enumerate(owns) if o == own]).split(50):
            noise = torch.randn(samples, len(some), model.config.latent, generator=generator)
            out[some] = model.bits(dequantized(x[some], torch.rand(x[some].shape, generator=generator)), noise, own)
    dims = torch.tensor([model.dims(own)[1] for own in owns])
    return out, out - torch.tensor([png_bits(one) for one in x]) / dims


def png_bits(x: Tensor) -> int:
    """Of (C, H, W), the file's header and all."""
    levels = to_uint8(x).permute(1, 2, 0).numpy()
    with io.BytesIO() as stream:
        Image.fromarray(levels.squeeze(-1) if levels.shape[-1] == 1 else levels).save(stream, "png", optimize=True)
        return 8 * len(stream.getvalue())


def auroc(others: Tensor, usual: Tensor) -> float:
    """Share of pairs in which the other's value is the higher, ties half."""
    ranks = rankdata(np.concatenate([others.numpy(), usual.numpy()]))[: len(others)].sum()
    return float((ranks - len(others) * (len(others) + 1) / 2) / (len(others) * len(usual)))


if __name__ == "__main__":
    main()

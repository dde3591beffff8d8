"""What must be exact of a trained density: its inverse, its bounds, its unit.

    python -m benchmarks.density_exact --model cq_cifar_cqf --data cifar10.npz#x_test

`inversion_mean`, `inversion_max`: |f⁻¹(f(x)) - x| of held-out pixels in float32, on [-1, 1]; `level_share`: how many pixels come back to
their own 8-bit level; `bits_iwK`: bits per dimension of the same draws, K at a time, which never grow with K (Burda et al. 2016, Th. 1);
`bits_uniform`: of the uniform density, 8.
"""

import math

import torch

from benchmarks.timing import parser_of, report
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.losses.likelihood import bits_per_dim, dequantized, importance_weighted, quantized
from predella.models.base import load
from predella.models.coverage_quality import CoverageQuality

DRAWS = (1, 4, 16, 64)


def main() -> None:
    parser = parser_of("density_exact")
    parser.add_argument("--model", default="cq_cifar_cqf")
    parser.add_argument("--data", required=True, help="held-out pictures of the model's own size")
    parser.add_argument("--count", type=int, default=64, help="pictures (default: 64)")
    options = parser.parse_args()
    model = load(options.model)
    assert isinstance(model, CoverageQuality)
    config = model.config
    found = Source(
        paths=(options.data,), channels=config.channels, edge=config.size, pad=bool(config.counted), smallest=8, part=(0, options.count)
    ).open()
    seen = torch.stack([from_uint8(found[i]) for i in range(len(found))])
    generator = torch.Generator().manual_seed(0)
    x = dequantized(seen, torch.rand(seen.shape, generator=generator))
    with torch.no_grad():
        off = (model.pixels(model.features(x)[0]) - x).abs()
        back = quantized(model.pixels(model.features(x)[0]))
        weights = model.log_weights(x, torch.randn(max(DRAWS), len(x), config.latent, generator=generator)).double()
    figures = {
        "inversion_mean": off.mean().item(),
        "inversion_max": off.max().item(),
        "level_share": (back == quantized(x)).double().mean().item(),
        "bits_uniform": bits_per_dim(torch.tensor(-config.dims * math.log(2), dtype=torch.float64), config.dims).item(),
    }
    figures |= {f"bits_iw{k}": bits_per_dim(bound(weights, k), *model.dims()).mean().item() for k in DRAWS}
    report(options, figures, [f"{len(x)} pictures of {options.data}, {max(DRAWS)} draws of z"])


def bound(weights: torch.Tensor, k: int) -> torch.Tensor:
    """(B,): of (K, B) log weights, taken k at a time."""
    return torch.stack([importance_weighted(some) for some in weights.split(k)]).mean(0)


if __name__ == "__main__":
    main()

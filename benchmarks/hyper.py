"""Per-sample convolution weights against shared ones: 16 images, five 3×3 convolutions of 64 channels, 64×64, forward and backward."""

import torch
from torch import nn

from benchmarks.timing import arguments, interleaved, report
from predella.nn.hyper import apply_weights

B, C, SIZE = 16, 64, 64


def main() -> None:
    options = arguments("hyper")
    primary = nn.Sequential(*[layer for _ in range(5) for layer in (nn.Conv2d(C, C, 3, padding=1), nn.LeakyReLU(0.2))])
    x = torch.randn(B, C, SIZE, SIZE)
    weights = {k: (p.detach().expand(B, *p.shape) + 0).requires_grad_() for k, p in primary.named_parameters()}

    def shared() -> None:
        primary.zero_grad()
        primary(x).square().mean().backward()

    def per_sample() -> None:
        for w in weights.values():
            w.grad = None
        apply_weights(primary, weights, x).square().mean().backward()

    def loop() -> None:
        for b in range(B):
            y = torch.func.functional_call(primary, {k: w[b] for k, w in weights.items()}, (x[b : b + 1],))
            y.square().mean().backward()

    times = interleaved({"shared": shared, "per_sample": per_sample, "loop": loop})
    figures = {
        "per_sample_vs_shared": times["per_sample"] / times["shared"],
        "loop_vs_shared": times["loop"] / times["shared"],
        "shared_ms": times["shared"] * 1e3,
    }
    report(options, figures, [f"{torch.get_num_threads()} threads"])


if __name__ == "__main__":
    main()

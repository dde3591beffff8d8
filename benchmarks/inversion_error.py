"""How exactly float32 couplings come back: additive and affine, at 20 to 80 blocks, untrained and trained.

`KIND_BLOCKS_WHEN`: relative error ‖x - f⁻¹(f(x))‖ / ‖x‖. Trained: 40 steps of maximum likelihood on shifted data with Adam at 3e-4.
`affine_over_additive_80`: of the trained ones. Additive couplings add rounding errors up, affine ones multiply them.
"""

import torch

from benchmarks.timing import arguments, report
from predella.nn.bijections import AdditiveCoupling, AffineCoupling, Chain, ConvNet
from predella.nn.reversible_memory import MemoryFree

DEPTHS = (20, 40, 80)
SHAPE = (8, 16, 16, 16)
STEPS = 40


def chain(kind: type, depth: int) -> Chain:
    torch.manual_seed(0)
    half = SHAPE[1] // 2
    out = 2 * half if kind is AffineCoupling else half
    return Chain(*[kind(*(ConvNet(half, 16, out, final=0.1) for _ in "fg")) for _ in range(depth)])


def train(network: Chain, x: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), 3e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        y, ladj = MemoryFree(network)(x * 0.5 + 1)
        (y.square().flatten(1).sum(1) / 2 - ladj).mean().div(x[0].numel()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()


@torch.no_grad()
def error(network: Chain, x: torch.Tensor) -> float:
    return ((network.inverse(network(x)[0])[0] - x).norm() / x.norm()).item()


def main() -> None:
    options = arguments("inversion_error")
    figures = {}
    for name, kind in (("additive", AdditiveCoupling), ("affine", AffineCoupling)):
        for depth in DEPTHS:
            network = chain(kind, depth)
            x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
            figures[f"{name}_{depth}_untrained"] = error(network, x)
            train(network, x)
            figures[f"{name}_{depth}_trained"] = error(network, x)
    deep = DEPTHS[-1]
    figures[f"affine_over_additive_{deep}"] = figures[f"affine_{deep}_trained"] / figures[f"additive_{deep}_trained"]
    report(options, figures, [f"float32, input {SHAPE}, {STEPS} steps"])


if __name__ == "__main__":
    main()

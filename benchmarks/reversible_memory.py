"""A training step of 10, 20, 40, 80 additive couplings: plain autograd, checkpointing, memcnn and backpropagation by inversion.

`flatness_80_over_10`: our activations at 80 blocks over those at 10 (1 = flat). `step_time_vs_plain`: our step over plain
autograd's, the worst of the four depths. `peak_vs_memcnn`: our peak over memcnn's at 80 blocks, most of which is the process
itself; `activations_vs_memcnn` is without it. Memory is that of a fresh
process a figure; "activations" is its peak less the peak of a process that has weights, gradients, the libraries of a backward
pass and an inference forward, but no training step on the input. memcnn (PyPI) asks for torchvision without using it here, so
its wheel is fetched alone.
"""

import importlib.util
import subprocess
import sys
import tempfile
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from benchmarks.timing import arguments, interleaved, peak_mb, report
from predella.nn.bijections import AdditiveCoupling, Bijection, Chain, ConvNet
from predella.nn.reversible_memory import MemoryFree

DEPTHS = (10, 20, 40, 80)
SHAPE = (8, 48, 64, 64)
METHODS = ("plain", "checkpoint", "memcnn", "ours")


class Checkpointed(Bijection):
    """Every block under torch.utils.checkpoint."""

    def __init__(self, chain: Chain):
        super().__init__()
        self.chain = chain

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.chain:
            x = checkpoint(lambda v, block=block: block(v)[0], x, use_reentrant=False)  # type: ignore[assignment]
        return x, x.new_zeros(len(x))


class Memcnn(nn.Module):
    """The same blocks by memcnn's wrapper."""

    def __init__(self, chain: Chain):
        super().__init__()
        import memcnn  # ty: ignore[import-not-found]  # fetched by main

        blocks = [memcnn.AdditiveCoupling(Fm=c.f, Gm=c.g) for c in chain]
        self.blocks = nn.Sequential(*[memcnn.InvertibleModuleWrapper(fn=b, keep_input=False, keep_input_inverse=False) for b in blocks])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.blocks(x), x.new_zeros(len(x))


def build(method: str, depth: int) -> tuple[nn.Module, Tensor]:
    """The network, with gradients allocated, and its input."""
    torch.manual_seed(0)
    half = SHAPE[1] // 2
    chain = Chain(*[AdditiveCoupling(ConvNet(half, half, final=0.1), ConvNet(half, half, final=0.1)) for _ in range(depth)])
    for p in chain.parameters():
        p.grad = torch.zeros_like(p)
    wrap = {"plain": lambda c: c, "checkpoint": Checkpointed, "memcnn": Memcnn, "ours": MemoryFree}[method]
    return wrap(chain), torch.randn(SHAPE)


def step(network: nn.Module, x: Tensor) -> None:
    """Forward and backward; the stem of a network gives an input that is no leaf."""
    stem = (x * 1.0).requires_grad_() * 1.0
    network(stem)[0].square().mean().backward()


def peaks(method: str, depth: int, path: str) -> tuple[float, float]:
    """(peak of a training step, peak without one), MB."""

    def code(which: str, body: str) -> str:
        # the first autograd.Function of a process imports sympy (34 MB): no activation
        start = f"import sys; sys.path[:0] = [{path!r}, '.']\nimport sympy\nfrom benchmarks.reversible_memory import *\n"
        return start + f"n, x = build({which!r}, {depth})\n{body}"

    # memcnn frees its inputs even without gradients, so the base is always that of the plain network
    base = peak_mb(code("plain", "step(build('plain', 1)[0], x[:1, :, :8, :8])\nwith torch.no_grad(): n(x); n(x)"), give_back=True)
    return peak_mb(code(method, "step(n, x); step(n, x)"), give_back=True), base


def fetch_memcnn(folder: str) -> None:
    """memcnn without its dependencies, unless it is installed."""
    if importlib.util.find_spec("memcnn") is None:
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder, "memcnn"], check=True)
        sys.path.insert(0, folder)


def main() -> None:
    options = arguments("reversible_memory")
    with tempfile.TemporaryDirectory() as folder:
        fetch_memcnn(folder)
        activations, peak, time = {}, {}, {}
        for depth in DEPTHS:
            for method in METHODS:
                peak[method, depth], base = peaks(method, depth, folder)
                activations[method, depth] = peak[method, depth] - base
            times = interleaved({m: partial(step, *build(m, depth)) for m in METHODS}, repeat=3)
            for method, seconds in times.items():
                time[method, depth] = seconds
                print(f"{depth:3} blocks {method:>10}: {activations[method, depth]:7.0f} MB of activations,"
                      f" {peak[method, depth]:7.0f} MB peak, {seconds:6.2f} s a step", flush=True)  # fmt: skip
    deep, shallow = DEPTHS[-1], DEPTHS[0]
    figures = {
        "flatness_80_over_10": activations["ours", deep] / activations["ours", shallow],
        "plain_80_over_10": activations["plain", deep] / activations["plain", shallow],
        "step_time_vs_plain": max(time["ours", d] / time["plain", d] for d in DEPTHS),
        "memcnn_time_vs_plain": max(time["memcnn", d] / time["plain", d] for d in DEPTHS),
        "checkpoint_time_vs_plain": max(time["checkpoint", d] / time["plain", d] for d in DEPTHS),
        "checkpoint_80_over_10": activations["checkpoint", deep] / activations["checkpoint", shallow],
        "activations_vs_checkpoint": activations["ours", deep] / activations["checkpoint", deep],
        "activations_vs_memcnn": activations["ours", deep] / activations["memcnn", deep],
        "peak_vs_memcnn": peak["ours", deep] / peak["memcnn", deep],
        "peak_vs_plain": peak["ours", deep] / peak["plain", deep],
        "activations_80_mb": activations["ours", deep],
    }
    report(options, figures, [f"{torch.get_num_threads()} threads, input {SHAPE}"])


if __name__ == "__main__":
    main()

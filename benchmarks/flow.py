"""A flow's training step with and without memory-free backpropagation; how many images a second a model samples and scores.

`memory_vs_plain`: peak memory of one training step of a Real-NVP's likelihood on 64 images of 32 pixels, activations recomputed by
inversion, over that with all of them stored (what both need before it is taken off); `step_time_vs_plain`: the same of its time;
`sample_per_s`, `score_per_s`: of the small CIFAR-10 model, 64 images at a time, scores by ten draws.
"""

import torch

from benchmarks.timing import interleaved, parser_of, peak_mb, report, seconds
from predella.losses.likelihood import gaussian_log_density
from predella.models.coverage_quality import CoverageQuality, CoverageQualityConfig
from predella.nn.real_nvp import real_nvp
from predella.nn.reversible_memory import MemoryFree

ITEMS, SIZE, SCALES, COUPLINGS, WIDTH, BLOCKS = 64, 32, 2, 4, 32, 2
SETUP = "import sys; sys.path[:0] = ['.']\nfrom benchmarks.flow import *\ntorch.set_num_threads(2)\n"


def step(memory_free: bool):
    """A call of one step: -log p of random images, and its gradients."""
    torch.manual_seed(0)
    flow = real_nvp(3, SCALES, COUPLINGS, WIDTH, BLOCKS)
    x = torch.rand(ITEMS, 3, SIZE, SIZE) * 2 - 1
    flow.initialize(x)
    run = MemoryFree(flow) if memory_free else flow

    def call() -> None:
        flow.zero_grad()
        y, ladj = run(x)
        (-(gaussian_log_density(y, torch.zeros_like(y), torch.zeros_like(y)) + ladj).mean()).backward()

    return call


def main() -> None:
    parser = parser_of("flow")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    times = interleaved({"plain": step(False), "free": step(True)}, options.repeat)
    rest = peak_mb(SETUP + "step(False)", True)
    peaks = {k: peak_mb(SETUP + f"step({k == 'free'})()", True) - rest for k in ("plain", "free")}
    model, x = CoverageQuality(CoverageQualityConfig(latent=128)), torch.rand(ITEMS, 3, SIZE, SIZE) * 2 - 1
    z, noise, draws = torch.randn(ITEMS, 128), torch.randn(ITEMS, 3, SIZE, SIZE), torch.randn(10, ITEMS, 128)
    with torch.inference_mode():
        sampling, scoring = seconds(lambda: model.sample(z, noise), options.repeat), seconds(lambda: model.bits(x, draws), options.repeat)
    figures = {
        "memory_vs_plain": peaks["free"] / peaks["plain"], "step_time_vs_plain": times["free"] / times["plain"],
        "sample_per_s": ITEMS / sampling, "score_per_s": ITEMS / scoring,
    }  # fmt: skip
    shape = f"{SCALES} scales of {COUPLINGS} + {COUPLINGS} couplings of width {WIDTH}"
    report(options, figures, [f"{shape}; plain {peaks['plain']:.0f} MB, {times['plain']:.2f} s; {torch.get_num_threads()} threads"])


if __name__ == "__main__":
    main()

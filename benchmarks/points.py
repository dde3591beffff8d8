"""Curves of unseen digits by one forward pass, against a network optimised for each of them.

    python -m benchmarks.points --data mnist.npz#x_test [--model functional_digits] [--digits 20] [--steps 2000]

Keys: `cross_entropy_hypernetwork`, `_optimised`, `_gaussian`, `_circle` (nats, mean over the digits); `gap_closed`, the share of the way
from the Gaussian to the optimised networks that the hypernetwork goes; `seconds_optimised`, `seconds_hypernetwork` for one digit, and
`speedup_vs_optimised`, their ratio; `peak_mb_1e4`, memory that the cross-entropy of 10⁴ samples and 10⁴ points and its gradient take.
"""

import math

import torch
from torch import Tensor

from benchmarks.timing import parser_of, peak_mb, report, seconds
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.losses.transport import kernel_cross_entropy
from predella.metrics.points import gaussian_cross_entropy
from predella.models.base import find_source, load
from predella.models.functional_points import FunctionalPoints, bright_points, pixel_points, resampled
from predella.nn.hyper import Weights
from predella.objectives.functional_points import FunctionalPointsObjectiveConfig
from predella.recipe import read_recipe

POINTS, SAMPLES, RATE = 1000, 256, 3e-3
TOGETHER = 50  # networks that are optimised at once


def optimised(model: FunctionalPoints, images: Tensor, sigma: float, steps: int) -> Weights:
    """One target network a digit, trained side by side by Adam from the hypernetwork's mean network, on Eq. 1 alone."""
    if len(images) > TOGETHER:
        parts = [optimised(model, some, sigma, steps) for some in images.split(TOGETHER)]
        return {k: torch.cat([p[k] for p in parts]) for k in parts[0]}
    points, shares = bright_points(images)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        flat = torch.ones(1, 1, model.config.grid, model.config.grid)
        start = model.weights(flat)
    theta = {k: v.expand(len(images), *v.shape[1:]).clone().requires_grad_() for k, v in start.items()}
    optimizer = torch.optim.Adam(theta.values(), RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        z = torch.stack([model.circle(SAMPLES, generator) for _ in images])
        kernel_cross_entropy(model.query(theta, z), points, shares, sigma).sum().backward()
        optimizer.step()
        schedule.step()
    return {k: v.detach() for k, v in theta.items()}


def main() -> None:
    parser = parser_of("points")
    parser.add_argument("--data", required=True, help="unseen digits")
    parser.add_argument("--model", default="functional_digits")
    parser.add_argument("--digits", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    model = load(options.model)
    assert isinstance(model, FunctionalPoints)
    objective = read_recipe((find_source(options.model) / "recipe.json").read_text()).stages[0].objective
    assert isinstance(objective, FunctionalPointsObjectiveConfig)
    sigma = objective.sigma
    found = Source(paths=(options.data,), channels=1, smallest=8, part=(0, options.digits)).open()
    images = torch.stack([from_uint8(found[i]) for i in range(len(found))])
    points, shares = pixel_points(images)
    seen = resampled((images + 1) / 2, model.config.grid)
    circle = model.circle(POINTS)

    def cross_entropy(theta: Weights) -> float:
        with torch.no_grad():
            return kernel_cross_entropy(model.query(theta, circle), points, shares, sigma).mean().item()

    with torch.no_grad():
        ours = cross_entropy(model.weights(seen))
        still = kernel_cross_entropy(circle.expand(len(images), -1, -1), points, shares, sigma).mean().item()
        one_pass = seconds(lambda: model.weights(seen[:1]), 20)
    gaussian, bound = gaussian_cross_entropy(points, shares).mean().item(), cross_entropy(optimised(model, images, sigma, options.steps))
    alone = seconds(lambda: optimised(model, images[:1], sigma, options.steps), 1, warm=False)
    figures = {
        "cross_entropy_hypernetwork": ours, "cross_entropy_optimised": bound, "cross_entropy_gaussian": gaussian,
        "cross_entropy_circle": still, "gap_closed": (gaussian - ours) / (gaussian - bound),
        "seconds_optimised": alone, "seconds_hypernetwork": one_pass, "speedup_vs_optimised": alone / one_pass, "peak_mb_1e4": memory(),
    }  # fmt: skip
    assert all(map(math.isfinite, figures.values()))
    report(options, figures, [f"{len(images)} digits, {options.steps} steps, deviation {sigma:g}; {torch.get_num_threads()} threads"])


def memory(count: int = 10_000) -> float:
    """MB beyond a process that has the points alone."""
    code = (
        "import torch\nfrom predella.losses.transport import kernel_cross_entropy\n"
        f"x = torch.rand(1, {count}, 2, requires_grad=True)\ny, w = torch.rand(1, {count}, 2), torch.full((1, {count}), 1 / {count})\n"
    )
    return peak_mb(code + "kernel_cross_entropy(x, y, w, 0.05).sum().backward()", True) - peak_mb(code, True)


if __name__ == "__main__":
    main()

"""Is the truth where the answers are? Its rank under the density of answers on the 11th and 12th components (Peng et al., Fig. 1b).

    python -m benchmarks.posterior_rank --data mnist.npz#x_test [--model tower_mnist_pca]      # 2 CPU cores, 6 min

For each of 500 test digits a kernel density is fitted to 200 answers' coordinates; the truth's rank is the share of 200 further
answers whose density is higher. Were digit and answers drawn alike, ranks would be uniform and `inside_90`, the share of digits in
the smallest region that holds 90 % of the density, 0.9. `rank_0` … `rank_9`: share of digits by tenths of the rank.
`fitted_inside_90`: the same with a Gaussian of these digits' overall deviations, the same for every digit, in place of answers.
"""

import numpy as np
import torch

from benchmarks.timing import parser_of, report
from predella.data.images import Source
from predella.image.contract import from_uint8
from predella.models.base import load
from predella.models.tower import Tower
from predella.recipe import task_of
from predella.tasks.pca import PrincipalComponents

DIGITS, ANSWERS = 500, 200


def rank(truth: np.ndarray, fitted: np.ndarray, others: np.ndarray) -> float:
    """Share of `others` (K, 2) where the density of `fitted` (K, 2) is higher than at `truth` (2,)."""
    from scipy.stats import gaussian_kde

    density = gaussian_kde(fitted.T + 1e-6 * np.random.default_rng(0).standard_normal(fitted.T.shape))
    return float((density(others.T) > density(truth[:, None])).mean())


@torch.no_grad()
def ranks(model: Tower, task: PrincipalComponents, images: torch.Tensor) -> tuple[list[float], list[float]]:
    """Of the truth among answers, and among draws from one Gaussian for all digits; images (N, 1, H, W)."""
    generator, size = torch.Generator().manual_seed(0), task.size
    spread = task.coordinates(images, task.keep, task.keep + 2).std(0).numpy()
    rng, ours, fixed = np.random.default_rng(0), [], []
    for i, image in enumerate(images.split(1)):
        if i and i % 100 == 0:
            print(f"{i} of {len(images)} digits", flush=True)
        condition = task.known(image).expand(2 * ANSWERS, -1, -1, -1)
        found = model(condition, model.draw(2 * ANSWERS, size, generator), size)[-1].clamp(-1, 1)
        at = task.coordinates(found, task.keep, task.keep + 2).numpy()
        truth = task.coordinates(image, task.keep, task.keep + 2)[0].numpy()
        ours.append(rank(truth, at[:ANSWERS], at[ANSWERS:]))
        draws = rng.standard_normal((2 * ANSWERS, 2)) * spread
        fixed.append(rank(truth, draws[:ANSWERS], draws[ANSWERS:]))
    return ours, fixed


def main() -> None:
    parser = parser_of("posterior_rank")
    parser.add_argument("--data", default="MNIST#x_test", help="test digits")
    parser.add_argument("--model", default="tower_mnist_pca")
    options = parser.parse_args()
    model, task = load(options.model), task_of(options.model)
    if not isinstance(model, Tower) or not isinstance(task, PrincipalComponents):
        raise SystemExit(f"{options.model} is no tower for pca, such as tower_mnist_pca")
    images = Source(paths=(options.data,), channels=1, part=(0, DIGITS), smallest=8).open()
    digits = torch.stack([from_uint8(images[i]) for i in range(len(images))])
    ours, fixed = (np.array(r) for r in ranks(model, task, digits))
    shares = np.histogram(ours, 10, (0, 1))[0] / len(ours)
    figures = {"inside_90": float((ours <= 0.9).mean()), "fitted_inside_90": float((fixed <= 0.9).mean()),
               "mean_rank": float(ours.mean())} | {f"rank_{i}": float(s) for i, s in enumerate(shares)}  # fmt: skip
    report(options, figures, [f"{len(digits)} digits, {ANSWERS} answers each for the density and for the ranks; {options.model}"])


if __name__ == "__main__":
    main()

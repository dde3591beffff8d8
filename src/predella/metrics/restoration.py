"""How many-sided, faithful and consistent several answers to one condition are."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from predella.image.contract import quantize
from predella.losses.distances import Perceptual
from predella.metrics.fidelity import mean, psnr_rgb

BANDWIDTHS = (0.3, 0.2, 0.15)  # of faithfulness, Table 3 of Peng et al.
Answer = Callable[[Tensor, int], Tensor]  # condition (1, C, H, W), K → (K, C, H, W)


def lpips_diversity(embedded: Tensor) -> float:
    """Mean LPIPS distance of different answers to one condition (Zhu et al. 2017).

    Args:
        embedded: (K, D) by `Perceptual.embed`, K ≥ 2.

    Raises:
        ValueError: one answer only.
    """
    if len(embedded) < 2:
        raise ValueError(f"diversity compares answers, at least 2 are needed, got {len(embedded)}")
    return torch.pdist(embedded).square().mean().item()


def faithfulness_weighted_variance(embedded: Tensor, average: Tensor, truth: Tensor, bandwidth: float) -> float:
    """Mean over answers of exp(-d(answer, truth) / 2σ²) · d(answer, average answer), d = LPIPS (Li et al. 2020).

    Args:
        embedded, average, truth: (K, D), (1, D), (1, D) by `Perceptual.embed`; `average` of the mean of the answers' pixels.
        bandwidth: σ. LPIPS is itself a squared distance of features, so this is a Gaussian kernel on them.
    """
    to_truth, to_average = ((embedded - x).square().sum(1) for x in (truth, average))
    return ((-to_truth / (2 * bandwidth**2)).exp() * to_average).mean().item()


@torch.inference_mode()
def many_answers(
    pairs: Iterator[tuple[Tensor, Tensor]],
    answer: Answer,
    residual: Callable[[Tensor, Tensor], Tensor],
    distance: Perceptual,
    count: int,
    ask: str,
    features: str = "vgg16",
    details: str = "",
) -> Iterator[dict]:
    """Rows of the mean over conditions: diversity, faithfulness-weighted variance, nearest answer, PSNR, consistency; 8-bit answers.

    Args:
        pairs: (condition, truth), (1, C, H, W) each.
        answer: condition, K → K answers.
        residual: (condition, answers) → (K,), see `Task.residual`.
        distance: on the device where it is computed.
        count: K.
        features: of the distance: LPIPS's are "vgg16", by others the measures are named.
        ask, details: the task's name, and its numbers, for the rows.
    """
    found: dict[str, list[float]] = {}
    name = "lpips" if features == "vgg16" else features
    faithful = "faithful_variance" if features == "vgg16" else f"{features}_faithful_variance"
    device = next(distance.buffers(), torch.empty(0)).device
    for condition, truth in pairs:
        answers = quantize(answer(condition, count))
        colours = [x.expand(-1, 3, -1, -1) for x in (answers, truth, answers.mean(0, keepdim=True))]
        embedded, target, average = (distance.embed(x.to(device)) for x in colours)
        values = {
            f"{name}_diversity": lpips_diversity(embedded),
            f"{name}_nearest": (embedded - target).square().sum(1).min().item(),
            **{f"{faithful}_{s}": faithfulness_weighted_variance(embedded, average, target, s) for s in BANDWIDTHS},
            "psnr_rgb": mean(psnr_rgb(answers, truth.expand(count, -1, -1, -1)).tolist()),
            "inconsistency": residual(condition.expand(count, -1, -1, -1), answers).mean().item(),
        }
        for measure, value in values.items():
            found.setdefault(measure, []).append(value)
    by = "LPIPS 0.1 of VGG16" if features == "vgg16" else f"LPIPS's form with {features}"
    protocol = f"{count} answers a condition, mean over conditions, {by}, 8-bit answers" + f"; {details}" * bool(details)
    for measure, values_ in found.items():
        yield {"ask": ask, "measure": measure, "value": mean(values_), "images": len(values_), "protocol": protocol}

"""The protocols of the tables of models that generate: reconstruction, set distances, and what a classifier says of samples."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from predella.data.images import Images
from predella.image.contract import from_uint8, quantize
from predella.metrics.coverage import precision_recall
from predella.metrics.features import collect
from predella.metrics.fidelity import mean, psnr_rgb
from predella.metrics.frechet import frechet_distance
from predella.metrics.sets import count_name

BATCH = 50
NEIGHBOURS = 3  # of precision and recall
Transform = Callable[[Tensor], Tensor]  # (B, C, H, W) → (B, C, H, W)
Draw = Callable[[int], Tensor]  # count → (count, C, H, W)


def batches(images: Images, count: int | None = None) -> Iterator[Tensor]:
    """(B, C, H, W) in [-1, 1] of the first `count` pictures, which must have one size."""
    total = len(images) if count is None else min(count, len(images))
    for first in range(0, total, BATCH):
        yield from_uint8(torch.stack([images[i] for i in range(first, min(first + BATCH, total))]))


@torch.inference_mode()
def reconstruction(images: Images, full: Transform, restricted: Transform) -> Iterator[dict]:
    """Mean absolute error from the full latent (float32, on the scale [0, 1]) and PSNR from the restricted one."""
    l1 = torch.cat([((full(x) - x).abs() / 2).flatten(1).mean(1).double() for x in batches(images)]).tolist()
    protocol = "decode(encode(x)) in float32, images in [0, 1]"
    yield {"ask": "full latent", "measure": "l1", "value": mean(l1), "images": len(images), "protocol": protocol}
    yield likeness(images, restricted, "restricted latent", "decoded from the prior's dimensions alone")


@torch.inference_mode()
def likeness(images: Images, again: Transform, ask: str, how: str) -> dict:
    """PSNR of what comes back, in 8 bits."""
    psnr = torch.cat([psnr_rgb(quantize(again(x)), x, 0) for x in batches(images)]).tolist()
    return {
        "ask": ask,
        "measure": "psnr_rgb",
        "value": mean(psnr),
        "images": len(images),
        "protocol": f"8-bit output {how}, mean over images",
    }


@torch.inference_mode()
def distances(real: Iterable[Tensor], draws: Mapping[str, Draw], features: Callable[[Tensor], Tensor], *names: str) -> Iterator[dict]:
    """Fréchet distance, precision and recall of as many 8-bit samples as there are images; one row a way of drawing and measure.

    Args:
        real: batches of images (B, C, H, W) in [-1, 1].
        names: of the features, which become part of the measures' names; several stand side by side, each as wide (`load_layers`).
    """
    known = collect(features, real).chunk(len(names), 1)
    count = len(known[0])
    for ask, draw in draws.items():
        generated = collect(features, _drawn(draw, count)).chunk(len(names), 1)
        for name, a, b in zip(names, known, generated, strict=True):
            suffix = f"{name}_{count_name(count)}"
            distance = f"fid_{count_name(count)}" if name == "inception" else f"fd_{suffix}"
            precision, recall = precision_recall(a, b, NEIGHBOURS)
            values = {distance: frechet_distance(a, b), f"precision_{suffix}": precision, f"recall_{suffix}": recall}
            protocol = f"{count} samples against {count} images, features {name} (mean over positions), 8-bit samples"
            for measure, value in values.items():
                yield {"ask": ask, "measure": measure, "value": value, "images": count, "protocol": protocol}


def _drawn(draw: Draw, count: int) -> Iterable[Tensor]:
    for first in range(0, count, BATCH):
        yield quantize(draw(min(BATCH, count - first)))


@torch.inference_mode()
def accuracy(logits: Callable[[Tensor], Tensor], images: Images) -> dict:
    """Share of pictures whose class the classifier names."""
    assert images.labels is not None
    answers = torch.cat([logits(x).argmax(1).cpu() for x in batches(images)])
    value = (answers == images.labels).double().mean().item()
    return {"ask": "pictures", "measure": "accuracy", "value": value, "images": len(images), "protocol": "share of pictures named right"}


@torch.inference_mode()
def recognised(logits: Callable[[Tensor], Tensor], draw: Callable[[Tensor], Tensor], classes: int, each: int, who: str) -> Iterator[dict]:
    """Of `each` samples of every class: how many the classifier names as their class, and the classifier score.

    The classifier score is exp E KL(p(y|x) ‖ p(y)), the Inception score's formula (Salimans et al. 2016) with this classifier.

    Args:
        draw: labels (B,) → samples (B, C, H, W).
        who: the classifier's name, for the protocol.
    """
    label = torch.arange(classes).repeat_interleave(each)
    log_p = torch.cat([_log_probabilities(logits, draw(part)) for part in label.split(BATCH)])
    share = (log_p.argmax(1) == label).double().mean().item()
    protocol = f"{each} samples a class, judged by {who}"
    yield {"ask": "samples", "measure": "recognised", "value": share, "images": len(label), "protocol": protocol}
    yield {"ask": "samples", "measure": "classifier_score", "value": classifier_score(log_p), "images": len(label), "protocol": protocol}


@torch.inference_mode()
def scores(logits: Callable[[Tensor], Tensor], draws: Mapping[str, Draw], count: int, who: str) -> Iterator[dict]:
    """The classifier score of `count` samples of a model without classes (the Inception score, if Inception judges); one row a way.

    Args:
        who: the classifier's name, for the protocol.
    """
    measure = "inception_score" if who == "inception" else "classifier_score"
    protocol = f"exp E KL(p(y|x) ‖ p(y)) of {count} samples in 8 bits, judged by {who}"
    for ask, draw in draws.items():
        log_p = torch.cat([_log_probabilities(logits, draw(min(BATCH, count - first))) for first in range(0, count, BATCH)])
        yield {"ask": ask, "measure": measure, "value": classifier_score(log_p), "images": count, "protocol": protocol}


def _log_probabilities(logits: Callable[[Tensor], Tensor], samples: Tensor) -> Tensor:
    return logits(quantize(samples)).double().log_softmax(1).cpu()


def classifier_score(log_p: Tensor) -> float:
    """exp E_x KL(p(y|x) ‖ E_x p(y|x)) of log-probabilities (N, classes); from 1 to the number of classes."""
    marginal = log_p.exp().mean(0).clamp(min=1e-300).log()
    return (log_p.exp() * (log_p - marginal)).sum(1).mean().exp().item()

"""How samples of one picture's own model stand to that picture: its patches, how many-sided they are, how much is copied."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.errors import UserError
from predella.image.contract import quantize
from predella.losses.distances import Perceptual, Pixels
from predella.metrics.fidelity import mean
from predella.metrics.frechet import frechet_distance
from predella.metrics.restoration import lpips_diversity

PATCH = 7  # pixels of an edge, of the copy score
FEW = 10  # samples that are compared with each other, or searched for copies
Vary = Callable[[Tensor, int], Iterable[Tensor]]  # picture (1, 3, H, W), K → K samples (1, 3, H, W)
Maps = Callable[[Tensor], Tensor]  # (B, 3, H, W) → features at all places (B, D, h, w)


def sifid(real: Tensor, generated: Tensor) -> float:
    """Single-image Fréchet distance: between the features at all places of two pictures (Shaham et al. 2019).

    Args:
        real, generated: (1, D, h, w) feature maps; sizes may differ. The name of a figure says which: sifid_vgg16_relu2_2.
    """
    return frechet_distance(*(x[0].flatten(1).T for x in (real, generated)))


def pixel_diversity(samples: Tensor, picture: Tensor) -> float:
    """Mean over pixels and channels of the samples' deviation, over the picture's own deviation (Shaham et al. 2019).

    Args:
        samples: (K, C, H, W), K ≥ 2; the papers take 150.
        picture: (1, C, …).

    Raises:
        ValueError: one sample, or a picture of one colour.
    """
    if len(samples) < 2:
        raise ValueError(f"diversity compares samples, at least 2 are needed, got {len(samples)}")
    own = picture.double().std()
    if own == 0:
        raise ValueError("the picture has one colour only, to which no deviation can be compared")
    return (samples.double().std(0, correction=0).mean() / own).item()


def copy_score(sample: Tensor, picture: Tensor, patch: int = PATCH) -> float:
    """Share of neighbouring patches that were neighbours in the picture, too: 1 = the picture itself, shifted or not.

    Each patch of the sample has its nearest of all patches of the picture (squared distance). Neighbours lie one patch apart, so
    they share no pixel and agree only if the sample took the larger piece as it was.

    Args:
        sample, picture: (1, C, H, W), each edge at least two patches.

    Raises:
        ValueError: smaller pictures.
    """
    for x in (sample, picture):
        if min(x.shape[-2:]) < 2 * patch:
            raise ValueError(f"a copy score needs pictures of at least {2 * patch} pixels, got {x.shape[-1]}×{x.shape[-2]}")
    rows, columns = (n // patch for n in sample.shape[-2:])
    asked = F.unfold(sample, patch, stride=patch)[0].T  # (rows · columns, D)
    known = F.unfold(picture, patch)[0].T
    width = picture.shape[-1] - patch + 1
    index = torch.cat([_apart(a, known).argmin(1) for a in asked.split(256)]).view(rows, columns)
    y, x = index // width, index % width
    right = (y[:, 1:] == y[:, :-1]) & (x[:, 1:] == x[:, :-1] + patch)
    below = (y[1:] == y[:-1] + patch) & (x[1:] == x[:-1])
    return torch.cat([right.flatten(), below.flatten()]).double().mean().item()


def leakage(sample: Tensor, own: Tensor, others: Sequence[Tensor], patch: int = PATCH, ratio: float = 1.0) -> float:
    """Share of a sample's patches that are nearer to a patch of another picture than to any of its own (Bensadoun et al. 2021, Fig. 2).

    Smooth patches are in many pictures, so a model that saw its own picture only has some, too: compare with such a one. A smaller
    ratio leaves most of them out, as Lowe's test does for features that match in several places (Lowe 2004, Sec. 7.1: 0.8).

    Args:
        sample, own: (1, C, H, W): of one picture's model, and that picture.
        others: (1, C, h, w) each: the pictures that were trained together with it.
        ratio: in (0, 1]: the distance to the other picture is below so much of the distance to its own.

    Raises:
        ValueError: a picture smaller than a patch, no others, or another ratio.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"a ratio of distances must lie in (0, 1], got {ratio}")
    if not others or min(min(x.shape[-2:]) for x in (sample, own, *others)) < patch:
        raise ValueError(f"leakage needs another picture, and pictures of at least {patch} pixels")
    asked = F.unfold(sample, patch, stride=patch // 2)[0].T
    known, foreign = F.unfold(own, patch)[0].T, torch.cat([F.unfold(x, patch)[0].T for x in others])
    leaked = [_apart(a, foreign).amin(1) < ratio * _apart(a, known).amin(1) for a in asked.split(256)]
    return torch.cat(leaked).double().mean().item()


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """(N, D), (M, D) → (N, M) distances; by differences, for products round equal patches apart."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def check(picture: Tensor, name: str) -> None:
    """Refuse a picture (1, C, H, W) that samples can't be measured by.

    Raises:
        UserError: fewer than two patches an edge, or one colour.
    """
    height, width = picture.shape[-2:]
    if min(height, width) < 2 * PATCH:
        raise UserError(
            f"{name} is measured at {width}×{height} pixels; copies are counted from {2 * PATCH} an edge on, cut it or leave it out"
        )
    if (picture == picture[..., :1, :1]).all():
        raise UserError(f"{name} has one colour only, to which no variation can be compared; leave it out")


def slopes(pictures: Tensor) -> Tensor:
    """(N - 1,): mean absolute change of pixels a unit of the way, along N pictures at equal steps (Bensadoun et al. 2021, App. F)."""
    if len(pictures) < 2:
        raise ValueError(f"a slope lies between pictures, at least 2 are needed, got {len(pictures)}")
    return (pictures[1:] - pictures[:-1]).abs().flatten(1).mean(1) * (len(pictures) - 1)


@torch.no_grad()
def measure(
    pictures: Iterable[Tensor], vary: Vary, maps: Maps, name: str, distance: Perceptual | Pixels, count: int, ask: str
) -> Iterator[dict]:
    """Rows of the mean over pictures, of `count` 8-bit samples each.

    sifid_NAME is the least over a picture's samples, msifid_NAME the mean (Bensadoun et al. 2021, Sec. 5); lpips_diversity and
    copy_score are of the first samples.

    Args:
        pictures: (1, 3, H, W) each.
        maps, name: the features of sifid, and what they are called.
        ask: how samples are made, for the rows.
    """
    found: dict[str, list[float]] = {}
    for picture in pictures:
        samples, real = quantize(torch.cat(list(vary(picture, count)))), maps(picture)
        each = [sifid(real, maps(s)) for s in samples.split(1)]
        few = samples[:FEW]
        values = {
            f"sifid_{name}": min(each),
            f"msifid_{name}": mean(each),
            "pixel_diversity": pixel_diversity(samples, picture),
            "lpips_diversity": lpips_diversity(torch.cat([distance.embed(s) for s in few.split(1)])),
            "copy_score": mean([copy_score(s, picture) for s in few.split(1)]),
        }
        for measure, value in values.items():
            found.setdefault(measure, []).append(value)
    protocol = f"{count} samples a picture ({FEW} of them for LPIPS 0.1 of VGG16 and copies), mean over pictures, 8-bit samples"
    for measure, row in found.items():
        yield {"ask": ask, "measure": measure, "value": mean(row), "images": len(row), "protocol": protocol}

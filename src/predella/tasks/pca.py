"""Principal components: the condition is the image rebuilt from its first few; the rest is to be found (Peng et al., Sec. 2)."""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from predella.config import config
from predella.errors import UserError
from predella.tasks.base import Batch

SHIPPED = {"mnist": "mnist_components.npz"}


@config
class PrincipalComponents:
    """Args:
    keep: how many components are known.
    basis: "mnist" (mean and first twelve components of its 60 000 training digits, shipped), or an npz file by `save_components`.
    """

    kind: Literal["pca"] = "pca"
    keep: int = 10
    basis: str = "mnist"

    def __post_init__(self):
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1 component, got {self.keep}")

    def crop(self, generator: torch.Generator) -> int:
        return self.size[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that the basis is for."""
        _, height, width = load_components(self.basis)[0].shape
        return height, width

    @property
    def channels(self) -> int:
        """Of the basis."""
        return len(load_components(self.basis)[0])

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, C, H, W), as large as the basis → condition of the same shape, about [-1, 1]."""
        return Batch(target=image, condition=self.known(image))

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): RMS difference of what the known components make of sample and input."""
        return (self.known(sample) - condition).square().flatten(1).mean(1).sqrt()

    def project(self, condition: Tensor, sample: Tensor) -> Tensor:
        """The nearest to `sample` that has the known components of `condition`."""
        return sample + condition - self.known(sample)

    def coordinates(self, image: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """(B, C, H, W) → (B, last - first): coordinates on components first … last - 1, counted from 0; default: the known ones."""
        mean, components = (t.to(image) for t in load_components(self.basis))
        last = self.keep if last is None else last
        if last > len(components):
            raise ValueError(f"the basis '{self.basis}' has {len(components)} components, {last} were asked for")
        if image.shape[1:] != mean.shape:
            raise ValueError(f"the basis '{self.basis}' is for images of {tuple(mean.shape)}, got {tuple(image.shape[1:])}")
        return (image - mean).flatten(1) @ components[first:last].flatten(1).T

    def known(self, image: Tensor) -> Tensor:
        """(B, C, H, W) → the same, rebuilt from its first `keep` components."""
        mean, components = (t.to(image) for t in load_components(self.basis))
        return mean + torch.tensordot(self.coordinates(image), components[: self.keep], 1)


def principal_components(images: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean (C, H, W) and first `count` orthonormal components (count, C, H, W) of images (N, C, H, W), N > count."""
    if len(images) <= count:
        raise ValueError(f"{count} components need more than {count} images, got {len(images)}")
    rows = images.double().flatten(1)
    mean = rows.mean(0)
    centred = rows - mean
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    first = vectors.flip(1)[:, :count].T
    return mean.view(images.shape[1:]).float(), first.reshape(count, *images.shape[1:]).float()


def save_components(file: Path, mean: Tensor, components: Tensor) -> None:
    """Write what `basis` reads."""
    with open(file, "xb") as stream:
        np.savez_compressed(stream, mean=mean.numpy(), components=components.numpy())


@lru_cache(maxsize=4)
def load_components(basis: str) -> tuple[Tensor, Tensor]:
    """Mean (C, H, W) and components (K, C, H, W).

    Raises:
        UserError: no such file, or not orthonormal components of images.
    """
    file = files("predella.tasks").joinpath(SHIPPED[basis]) if basis in SHIPPED else Path(basis)
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            mean, components = (torch.from_numpy(archive[k]).float() for k in ("mean", "components"))
    except Exception as error:
        raise UserError(f"{basis} is no file of components ({error}); make one with predella.tasks.pca.save_components") from None
    squares = mean.ndim == 3 and mean.shape[1] == mean.shape[2] and components.shape[1:] == mean.shape and len(components) > 0
    rows = components.flatten(1) if squares else torch.empty(0)
    if not squares or (rows @ rows.T - torch.eye(len(rows))).abs().max() > 1e-4:
        raise UserError(f"{basis} must hold mean (C, N, N) and orthonormal components (K, C, N, N) of squares; see predella.tasks.pca")
    return mean, components

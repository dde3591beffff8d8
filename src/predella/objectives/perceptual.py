"""Which features a perceptual distance compares: LPIPS with its published weights, or a small network trained here."""

from typing import Literal

import torch
from torch import Tensor, nn

from predella.errors import UserError
from predella.losses.distances import Perceptual, Pixels, lpips
from predella.models.base import load
from predella.models.classifier import Classifier

Name = Literal["cifar_classifier", "vgg16", "alexnet", "pixels"]
LEAST = (1, 1, 2, 4)  # edges that the classifier's maps need


def perceptual(name: Name) -> Perceptual | Pixels:
    """LPIPS with VGG16 or AlexNet, or the same form with the shipped classifier of CIFAR-10, which needs no foreign weights.

    "pixels" compares no features but the images themselves, squared. The shipped network's channels all weigh the same, and so
    do its four maps; pixels are compared besides, for what features of unit length leave out (contrast, the finest pattern).

    Foreign weights come from $PREDELLA_WEIGHTS (which `predella train --weights` sets), the cache, or the official address.

    Raises:
        UserError: weights that can't be had; the line names the file, its address, and the distance that needs none.
    """
    if name == "pixels":
        return Pixels()
    if name != "cifar_classifier":
        try:
            return lpips(name)
        except UserError as error:
            raise UserError(f"{error}; or take the distance cifar_classifier, which needs no such weights") from None
    network = load(name)
    assert isinstance(network, Classifier)
    width = network.config.width
    return Perceptual(_Maps(network), [torch.full((width * 2**i,), 0.25) for i in range(4)], LEAST, pixels=1.0)


class _Maps(nn.Module):
    def __init__(self, network: Classifier):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, count: int) -> list[Tensor]:
        return self.network.maps(x, count)

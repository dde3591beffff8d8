"""A small image classifier: the judge of the class-conditional models, trained here, so that no foreign weights are needed."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from predella.config import config
from predella.image.contract import check_image
from predella.models.base import Model, load
from predella.nn.classics import relu_maps

TEXTURES = "cifar_classifier"  # the shipped network whose maps tell textures apart


@config
class ClassifierConfig:
    """Args:
    channels, size: of the images; size divisible by 4.
    classes: how many.
    width: channels of the first convolution, doubled at each halving.
    """

    kind: Literal["classifier"] = "classifier"
    channels: int = 1
    size: int = 32
    classes: int = 10
    width: int = 16

    def __post_init__(self):
        if self.size % 4 or self.size < 8:
            raise ValueError(f"size must be a multiple of 4 of at least 8, got {self.size}")
        if min(self.channels, self.classes, self.width) < 1:
            raise ValueError(f"channels, classes and width must be at least 1, got {self.channels}, {self.classes}, {self.width}")


class Classifier(Model):
    """A judge of samples: four convolutions with batch normalisation, two poolings, a mean over positions, a linear layer."""

    Config: ClassVar[type] = ClassifierConfig
    name: ClassVar[str] = "classifier"
    verbs = ()

    def __init__(self, config: ClassifierConfig | None = None):
        super().__init__()
        self.config = config or ClassifierConfig()
        w = self.config.width
        widths = (self.config.channels, w, 2 * w, 4 * w, 8 * w)
        layers: list[nn.Module] = []
        for i, (a, b) in enumerate(zip(widths, widths[1:])):
            layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
            if i in (1, 2):
                layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(8 * w, self.config.classes)

    def features(self, image: Tensor) -> Tensor:
        """(B, C, size, size) in [-1, 1] → (B, 8 · width), before the linear layer."""
        check_image(image, channels=self.config.channels)
        if image.shape[-2:] != (self.config.size, self.config.size):
            raise ValueError(f"image must be {self.config.size}×{self.config.size}, got {image.shape[-1]}×{image.shape[-2]}")
        return F.relu(self.body(image)).mean((2, 3))

    def maps(self, image: Tensor, count: int = 4) -> list[Tensor]:
        """(B, C, H, W) of any size → the first `count` of four maps, of width, 2, 4 and 8 · width channels; the last two at 1/2 and 1/4."""
        return relu_maps(self.body, image, count)

    def forward(self, image: Tensor) -> Tensor:
        """(B, classes) logits."""
        return self.head(self.features(image))


def texture_maps() -> Callable[[Tensor], Sequence[Tensor]]:
    """(B, 3, H, W) of any size in [-1, 1] → the shipped classifier's maps that tell textures apart, in the images' precision."""
    return lambda x: _texture_network(x.device, x.dtype).maps(x)


@cache
def _texture_network(device: torch.device, dtype: torch.dtype) -> Classifier:
    network = load(TEXTURES)
    assert isinstance(network, Classifier)
    return network.requires_grad_(False).to(device, dtype)

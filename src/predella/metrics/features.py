"""Features that set metrics work on: networks with standard weights (predella.weights), and our own classifiers, which are shipped.

Inception's features give numbers called `fid`, `kid`; others carry their network's and layer's name.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from predella.errors import UserError, did_you_mean
from predella.models.base import load
from predella.models.classifier import Classifier
from predella.weights import LAYERS, LEAST, load_classic

LEAST_SHIPPED = 4  # pixels: two poolings
Features = Callable[[Tensor], Tensor]  # (B, 3, H, W) in [-1, 1] → (B, D)
SHIPPED = ("cifar_classifier", "mnist_classifier")
LAYERED = tuple(f"{net}_{layer}" for net, layers in LAYERS.items() for layer in layers)
FEATURES = ("inception", "resnet20", *SHIPPED, *LAYERED)


def load_features(name: str, weights: Path | None = None, device: torch.device | str = "cpu") -> Features:
    """The features called `name`: "inception", "resnet20" (of CIFAR-10, for 32×32 pixels), a network and layer such as
    "vgg16_relu4_3", or a shipped classifier, "cifar_classifier" or (grey pictures) "mnist_classifier"; the last are means over all
    positions.

    Args:
        weights: a folder that holds the network's weights; None: $PREDELLA_WEIGHTS, the cache, the official address. Shipped
            classifiers want none.
        device: where they are computed; images and features are on the CPU.

    Raises:
        UserError: an unknown name, or weights that can't be had.
    """
    if name in SHIPPED:
        return _shipped(name, device)
    if "_" in name:
        return load_layers([name], weights, device)
    _check(name)
    network = _at(load_classic(name, weights), device)
    return _sized(network, 32) if name == "resnet20" else network


def load_layers(names: Sequence[str], weights: Path | None = None, device: torch.device | str = "cpu") -> Features:
    """Several layers of one network side by side, (B, D · layers), in one pass: layers of one width, such as vgg16_relu4_3 and _relu5_3.

    Raises:
        UserError: see `load_features`.
    """
    for name in names:
        _check(name)
    which = names[0].partition("_")[0]
    network, counts = load_classic(which, weights).to(device), [LAYERS[which].index(name.partition("_")[2]) + 1 for name in names]
    deepest = max(counts)
    name, least = names[counts.index(deepest)], LEAST[which][deepest - 1]

    def means(x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < least:
            raise UserError(f"{name} needs images of at least {least} pixels, got {x.shape[-1]}×{x.shape[-2]}; take an earlier layer")
        maps = network(x.to(device), deepest)
        return torch.cat([maps[c - 1].mean((2, 3)) for c in counts], 1).cpu()

    return means


def _at(network: nn.Module, device: torch.device | str) -> Features:
    there = network.to(device)
    return lambda x: there(x.to(device)).cpu()


def _shipped(name: str, device: torch.device | str) -> Features:
    """The last maps' means: at the classifier's own size what its linear layer sees."""
    network = load(name)
    assert isinstance(network, Classifier)
    network.to(device)
    grey = network.config.channels == 1

    def features(x: Tensor) -> Tensor:
        if min(x.shape[-2:]) < LEAST_SHIPPED:
            raise UserError(f"{name} needs images of at least {LEAST_SHIPPED} pixels, got {x.shape[-1]}×{x.shape[-2]}")
        if grey and not (torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])):
            raise UserError(f"{name} looks at grey pictures, got colours; take cifar_classifier")
        return network.maps((x[:, :1] if grey else x).to(device))[-1].mean((2, 3)).cpu()

    return features


def _check(name: str) -> None:
    if name not in FEATURES:
        raise UserError(f"no features are called '{name}'{did_you_mean(name, FEATURES)}")


def _sized(network: Features, edge: int) -> Features:
    """`network`, for images of one size."""

    def features(x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != (edge, edge):
            raise UserError(f"resnet20 needs images of {edge}×{edge} pixels, got {x.shape[-1]}×{x.shape[-2]}; take vgg16_relu4_3")
        return network(x)

    return features


def load_maps(name: str, weights: Path | None = None) -> Features:
    """The same features at all places, (B, D, h, w): for distances between the places of two pictures.

    Raises:
        UserError: see `load_features`; networks without named layers give no maps here.
    """
    which, _, layer = name.partition("_")
    if name not in LAYERED:
        raise UserError(f"no maps of features are called '{name}'{did_you_mean(name, LAYERED)}")
    network, count = load_classic(which, weights), LAYERS[which].index(layer) + 1
    return lambda x: network(x, count)[-1]


@torch.no_grad()
def collect(features: Features, images: Iterable[Tensor], batch: int = 50) -> Tensor:
    """(N, D) features of pictures (C, H, W) or batches (B, C, H, W) in [-1, 1]; grey is repeated. `batch` changes nothing but memory."""
    out, waiting = [], []
    for x in images:
        x = x if x.ndim == 4 else x[None]
        waiting.append(x.expand(-1, 3, -1, -1) if x.shape[1] == 1 else x)
        if sum(map(len, waiting)) >= batch:
            out += [features(part) for part in torch.cat(waiting).split(batch)]
            waiting = []
    if waiting:
        out += [features(part) for part in torch.cat(waiting).split(batch)]
    return torch.cat(out)

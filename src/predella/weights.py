"""Standard weights of known networks: from a folder, the cache or their official address, known by their checksum.

What is missing is said with the remedy. A .pth file is read only when its checksum is the official one, and without running code
from it.
"""

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from predella.errors import UserError
from predella.nn.classics import VGG16, AlexNet, CIFARResNet20, FIDInception

log = logging.getLogger(__name__)
ENVIRONMENT = "PREDELLA_WEIGHTS"


@dataclass(frozen=True)
class Classic:
    """A network with known weights: its class, the official address, and how its checksum (sha256) begins.

    Attributes:
        digest: sha256 over the used tensors in half precision, by name; safetensors copies are known by it. "" = only the
            official file is taken.
        prefix: of the parameters that are used.
        stem: how safetensors copies are called; "" = as the network.
    """

    build: type[nn.Module]
    url: str
    checksum: str
    digest: str = ""
    prefix: str = "features."
    stem: str = ""


_TORCH = "https://download.pytorch.org/models/"
CLASSICS = {
    "vgg16": Classic(VGG16, _TORCH + "vgg16-397923af.pth", "397923af", "68216d6d59a14408319c84f6458a30551db38be6584cfabd26964f9326d7ac8a"),
    "alexnet": Classic(
        AlexNet, _TORCH + "alexnet-owt-7be5be79.pth", "7be5be79", "28ed56130fbe96f314c71abada9b1d26748e0f520d265a8aa6107b4360f9d993"
    ),
    "inception": Classic(
        FIDInception,
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d",
        prefix="",
    ),
    "resnet20": Classic(
        CIFARResNet20,
        "https://github.com/akamaster/pytorch_resnet_cifar10/raw/master/pretrained_models/resnet20-12fca82f.th",
        "12fca82f",
        prefix="module.",
    ),
}
_HEADS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1/"
LPIPS = {
    "vgg16": Classic(
        VGG16, _HEADS + "vgg.pth", "md5:d507d7349b931f0638a25a48a722f98a",
        "f6d1b1c272a978d0de2c3e3e6ca34d4e33a0b641c36dc4faeea2f30c9269e837", "vgg.", "lpips_heads"
    ),
    "alexnet": Classic(
        AlexNet, _HEADS + "alex.pth", "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        "00b197d3d7bde1e468408b90f4c9d0a99187b9ff28c45d1fa4d0f7197bd9585a", "alex.", "lpips_heads"
    ),
}  # fmt: skip
LAYERS = {
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
    "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5"),
}
LEAST = {"vgg16": (1, 2, 4, 8, 16), "alexnet": (31,) * 5}  # edges that the layers need


def load_classic(which: str, weights: Path | None = None) -> nn.Module:
    """VGG16, AlexNet, FIDInception or CIFARResNet20 with the standard weights, in evaluation mode.

    Args:
        weights: a folder that holds the network's weights; None: $PREDELLA_WEIGHTS, the cache, the official address.

    Raises:
        UserError: weights that can't be had, or are not the standard ones.
    """
    classic = CLASSICS[which]
    tensors = _find(which, classic, weights)
    tensors = {k: v.float() for k, v in tensors.items() if k.startswith(classic.prefix) and not k.startswith("AuxLogits.")}
    if classic.prefix == "module.":  # of a network that was trained on several devices
        tensors = {k.removeprefix(classic.prefix): v for k, v in tensors.items()}
    network = classic.build().float()
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"the weights of {which} have other parameters than expected ({line}); get them from {classic.url}") from None
    return network.eval().requires_grad_(False)


def _find(which: str, classic: Classic, weights: Path | None) -> dict[str, Tensor]:
    folder = weights or (Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else None)
    official = classic.url.rsplit("/", 1)[-1]
    stem = classic.stem or which
    remedy = f"put {official} (from {classic.url}) there" + (f", or the same as {stem}*.safetensors" if classic.digest else "")
    if which in LPIPS:
        remedy += f", and for LPIPS its heads, {LPIPS[which].url}"
    if folder is not None:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder of weights; {remedy}")
        for file in sorted(folder.glob(f"{stem}*.safetensors")) if classic.digest else ():
            try:
                tensors = load_file(file)
            except SafetensorError as error:
                raise UserError(f"{file} is no readable safetensors file ({error}); {remedy}") from None
            if half_digest(tensors, classic.prefix) != classic.digest:
                raise UserError(f"{file} does not hold the standard weights of {which}, which its numbers are named after; {remedy}")
            return tensors
        if (folder / official).exists():
            return _read_official(folder / official, classic)
        raise UserError(f"{folder} holds no weights of {which}; {remedy}")
    import pooch

    cache = Path(pooch.os_cache("predella"))
    logging.getLogger("pooch").setLevel(logging.ERROR)
    log.info("%s: looking for it in %s, else fetching it from %s", which, cache, classic.url)
    try:
        file = Path(pooch.retrieve(classic.url, None, fname=official, path=cache, progressbar=False))
    except Exception as error:
        what = f"the weights of {which} could not be fetched from {classic.url} ({type(error).__name__})"
        also = f" (for LPIPS also its heads, {LPIPS[which].url})" if which in LPIPS else ""
        raise UserError(f"{what}; put {official}{also} into a folder and name it by --weights or ${ENVIRONMENT}") from None
    return _read_official(file, classic)


def load_lpips_heads(which: str, weights: Path | None = None) -> list[Tensor]:
    """The channels' weights (C,) of each of the five maps of LPIPS, version 0.1, for "vgg16" or "alexnet"; see `load_classic`."""
    heads = LPIPS[which]
    tensors = _find(f"lpips ({which})", heads, weights)
    prefix = "lin" if "lin0.model.1.weight" in tensors else heads.prefix
    return [tensors[f"lin{i}.model.1.weight" if prefix == "lin" else f"{prefix}lin{i}"].float().flatten() for i in range(5)]


def half_digest(tensors: dict[str, Tensor], prefix: str) -> str:
    """sha256 over the names and half-precision values of the tensors whose names begin with `prefix`."""
    digest = hashlib.sha256()
    for name in sorted(k for k in tensors if k.startswith(prefix)):
        digest.update(name.encode())
        digest.update(tensors[name].half().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read_official(file: Path, classic: Classic) -> dict[str, Tensor]:
    """Tensors only, and only from the official file: `weights_only` runs no code from it."""
    kind, _, start = classic.checksum.rpartition(":")
    if not hashlib.new(kind or "sha256", file.read_bytes()).hexdigest().startswith(start):
        raise UserError(f"{file} was altered or cut short: its {kind or 'sha256'} does not begin with {start}; get it from {classic.url}")
    found = torch.load(file, map_location="cpu", weights_only=True)
    return found.get("state_dict", found)

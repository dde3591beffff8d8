"""Latents as files: images in, one safetensors file out, and back without loss."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from predella.apps import density
from predella.apps.device import device_of
from predella.atomic import atomic_write
from predella.errors import UserError, not_found
from predella.image.files import Picture
from predella.image.fit import Box, fit_square, pad_to
from predella.models.coverage_quality import CoverageQuality
from predella.models.reversible import Reversible

Encodes = Reversible | CoverageQuality
FORMAT = "predella latents 1"


@dataclass(frozen=True)
class Latent:
    """One encoded image.

    Attributes:
        name: of the image, without folder and ending.
        values: (C, h, w) the full latent, or (dims,) the prior's dimensions.
        size: (height, width) of the image, before padding.
        bits: 8 or 16, of the image.
    """

    name: str
    values: Tensor
    size: tuple[int, int]
    bits: int = 8


def prepared(picture: Picture, name: str, model: Reversible, square: bool, box: Box | None = None,
             say: Callable[[str], None] = lambda note: None) -> Tensor:  # fmt: skip
    """(1, C, H, W) that the model's encoder takes; what is transparent is white.

    Args:
        square: cut and resample to the size the prior describes; else the border is repeated to a size that divides.
        say: hears that something is transparent, or left out.

    Raises:
        UserError: another number of channels, or a box outside the picture.
    """
    pixels, channels = picture.pixels, model.config.channels
    if pixels.shape[1] != channels:
        kinds = {1: "grey (1 channel)", 3: "colour (3 channels)"}
        raise UserError(f"{name} is {kinds[pixels.shape[1]]}, this model takes {kinds[channels]}; convert the image first")
    if picture.alpha is not None:
        pixels = picture.on_white()[:, :channels]
        for note in picture.notes_on_white(name):
            say(note)
    try:
        x = fit_square(pixels, model.config.size, box, model.config.surround) if square else pad_to(pixels, model.factor)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    height, width = picture.size
    if square and box is None and height != width and not model.config.surround:
        say(f"{name} has {width}×{height} pixels; its central square is made {model.config.size}×{model.config.size}")
    return x.to(device_of(model))


@torch.no_grad()
def encode(model: Encodes, picture: Picture, name: str, restricted: bool = False, box: Box | None = None,
           say: Callable[[str], None] = lambda note: None) -> Latent:  # fmt: skip
    """The full latent of an image of any size, or with `restricted` the prior's dimensions of its central square.

    Of a density of pixels it is the middle of the posterior, which says less than the image.

    Args:
        name: of the image's file; the latent carries it without folder and ending.
        say: hears what a user should know of how the image was made to fit.
    """
    if isinstance(model, CoverageQuality):
        x, _, notes = density.prepared(picture, model, name, box)
        for note in notes:
            say(note)
        return Latent(Path(name).stem, density.code(model, x)[0], (model.config.size,) * 2)
    z = model.encode(prepared(picture, name, model, restricted, box, say))
    size = (model.config.size,) * 2 if restricted else picture.size
    try:
        values = model.code(z) if restricted else z
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
    return Latent(Path(name).stem, values[0].cpu(), (size[0], size[1]), picture.bits)


@torch.no_grad()
def decode(model: Encodes, latent: Latent) -> Tensor:
    """(1, C, height, width) in [-1, 1], cut to the image's own size."""
    if isinstance(model, CoverageQuality):
        return density.decoded(model, latent.values[None])
    z = latent.values[None].to(device_of(model))
    try:
        x = model.decode(model.place(z) if z.ndim == 2 else z)
    except ValueError as error:
        raise UserError(f"{latent.name}: {error}") from None
    return x[..., : latent.size[0], : latent.size[1]].clamp(-1, 1).cpu()


def write_latents(latents: list[Latent], model: Encodes, file: Path, force: bool = False) -> None:
    """One safetensors file: a tensor an image, and what is needed to decode them."""
    about = {"format": FORMAT, "model": fingerprint(model), "names": json.dumps([k.name for k in latents]),
             "sizes": json.dumps([k.size for k in latents]), "bits": json.dumps([k.bits for k in latents])}  # fmt: skip
    data = save({f"latent.{i}": k.values.contiguous() for i, k in enumerate(latents)}, about)
    with atomic_write(file, force) as stream:
        stream.write(data)


def read_latents(file: Path, model: Encodes) -> Iterator[Latent]:
    """What `write_latents` wrote with this model.

    Raises:
        UserError: no such file, not a latent file, made by another model, another shape than its picture's, or numbers that are
            not finite.
    """
    if file.is_dir():
        raise UserError(f"{file} is a folder; give a file written by `predella encode`")
    if not file.is_file():
        raise not_found(file, "give a file written by `predella encode`")
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
            tensors = {k: opened.get_tensor(k) for k in opened.keys()}
    except SafetensorError:
        raise UserError(f"{file} is no safetensors file, or a damaged one; give a file written by `predella encode`") from None
    if about.get("format") != FORMAT:
        raise UserError(f"{file} holds no latents; give a file written by `predella encode`")
    if about.get("model") != fingerprint(model):
        raise UserError(f"{file} was encoded by another model or other weights; decode it with the model that made it")
    try:
        listed = list(zip(*(json.loads(about[k]) for k in ("names", "sizes", "bits")), strict=True))
        rows = [
            (Path(str(name)).name, tensors[f"latent.{i}"], (int(h), int(w)), int(bits)) for i, (name, (h, w), bits) in enumerate(listed)
        ]
    except (KeyError, ValueError, TypeError) as error:
        missing = f"it has no {error}" if isinstance(error, KeyError) else "its lists of names, sizes and bits don't fit together"
        raise UserError(f"{file} is damaged: {missing}; encode the images again") from None
    for name, values, size, bits in rows:
        if not values.is_floating_point():
            raise UserError(f"{file}: the latent of '{name}' holds {values.dtype}, floating-point numbers are needed")
        if bits not in (8, 16) or not _fits(model, tuple(values.shape), size):
            what = f"{tuple(values.shape)} numbers for {size[1]}×{size[0]} pixels of {bits} bits"
            raise UserError(f"{file}: the latent of '{name}' has {what}, which don't fit together; encode the image again")
        if not torch.isfinite(values).all():
            bad = int((~torch.isfinite(values)).sum())
            raise UserError(f"{file}: the latent of '{name}' is not finite: {bad} of {values.numel()} numbers; encode the image again")
        yield Latent(name, values.float(), size, bits)


def _fits(model: Encodes, shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Whether a latent of that shape belongs to a picture of that size."""
    if isinstance(model, CoverageQuality):
        return shape == (model.config.latent,) and size == (model.config.size,) * 2
    full = (model.config.size,) * 2 != size or len(shape) == 3
    return not full or shape == model.latent_shape(*(s + -s % model.factor for s in size))


def fingerprint(model: Encodes) -> str:
    """A checksum of the model's weights."""
    digest = sha256(model.name.encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()

"""Scene layout: the condition is a label map; the photo is to be found."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from predella.config import config
from predella.errors import UserError
from predella.image.contract import from_uint8
from predella.image.resize import fitted, resize
from predella.tasks.base import Batch, Pictures

FACADES = (  # the colours of the label maps of the CMP facades, as pix2pix's pairs show them
    ("background", "0000de"), ("facade", "0032ff"), ("window", "0080ff"), ("door", "00d0ff"), ("cornice", "20ffe0"),
    ("sill", "70ff90"), ("balcony", "c0ff40"), ("blind", "fff000"), ("decoration", "ffa000"), ("molding", "ff5000"),
    ("pillar", "ff0000"), ("shop", "b00000"),
)  # fmt: skip
NEAR = 0.5  # in [-1, 1]: a colour with a channel farther than this from every class's belongs to none
CLEAR = 0.2  # in [-1, 1]: one farther than this from its class's must be twice as far from the next, or could mean either
FLAT, EVEN = 0.25, 0.05  # in [-1, 1]: a neighbourhood that spans less has one colour, and is no ramp from one to another
SEEN = 256  # edge above which shares are counted at some of the pixels
MUCH = 1 / 3  # of the pixels that belong to no class: a photo, or noise; compressed label maps have a sixth at most
SHARE = 0.005  # of the pixels: so many of one foreign colour are a class that is not known


@config
class Layout:
    """Pairs of photo and label map, which the data stack to six channels (`Source.paired`).

    Args:
        edge: of photo and condition, in pixels.
        shrink: the training crop is `shrink` times as large; photos are resampled, labels become shares of each pixel.
        classes: (name, colour in six hex digits) each.
        encoding: the condition is one channel a class, -1 … 1, or the label map in colours.
    """

    kind: Literal["layout"] = "layout"
    edge: int = 64
    shrink: int = 4
    classes: tuple[tuple[str, str], ...] = FACADES
    encoding: Literal["one_hot", "colors"] = "one_hot"

    def __post_init__(self):
        if self.edge < 2 or self.shrink < 1:
            raise ValueError(f"edge must be at least 2 and shrink at least 1, got {self.edge} and {self.shrink}")
        if len(self.classes) < 2 or any(len(c) != 6 or not _is_hex(c) for _, c in self.classes):
            raise ValueError(f"classes must name two or more colours of six hex digits, got {self.classes}")

    @property
    def channels(self) -> int:
        """Of the condition."""
        return len(self.classes) if self.encoding == "one_hot" else 3

    def crop(self, generator: torch.Generator) -> int:
        return self.edge * self.shrink

    def __call__(self, image: Tensor, seeds: Tensor | None = None) -> Batch:
        """image (B, 6, shrink · edge, …): photo, then label map → photo (B, 3, edge, …), condition (B, channels, edge, …).

        Raises:
            ValueError: pictures that are no pairs.
        """
        if image.shape[1] != 6:
            raise ValueError(
                f"a layout needs photo and label map, 6 channels, got {image.shape[1]}; set data.paired, or --data.paired true"
            )
        size = image.shape[-2] // self.shrink, image.shape[-1] // self.shrink
        photo = image[:, :3] if self.shrink == 1 else resize(image[:, :3], size).clamp(-1, 1)
        return Batch(target=photo, condition=self.encode(image[:, 3:], size))

    def encode(self, labels: Tensor, size: tuple[int, int]) -> Tensor:
        """Label map in colours (B, 3, H, W) → condition (B, channels, *size)."""
        if self.encoding == "colors":
            return labels if labels.shape[-2:] == size else resize(labels, size).clamp(-1, 1)
        nearest = self._nearest(labels)[0][:, None]
        return torch.cat([fitted((nearest == k).to(labels), size) for k in range(len(self.classes))], 1) * 2 - 1

    def check(self, labels: Tensor, name: str) -> None:
        """Refuse a label map (1, 3, H, W) that has a colour of no class or of either of two, beyond what compression smears; with colours
        as they are, none.

        Raises:
            UserError: names the colour, its share, and the known classes.
        """
        if self.encoding == "colors":
            return
        _, least, second = (x[0] for x in self._nearest(labels))
        known = ", ".join(f"{k} #{v}" for k, v in self.classes)
        numbers = (labels.amax() + 1) * 127.5
        if numbers.round() <= len(self.classes) and (labels == labels[:, :1]).all() and least.amax() > 2 / 127.5:
            raise UserError(f"{name} looks like a map of the classes' numbers, 0…{numbers:.0f}; give their colours: {known}")
        strange = (least > NEAR).double().mean()
        if strange > MUCH:
            pair = "; of a photo and its map in one file give the map alone" if labels.shape[-1] == 2 * labels.shape[-2] else ""
            raise UserError(f"{name} is no label map: {strange:.0%} of it has colours of no class; known are: {known} (task.classes){pair}")
        spans = [(F.max_pool2d(c, 3, 1, 1) + F.max_pool2d(-c, 3, 1, 1))[0, 0] for c in labels.split(1, 1)]
        span = torch.stack(spans).amax(0)  # what compression smears is not flat, what is enlarged smoothly not even
        off = ((least > NEAR) & (span < FLAT)) | ((least > CLEAR) & (second < 2 * least) & (span < EVEN))
        pixels = ((labels[0][:, off] + 1) * 127.5).round().long()  # (3, N)
        coarse, counts = torch.unique(pixels // 16, dim=1, return_counts=True)
        if counts.numel() and counts.max() > SHARE * off.numel():
            worst = pixels[:, (pixels // 16 == coarse[:, counts.argmax(), None]).all(0)].float().mean(1).round()
            colour = "".join(f"{int(v):02x}" for v in worst)
            raise UserError(
                f"{name} has {counts.max() / off.numel():.1%} of about #{colour}, which is no class"
                f"{self._either(worst[None, :, None, None] / 127.5 - 1)}; known are: {known} (task.classes)"
            )

    def _either(self, colour: Tensor) -> str:
        """What a colour (1, 3, 1, 1) lies between, if it is near two classes."""
        apart = [(colour - c[:, None, None]).abs().max().item() for c in self._colours(colour)]
        (a, first), (b, second) = sorted(zip(apart, (k for k, _ in self.classes)))[:2]
        return f" but lies between {first} and {second}" if a <= NEAR and b < 2 * a else ""

    def shares(self, labels: Tensor) -> tuple[list[tuple[str, float]], float]:
        """Of a label map (1, 3, H, W): its classes and their shares of the pixels, the largest first, none of no pixel; and the share
        whose colours are no class's."""
        step = max(1, min(labels.shape[-2:]) // SEEN)
        nearest, least, _ = self._nearest(labels[..., ::step, ::step])
        counts = torch.bincount(nearest.long().flatten(), minlength=len(self.classes))
        found = [(name, int(n) / int(counts.sum())) for (name, _), n in zip(self.classes, counts) if n]
        return sorted(found, key=lambda x: -x[1]), (least > NEAR).double().mean().item()

    def check_pictures(self, pictures: Pictures) -> None:
        """Refuse pairs (6, H, W) in 8 bits whose label maps are not of these classes; the first eight are looked at.

        Raises:
            UserError: see `check`; or pictures that are no pairs.
        """
        names = getattr(pictures, "names", None)
        for i in range(min(8, len(pictures))):
            name = names[i] if names else f"picture {i}"
            self.check(from_uint8(pictures[i][3:])[None], f"the right half of {name}, where its label map should be,")

    def residual(self, condition: Tensor, sample: Tensor) -> Tensor:
        """(B,): RMS deviation of the sample from one mean colour a region: no photo's own is 0, and none names its label map.

        It is 0 for a picture that is flat in every class, and about the contrast of the whole for one that ignores the layout.
        """
        shares = ((condition + 1) / 2).flatten(2)  # (B, K, N)
        pixels = sample.flatten(2)
        if self.encoding == "colors":
            shares = F.one_hot(self._nearest(condition)[0].long(), len(self.classes)).to(sample).flatten(1, 2).transpose(1, 2)
        means = pixels @ torch.linalg.pinv(shares)  # (B, 3, K): the colours that explain the sample best
        return (pixels - means @ shares).square().flatten(1).mean(1).sqrt()

    def _colours(self, like: Tensor) -> Tensor:
        """(K, 3) in [-1, 1]."""
        return torch.tensor([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for _, c in self.classes]).to(like) / 127.5 - 1

    def _nearest(self, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) → the number of the class whose colour is nearest (B, H, W), and how far it and the next are (largest channel).

        One class after another, for maps are large and classes many.
        """
        least, second = torch.full_like(labels[:, 0], torch.inf), torch.full_like(labels[:, 0], torch.inf)
        nearest = torch.zeros_like(labels[:, 0], dtype=torch.int16)
        for k, colour in enumerate(self._colours(labels)):
            off = torch.zeros_like(least)
            for channel, value in zip(labels.unbind(1), colour):
                torch.maximum(off, (channel - value).abs_(), out=off)
            nearest.masked_fill_(off < least, k)
            torch.minimum(second, torch.maximum(least, off), out=second)
            torch.minimum(least, off, out=least)
        return nearest, least, second


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdefABCDEF" for c in text)

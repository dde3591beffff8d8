"""What a JPEG file says for certain: each coefficient of its blocks, up to half a quantisation step (ITU-T T.81, A.3)."""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from predella.errors import UserError
from predella.image.color import LUMA, mixed
from predella.image.contract import to_uint8

EDGE = 8  # of a block
UPRIGHT = {2: "-flip horizontal", 3: "-rotate 180", 4: "-flip vertical", 5: "-transpose", 6: "-rotate 90", 7: "-transverse",
           8: "-rotate 270"}  # how jpegtran undoes an EXIF orientation  # fmt: skip
ROUNDING = 2.0  # at most this far inside an interval, so that rounding pixels to 8 bits does not leave it

# RGB to YCbCr of JFIF 1.02, which is full range
_TO_YCC = (LUMA, (-0.168735892, -0.331264108, 0.5), (0.5, -0.418687589, -0.081312411))


@dataclass(frozen=True)
class Plane:
    """One component of a file.

    Attributes:
        levels: (rows, columns, 8, 8) quantised coefficients.
        steps: (8, 8) quantisation table.
        factors: (vertical, horizontal): pixels of the image a sample of the plane.
        offset: what stands for the plane's 0 after 127.5 is taken from 8 bits: 0.5 for luma (0 is 128), 0 for chroma.
    """

    levels: Tensor
    steps: Tensor
    factors: tuple[int, int]
    offset: float


@dataclass(frozen=True)
class Coefficients:
    """All components: Y, or Y, Cb, Cr; `size` = (height, width) in pixels."""

    planes: tuple[Plane, ...]
    size: tuple[int, int]

    def project(self, sample: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] → the same, its coefficients moved into the file's intervals; values may leave [-1, 1].

        A sample of three channels loses its colours if the file is grey.

        Raises:
            ValueError: another size than the file's.
        """
        if tuple(sample.shape[-2:]) != self.size:
            raise ValueError(f"the file has {self.size[1]}×{self.size[0]} pixels, got {sample.shape[-1]}×{sample.shape[-2]}")
        if sample.shape[1] == 1:
            return self._kept(sample, self.planes[0])
        matrix = torch.tensor(_TO_YCC, dtype=torch.float64)
        ycc = mixed(matrix, sample)
        planes = [*self.planes, None, None][:3]
        kept = [ycc[:, i : i + 1] * 0 if p is None else self._kept(ycc[:, i : i + 1], p) for i, p in enumerate(planes)]
        return mixed(torch.linalg.inv(matrix), torch.cat(kept, 1))

    def inside(self, sample: Tensor) -> Tensor:
        """(B,): share of the coefficients whose interval holds those of `sample`, taken as an encoder would."""
        return (self._outside(sample) == 0).float().mean(1)

    def departure(self, sample: Tensor) -> Tensor:
        """(B,): root mean square of how far the coefficients of `sample` are from their intervals, in 8-bit steps."""
        return self._outside(sample).square().mean(1).sqrt()

    def _outside(self, sample: Tensor) -> Tensor:
        """(B, N): of all coefficients of all planes."""
        ycc = sample if sample.shape[1] == 1 else mixed(torch.tensor(_TO_YCC, dtype=torch.float64), sample)
        out = []
        for values, plane in zip(ycc.split(1, 1), self.planes):  # of one channel Y alone
            away = (self._found(values, plane) - plane.levels * plane.steps).abs() - plane.steps / 2
            out.append(away.clamp(min=0).flatten(1))
        return torch.cat(out, 1)

    def _kept(self, x: Tensor, plane: Plane) -> Tensor:
        """(B, 1, H, W), one component."""
        found = self._found(x, plane)
        middle, half = plane.levels * plane.steps, plane.steps / 2
        half = half - torch.minimum(half / 2, torch.tensor(ROUNDING))
        change = _pixels(found.clamp(middle - half, middle + half) - found) / 127.5
        grown = change.repeat_interleave(plane.factors[0], -2).repeat_interleave(plane.factors[1], -1)
        return x + grown[..., : self.size[0], : self.size[1]].to(x)

    def _found(self, x: Tensor, plane: Plane) -> Tensor:
        """(B, 1, H, W) → (B, rows, columns, 8, 8): an encoder's coefficients before they are rounded."""
        rows, columns = plane.levels.shape[:2]
        high, wide = plane.factors  # beyond the border an encoder repeats columns before, rows after it makes planes smaller
        x = F.pad(x.cpu().float() * 127.5, (0, columns * EDGE * wide - self.size[1], 0, -self.size[0] % high), mode="replicate")
        small = F.avg_pool2d(x, plane.factors)
        small = F.pad(small, (0, 0, 0, rows * EDGE - small.shape[-2]), mode="replicate")
        blocks = small.view(len(x), rows, EDGE, columns, EDGE).transpose(2, 3)
        return _basis() @ (blocks - plane.offset) @ _basis().T


def has_jpeglib() -> bool:
    """Whether files' coefficients can be read."""
    try:
        import jpeglib  # noqa: F401
    except ImportError:
        return False
    return True


def check_jpeglib() -> None:
    """Raise UserError if files' coefficients can't be read."""
    if not has_jpeglib():
        raise UserError("reading JPEG coefficients needs jpeglib; run: pip install jpeglib")


def read_coefficients(path: Path | str) -> Coefficients:
    """Of a JPEG file, baseline or progressive, grey or YCbCr.

    Raises:
        UserError: no JPEG, four components, a turned picture, or no jpeglib to read it.
    """
    check_jpeglib()
    import jpeglib

    try:
        with Image.open(path) as image:
            kind, components, turned = image.format, len(image.getbands()), image.getexif().get(0x0112, 1)
            plain = image.info.get("adobe_transform", 1) == 1 or components == 1
            plain &= [layer[0] for layer in getattr(image, "layer", [])] != [82, 71, 66]  # components called R, G, B
    except Exception as error:
        raise UserError(f"{path} can't be read ({error})") from None
    if kind not in ("JPEG", "MPO") or components not in (1, 3) or not plain:
        rule = "only such a file says what to keep, so leave out --exact"
        raise UserError(f"{path} is no grey or YCbCr JPEG file ({kind}, {components} components); {rule}")
    if turned in UPRIGHT:
        remedy = f"jpegtran -copy none {UPRIGHT[turned]} -outfile upright.jpg {path}"
        raise UserError(f"{path} is stored turned (EXIF orientation {turned}); make it upright without loss: {remedy}")
    try:
        file = jpeglib.read_dct(str(path))
    except OSError as error:
        raise UserError(f"{path} can't be read as JPEG ({error})") from None
    sampling = np.asarray(file.samp_factor)
    largest = sampling.max(0)
    if (largest % sampling).any():
        raise UserError(f"{path} has components sampled {sampling.tolist()}, whole ratios are needed; save it again as 4:2:0")
    planes = []
    for i, levels in enumerate([file.Y, file.Cb, file.Cr][:components]):
        steps = torch.from_numpy(np.asarray(file.qt[file.quant_tbl_no[i]], dtype=np.float32))
        vertical, horizontal = (int(n) for n in largest // sampling[i])
        planes.append(Plane(torch.from_numpy(np.array(levels, dtype=np.float32)), steps, (vertical, horizontal), 0.0 if i else 0.5))
    return Coefficients(tuple(planes), (int(file.height), int(file.width)))


def encode(pixels: Tensor, quality: int) -> bytes:
    """(C, H, W) in [-1, 1] → a JPEG file by Pillow, colours at half the size (4:2:0)."""
    array = to_uint8(pixels).cpu()
    picture = Image.fromarray(array[0].numpy() if len(array) == 1 else array.permute(1, 2, 0).numpy())
    with BytesIO() as file:
        picture.save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return file.getvalue()


def coefficients_of(data: bytes) -> Coefficients:
    """Of a JPEG file in memory; errors as `read_coefficients`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.jpg"
        path.write_bytes(data)
        return read_coefficients(path)


def coarseness(file: Path | BytesIO) -> float | None:
    """Mean quantisation step of the luma of a JPEG file, None of another file."""
    try:
        image = Image.open(file)
    except OSError:  # a file that other libraries read
        return None
    with image:
        tables = getattr(image, "quantization", None)
    return float(np.mean(next(iter(tables.values())))) if tables else None


def _basis() -> Tensor:
    """(8, 8) orthonormal DCT-II."""
    n = torch.arange(EDGE, dtype=torch.float64)
    basis = torch.cos((2 * n + 1) * n[:, None] * math.pi / (2 * EDGE)) * math.sqrt(2 / EDGE)
    basis[0] /= math.sqrt(2)
    return basis.float()


def _pixels(blocks: Tensor) -> Tensor:
    """(B, rows, columns, 8, 8) coefficients → (B, 1, 8 · rows, 8 · columns)."""
    values = _basis().T @ blocks @ _basis()
    return values.transpose(2, 3).reshape(len(blocks), 1, EDGE * blocks.shape[1], EDGE * blocks.shape[2])

"""Write a model as ONNX, with dynamic sizes."""

import copy
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from predella.atomic import atomic_write, check_free
from predella.errors import UserError
from predella.models.functional_image import CellPaint, FunctionalImage, locate
from predella.nn.coordinate import quadratic_basis

OPSET = 18


class GridFunction(nn.Module):
    """The exported graph: an image and the coordinates of rows and columns → pixels.

    Inputs: image (1, 3, h, w) float32 in [-1, 1]; y (H,) and x (W,) float64, coordinates in [-1, 1]; scale (2,) float32,
    vertical and horizontal. (float64, because a pixel's centre may lie on the border of two cells.)
    Output: (1, 3, H, W). h, w, H and W are dynamic: `y = (2 * arange(H) + 1) / H - 1`, `scale = (H / h, W / w)` enlarges.
    """

    def __init__(self, model: FunctionalImage):
        super().__init__()
        assert isinstance(model.paint, CellPaint)
        self.paint, self.field = model.paint, model.paint.field

    def forward(self, image: Tensor, y: Tensor, x: Tensor, scale: Tensor) -> Tensor:
        h, w = image.shape[-2:]
        theta = self.paint(image)
        row, dy = locate(y, h)
        column, dx = locate(x, w)
        dy, dx = dy.to(image.dtype), dx.to(image.dtype)
        theta = torch.cat([theta["sine"], theta["cosine"], theta["parabola"]], -1)
        theta = theta[:, row][:, :, column]  # (1, H, W, 3, P)
        offset = torch.stack([dy[:, None].expand(-1, x.shape[0]), dx[None].expand(y.shape[0], -1)], -1)
        decay = self.field.decay(1 / scale**2)
        basis = torch.cat([self.field.basis(offset) * torch.cat([decay, decay]), quadratic_basis(offset)], -1)
        return (theta * basis[None, :, :, None]).sum(-1).permute(0, 3, 1, 2)


def export_onnx(model: FunctionalImage, path: Path | str, force: bool = False) -> None:
    """Write `GridFunction(model)` to `path`.

    Raises:
        UserError: the onnx extra isn't installed, a model that can't be exported, or an existing file.
    """
    path = check_free(Path(path), force)
    if path.suffix != ".onnx":
        raise UserError(f"{path} ends in '{path.suffix}'; an ONNX file ends in .onnx")
    if not isinstance(model, FunctionalImage) or not isinstance(model.paint, CellPaint) or model.config.mask:
        raise UserError("only super-resolution models with cell fields are exported to ONNX; give functional_sr or a run of it")
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"exporting needs {error.name}; install it with pip install onnx onnxscript") from None
    import logging

    for noisy in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    dim = torch.export.Dim
    example = (
        torch.zeros(1, 3, 16, 20),
        torch.linspace(-0.9, 0.9, 33).double(),
        torch.linspace(-0.9, 0.9, 47).double(),
        torch.tensor([2.0, 2.0]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            GridFunction(copy.deepcopy(model).cpu().float()).eval(), example, dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["image", "y", "x", "scale"], output_names=["pixels"],
            dynamic_shapes={"image": {2: dim("h", min=2), 3: dim("w", min=2)}, "scale": None,
                            "y": {0: dim("H", min=2)}, "x": {0: dim("W", min=2)}},
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    onnx.checker.check_model(proto)
    with atomic_write(path, force) as stream:
        stream.write(proto.SerializeToString())

"""Write a model for other runtimes.

predella export MODEL --format onnx --out FILE.onnx

The graph takes image, y, x, scale and gives pixels; every size is dynamic (docs/quickstart.md shows the call).
"""

from pathlib import Path


def add_arguments(parser) -> None:
    parser.add_argument("model", help="a shipped name or a run folder")
    parser.add_argument("--format", default="onnx", help="onnx")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def run(options, rest) -> int:
    from predella.apps.export import export_onnx
    from predella.atomic import check_free
    from predella.cli.shared import open_model
    from predella.errors import UserError

    if options.format != "onnx":
        raise UserError(f"--format must be onnx, got '{options.format}'")
    check_free(options.out, options.force)
    export_onnx(open_model(options.model, "export", cpu=True), options.out, options.force)
    print(f"{options.out}  {options.out.stat().st_size / 1e6:.1f} MB")
    return 0

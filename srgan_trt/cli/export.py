"""`srgan-trt export`: a plan -> a file that other programs run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_checksum, add_opening, add_quiet, opening

if TYPE_CHECKING:
    from .console import Console

LAYOUTS = ("nchw-float", "nhwc-uint8")
"""Those of compiler/export.py, not imported for it: help should come at once."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="PLAN", help="a plan, a model file, its address, or a name, as upscale takes it"
    )
    parser.add_argument("--to", choices=("onnx",), default="onnx", help="kind of the file (default: onnx)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file to write (default: NAME.export.onnx)")
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="of its input and output: float32 (N, 3, H, W) of 0..1, or uint8 (N, H, W, 3) (default: nchw-float)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")
    add_checksum(parser)
    add_quiet(parser, "print errors and warnings only")
    add_opening(parser.add_argument_group("for a model that is not a plan yet"))


def run(args: Namespace, console: Console) -> int:
    """Writes the file and says what its ends are; raises SrganTrtError where that cannot be."""
    from ..compiler.export import export
    from ..resolve import resolve

    plan = resolve(args.model, sha256=args.sha256).plan(**opening(args))
    out = args.output or Path(f"{plan.path.name.removesuffix('.onnx').removesuffix('.plan')}.export.onnx")
    export(plan, out=out, layout=args.layout, overwrite=args.overwrite)
    size = f"{out.stat().st_size / 1e6:.1f} MB"
    console.result(f"{plan.spec.name} -> {out}: x{plan.spec.scale}, image and result {args.layout}, RGB, {size}")
    return 0

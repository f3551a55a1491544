"""`srgan-trt export`: a plan -> files that other programs run."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .options import add_checksum, add_opening, add_quiet, opening

if TYPE_CHECKING:
    from .console import Console

# Those of exports.py and compiler/pixel_ends.py, not imported for it: help should come at once.
LAYOUTS = ("nchw-float", "nhwc-uint8")
DEFAULTS = {"onnx": "{}.export.onnx", "openvino": "{}.xml", "triton": "model_repository/{}"}
"""Kinds of export, and where they go by default, with the plan's name for {}."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="PLAN", help="a plan, a model file, its address, or a name, as upscale takes it"
    )
    parser.add_argument(
        "--to",
        choices=tuple(DEFAULTS),
        default="onnx",
        help="an ONNX file; OpenVINO's .xml and .bin; a model's folder for Triton's model repository (default: onnx)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="PATH",
        help="file or folder to write (default: NAME.export.onnx, NAME.xml or model_repository/NAME)",
    )
    parser.add_argument(
        "--layout",
        choices=LAYOUTS,
        default=LAYOUTS[0],
        help="of its input and output: float32 (N, 3, H, W) of 0..1, or uint8 (N, H, W, 3) (default: nchw-float)",
    )
    parser.add_argument(
        "--fp16", action="store_true", help="weights and arithmetic in float16; for openvino the weights"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist (a folder never is)")
    add_checksum(parser)
    add_quiet(parser, "print errors and warnings only")
    add_opening(parser.add_argument_group("for a model that is not a plan yet"))


def run(args: Namespace, console: Console) -> int:
    """Writes the export and says what its ends are; raises SrganTrtError where that cannot be."""
    from ..exports import export
    from ..resolve import resolve

    plan = resolve(args.model, sha256=args.sha256).plan(**opening(args))
    out = args.output or Path(DEFAULTS[args.to].format(plan.path.name.removesuffix(".onnx").removesuffix(".plan")))
    export(plan, out=out, to=args.to, layout=args.layout, fp16=args.fp16, overwrite=args.overwrite)
    written = [out, out.with_suffix(".bin")] if args.to == "openvino" else out.rglob("*") if out.is_dir() else [out]
    size = f"{sum(path.stat().st_size for path in written if path.is_file()) / 1e6:.1f} MB"
    console.result(f"{plan.spec.name} -> {out}: x{plan.spec.scale}, image and result {args.layout}, RGB, {size}")
    return 0

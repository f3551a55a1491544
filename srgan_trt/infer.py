"""`python -m srgan_trt.infer --modelPath M --inputPath P --outputPath O`: the command of the project this grew from."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .cli.main import main as command


def main(argv: Sequence[str] | None = None) -> int:
    """Upscales one picture; an output that exists is replaced. Returns the exit status (see `cli.main`)."""
    parser = argparse.ArgumentParser(prog="python -m srgan_trt.infer", description="Upscale one picture.")
    parser.add_argument("--modelPath", required=True, metavar="FILE", help="a Keras generator, an .onnx, or a plan")
    parser.add_argument("--inputPath", required=True, metavar="INPUT", help="a picture, or its http(s) address")
    parser.add_argument("--outputPath", required=True, metavar="OUTPUT", help="a .png, .jpg, .webp or .tiff file")
    args = parser.parse_args(argv)
    options = [f"--model={args.modelPath}", f"--output={args.outputPath}", "--overwrite", "--denoise=off"]
    return command(["upscale", *options, "--", args.inputPath])


if __name__ == "__main__":
    sys.exit(main())

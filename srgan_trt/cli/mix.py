"""`srgan-trt mix`: two plans of one network, before and after its adversarial training -> one between them."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from .argument_types import number_between
from .options import add_quiet

if TYPE_CHECKING:
    from .console import Console


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("pixel", metavar="PIXEL", help="a plan in fp32 trained on pixels, or a name or model file")
    parser.add_argument("gan", metavar="GAN", help="the same after its adversarial training")
    parser.add_argument(
        "--texture",
        type=number_between(0, 1),
        required=True,
        metavar="0..1",
        help="0 for the weights of PIXEL, 1 for those of GAN",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PLAN", help="file to write")
    add_quiet(parser, "do not print the table")


def run(args: Namespace, console: Console) -> int:
    """Builds the plan, and prints what was found and proved. Raises what `srgan_trt.mix` raises."""
    from ..compiler.mixing import mix
    from ..resolve import resolve
    from .info import describe_build

    begin = time.perf_counter()
    plan = mix(resolve(args.pixel).plan(), resolve(args.gan).plan(), texture=args.texture, out=args.output)
    console.result(describe_build(plan, seconds=time.perf_counter() - begin))
    return 0

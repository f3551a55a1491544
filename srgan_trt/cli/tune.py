"""`srgan-trt tune`: a photo is run in many ways, and the fastest is kept for this plan and machine."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from contextlib import closing
from typing import TYPE_CHECKING

from ..runtime.tuning import DEFAULT
from .argument_types import positive
from .options import add_checksum, add_device, add_precision

if TYPE_CHECKING:
    from ..runtime.tuning import Setting, Tuning
    from .console import Console

_SIZE = (320, 480)
_GPU_SIZE = (1080, 1920)
"""What a GPU takes as one tile tells nothing about tiles."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", metavar="FILE", help="model, as --model of upscale takes it (default: that of upscale)"
    )
    add_checksum(parser)
    add_device(parser)
    add_precision(parser)
    parser.add_argument(
        "--seconds", type=positive, default=20, metavar="N", help="time to take, in seconds, about (default: 20)"
    )


def run(args: Namespace, console: Console) -> int:
    """Tunes the plan of the model and tells what was found.

    Raises what `open_plan` and `open_pipeline` raise, and DeviceError where there is nothing to choose.
    """
    from ..resolve import open_plan
    from ..runtime.devices import open_pipeline
    from .sample_image import photo

    plan = open_plan(args.model, sha256=args.sha256)
    with closing(open_pipeline(plan, device=args.device, precision=args.precision)) as pipeline:
        size = _SIZE if pipeline.info["device"] == "cpu" else _GPU_SIZE
        tuning = pipeline.tune(photo(*size), seconds=args.seconds)
        console.result(describe_tuning(tuning, name=plan.spec.name, precision=str(pipeline.info["precision"])))
    return 0


def describe_tuning(tuning: Tuning, *, name: str, precision: str) -> str:
    """The trials as a table, fastest first, and what follows from them."""
    height, width = tuning.size
    lines = [f"{name} in {precision}, a picture of {width} x {height}:", f"{'tiles':<68}{'ms':>10}{'rounds':>8}"]
    for trial in sorted(tuning.trials, key=lambda trial: trial.milliseconds):
        lines.append(f"{_format_setting(trial.setting):<68}{trial.milliseconds:>10.1f}{trial.rounds:>8}")
    if tuning.best == DEFAULT:
        lines.append("nothing is faster than the default by 3 % or more: it stays")
    else:
        lines.append(f"{_format_setting(tuning.best)}: {tuning.gain:.2f} times as fast as the default, from now on")
    return "\n".join(lines)


def format_tuning(tuning: Tuning) -> str:
    """In a few words."""
    if tuning.best == DEFAULT:
        return f"the default is best ({tuning.date})"
    return f"{_format_setting(tuning.best)}, {tuning.gain:.2f} times as fast as the default ({tuning.date})"


def _format_setting(setting: Setting) -> str:
    parts = []
    if setting.tiling is not None:
        tiling = setting.tiling
        batches = f" in batches of {tiling.batch}" if tiling.batch > 1 else ""
        parts.append(f"at most {tiling.max_tile}, {tiling.streams} at once{batches}")
    if setting.lowering is not None:
        parts.append(f"convolutions {setting.lowering}")
    if setting.prelu is not None:
        parts.append("PReLUs inside the convolutions" if setting.prelu == "inside" else "PReLUs apart")
    return ", ".join(parts) or "default"

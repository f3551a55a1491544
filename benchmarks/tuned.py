"""`srgan-trt tune` for ours, before anything is timed; kept in the run's own cache, where all that follows finds it."""

from __future__ import annotations

import dataclasses
import sys
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from baselines import has_bf16
from isolation import in_fresh_process

from srgan_trt import load_plan
from srgan_trt.cli.sample_image import photo
from srgan_trt.runtime.devices import open_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from baselines import Plans

_SIZE = (320, 480)


def tune(plans: Plans, *, seconds: float) -> dict[str, Any]:
    """What was found, by the entrant's name: the setting, and how many times as fast as the default it was."""
    wanted: dict[str, tuple[Path, str | None]] = {"srgan-trt fp32": (plans.fp32, "fp32")}
    if has_bf16():
        wanted["srgan-trt bf16"] = (plans.fp32, "bf16")
    if plans.int8 is not None:
        wanted["srgan-trt int8"] = (plans.int8, None)
    found = {}
    for name, (file, precision) in wanted.items():
        print(f"  tuning {name} ...", end="", file=sys.stderr, flush=True)
        found[name] = in_fresh_process(partial(_tune, file, precision, seconds))
        print(f" {found[name]['gain']:.2f}", file=sys.stderr, flush=True)
    return found


def _tune(file: Path, precision: str | None, seconds: float) -> dict[str, Any]:
    with closing(open_pipeline(load_plan(file), device="cpu", precision=precision)) as pipeline:
        tuning = pipeline.tune(photo(*_SIZE), seconds=seconds)
    return {"setting": dataclasses.asdict(tuning.best), "gain": tuning.gain, "size": list(tuning.size)}

#!/usr/bin/env python3
"""Gives models of the package a plan in int8 each, beside the one in fp32: what CPUs with int8 run by default.

Usage: python scripts/int8_plans.py NAME [NAME ...]

What the gate of int8 refuses is left without one, which is said. So is how fast the plan is beside the others on this
machine: the defaults of kinds of CPUs (srgan_trt/runtime/cpu/measured.py) hold for every model of the package, so one
that int8 does not make faster where the table says so should have no such plan. Takes minutes for each; it needs no
Keras.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from srgan_trt import Upscaler, load_plan
from srgan_trt.cli.sample_image import photo
from srgan_trt.compiler.conversion import convert_plan
from srgan_trt.errors import DeviceError, ModelError
from srgan_trt.models.registry import SHIPPED

_ROUNDS = 5
_SIZE = (320, 480)


def add_int8(folder: Path) -> Path | None:
    """Writes NAME/NAME.int8.plan.onnx beside the plan in the folder NAME; None, and none there, if int8 is refused."""
    name = folder.name
    out = folder / f"{name}.int8.plan.onnx"
    out.unlink(missing_ok=True)
    try:
        convert_plan(load_plan(folder / f"{name}.plan.onnx"), out, precision="int8")
    except ModelError as error:
        print(f"{name} has no plan in int8: {error}")
        return None
    print(f"{out.name}: {out.stat().st_size / 1e6:.2f} MB")
    _tell_times(name)
    return out


def _tell_times(name: str) -> None:
    """Medians of whole calls in turns, on this machine's CPU."""
    picture = photo(*_SIZE)
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        ups = {}
        for precision in ("fp32", "bf16", "int8"):
            try:
                ups[precision] = stack.enter_context(Upscaler(name, device="cpu", precision=precision))
            except DeviceError as error:
                print(f"not timed: {error}")
                continue
            ups[precision](picture)
        for _ in range(_ROUNDS):
            for precision, up in ups.items():
                begin = time.perf_counter()
                up(picture)
                times.setdefault(precision, []).append(time.perf_counter() - begin)
        told = [f"{precision} {statistics.median(values) * 1e3:.0f} ms" for precision, values in times.items()]
        print(f"{name}, {_SIZE[1]} x {_SIZE[0]} on {next(iter(ups.values())).info['name']}: {', '.join(told)}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for each in sys.argv[1:]:
        add_int8(SHIPPED / each)

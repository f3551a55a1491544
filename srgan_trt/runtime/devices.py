"""Which device runs a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import DeviceError

if TYPE_CHECKING:
    from ..compiler.plan import Plan
    from .pipeline import Pipeline

DEVICES = ("auto", "cpu")
"""What `open_pipeline` takes in this version."""
_GPU_NAMES = ("gpu", "cuda", "nvidia", "tensorrt", "trt")


def open_pipeline(plan: Plan, *, device: str = "auto", precision: str | None = None) -> Pipeline:
    """A pipeline that runs `plan`; close it, or use it in a `with` of `contextlib.closing`.

    device: "cpu", or "auto" for the fastest one here (in this version always the CPU).
    precision: of the device's arithmetic: "fp32", "bf16", or None for the fastest that keeps the picture's
    levels (bf16 where the CPU has it, for 8-bit pictures).

    Raises DeviceError if the device or the precision is not to be had.
    """
    name = device.lower()
    if name.split(":")[0] in _GPU_NAMES:
        raise DeviceError(
            f"device {device!r}: this version of srgan-trt has no GPU engine, it runs on the CPU: use --device cpu"
        )
    if name not in DEVICES:
        raise DeviceError(f"there is no device {device!r}: use one of {', '.join(DEVICES)}")
    from .openvino import CpuPipeline

    return CpuPipeline(plan, precision=precision)

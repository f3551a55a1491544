"""Which device runs a plan."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

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


def cpu_facts() -> dict[str, Any]:
    """What runs plans on the CPU: name, cores, engine, capabilities (of the engine, in its words), and precision: what
    8-bit pictures run in unless asked for otherwise.

    Raises DeviceError if OpenVINO cannot be loaded or finds no CPU that it can use.
    """
    try:
        import openvino
    except ImportError as error:
        raise DeviceError(f"OpenVINO cannot be loaded ({error}): pip install --force-reinstall openvino") from error
    from .openvino import _choose_precision, usable_cores

    core = openvino.Core()
    try:
        capabilities = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        name = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
    except RuntimeError as error:
        raise DeviceError(f"OpenVINO finds no CPU that it can use: {' '.join(str(error).split())[:200]}") from error
    return {
        "name": name,
        "cores": usable_cores(),
        "engine": f"OpenVINO {openvino.__version__.split('-')[0]}",
        "capabilities": capabilities,
        "precision": _choose_precision(None, "BF16" in capabilities)[0],
    }


def nvidia_gpus() -> list[str] | None:
    """Names of the NVIDIA GPUs that the driver (CUDA driver API) lists; None where there is no driver."""
    import ctypes

    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return []
    names = []
    for number in range(count.value):
        device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
        if driver.cuDeviceGet(ctypes.byref(device), number) == 0 and driver.cuDeviceGetName(name, 256, device) == 0:
            names.append(name.value.decode("utf-8", "replace"))
    return names

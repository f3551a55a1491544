"""NVIDIA GPUs through CUDA's driver API: which there are, whose turn a thread's context is, and what its errors mean.

The driver is reached by cuda.core and cuda.bindings, which NVIDIA keeps; libcudart is not used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...errors import DeviceError, DeviceLostError, DeviceMemoryError, missing

_CODE = re.compile(r"CUDA_ERROR_[A-Z0-9_]+")
_OUT_OF_MEMORY = "CUDA_ERROR_OUT_OF_MEMORY"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True, slots=True)
class Gpu:
    """Facts about one GPU."""

    number: int
    """As CUDA counts, which is the N of ``cuda:N``."""
    name: str
    compute_capability: tuple[int, int]
    driver: str
    """The newest CUDA that the driver speaks, "13.0"."""
    memory: int
    """Bytes, in all."""
    multiprocessors: int


def gpus() -> list[Gpu] | None:
    """The GPUs that the driver lists; None where there is no driver.

    Raises MissingPackageError without cuda-bindings, DeviceError if the driver fails.
    """
    driver = bindings()
    try:
        (status,) = driver.cuInit(0)
    except RuntimeError:  # cuda.pathfinder's DynamicLibNotFoundError
        return None
    if int(status) == _NO_DEVICE:
        return []
    checked((status,))
    version = checked(driver.cuDriverGetVersion())
    return [_facts(driver, number, version) for number in range(checked(driver.cuDeviceGetCount()))]


def find_gpu(number: int) -> Gpu:
    """The GPU of that number. Raises MissingPackageError without cuda-bindings, DeviceError if it is not there."""
    found = gpus()
    if found is None:
        raise DeviceError("there is no NVIDIA driver here: install one, or use --device cpu")
    if not 0 <= number < len(found):
        names = ", ".join(f"{gpu.number} ({gpu.name})" for gpu in found) or "none"
        raise DeviceError(f"there is no GPU {number}: the driver lists {names}")
    return found[number]


def bindings() -> Any:
    """cuda.bindings.driver. Raises MissingPackageError where it is not installed."""
    try:
        return import_module("cuda.bindings.driver")
    except ImportError:
        raise missing("cuda-bindings", "tensorrt", "use an NVIDIA GPU") from None


def core() -> Any:
    """cuda.core. Raises MissingPackageError where it is not installed."""
    try:
        return import_module("cuda.core")
    except ImportError:
        raise missing("cuda-core", "tensorrt", "use an NVIDIA GPU") from None


def checked(answer: tuple[Any, ...]) -> Any:
    """What a function of cuda.bindings.driver returned beside its status: one value, a tuple of several, or None.

    Raises as `cuda_errors` does.
    """
    status, *values = answer
    if int(status) != 0:
        name = getattr(status, "name", None) or f"CUDA_ERROR_{int(status)}"
        raise translated(name)
    return values[0] if len(values) == 1 else tuple(values) or None


@contextmanager
def cuda_errors() -> Iterator[None]:
    """Inside, errors of cuda.core become DeviceMemoryError (out of memory) or DeviceLostError."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        # The class of cuda.core's errors is not among its public names; their messages begin with CUDA's own name.
        found = _CODE.match(str(error))
        if found:
            raise translated(found.group()) from error
        if not isinstance(error, RuntimeError):
            raise
        raise translated(str(error)) from error  # "Failed to create CUDA event": cuda.core does not say why


def translated(code: str) -> DeviceError:
    """The error to raise for CUDA's `code`, "CUDA_ERROR_LAUNCH_FAILED"."""
    if code == _OUT_OF_MEMORY:
        return DeviceMemoryError("the GPU has no memory left: use a smaller tile or batch, or free memory on it")
    return DeviceLostError(
        f"the GPU failed ({code}): open another Upscaler, in a new process if it fails there too, or use --device cpu"
    )


def free_memory() -> int:
    """Bytes that are free on the GPU whose context is current."""
    free, _ = checked(bindings().cuMemGetInfo())
    return int(free)


@contextmanager
def current(number: int) -> Iterator[int]:
    """Inside, the GPU's primary context is this thread's; afterwards the one that was current before is so again.

    number: of the GPU, or cuda.core's Device of it. Gives the handle of the context that was current, 0 if there was
    none. Raises DeviceError.
    """
    driver = bindings()
    before = checked(driver.cuCtxGetCurrent())
    with cuda_errors():
        core().Device(number).set_current()
    try:
        yield int(before)
    finally:
        if int(before):
            # A context that its owner destroyed meanwhile is not ours to complain about.
            driver.cuCtxSetCurrent(before)


def _facts(driver: Any, number: int, version: int) -> Gpu:
    device = checked(driver.cuDeviceGet(number))
    attributes = driver.CUdevice_attribute

    def attribute(name: str) -> int:
        return int(checked(driver.cuDeviceGetAttribute(getattr(attributes, f"CU_DEVICE_ATTRIBUTE_{name}"), device)))

    return Gpu(
        number=number,
        name=checked(driver.cuDeviceGetName(256, device)).split(b"\0")[0].decode("utf-8", "replace"),
        compute_capability=(attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")),
        driver=f"{version // 1000}.{version % 1000 // 10}",
        memory=int(checked(driver.cuDeviceTotalMem(device))),
        multiprocessors=attribute("MULTIPROCESSOR_COUNT"),
    )

"""The kernels on the GPU that is there, called as tests/cuda_host/kernels.py calls their host build."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.runtime.gpu.device import Gpu, bindings, checked, core, current, find_gpu, free_memory
from srgan_trt.runtime.gpu.kernels import PixelKernels
from srgan_trt.runtime.gpu.launch_geometry import LaunchGeometry

_ALIGNED = 256
"""What the driver's allocations are aligned to, at least."""


@cache
def _kernels(gpu: Gpu) -> PixelKernels:
    return PixelKernels(gpu)


def launch(name: str, geometry: LaunchGeometry, *arguments: NDArray | ctypes._SimpleCData) -> None:
    """Copies every array to the GPU, to an address that is aligned as the array's is; launches; copies all back."""
    driver, gpu = bindings(), find_gpu(0)
    with current(gpu.number), ExitStack() as stack:
        needed = sum(argument.nbytes + _ALIGNED for argument in arguments if isinstance(argument, np.ndarray))
        if needed > (free := free_memory()):
            pytest.skip(f"it takes {needed / 1e9:.1f} GB of the GPU's memory, of which {free / 1e9:.1f} are free")
        values: list[Any] = []
        copies: list[tuple[NDArray, int]] = []
        for argument in arguments:
            if not isinstance(argument, np.ndarray):
                values.append(np.dtype(type(argument)).type(argument.value))
                continue
            memory = checked(driver.cuMemAlloc(argument.nbytes + _ALIGNED))
            stack.callback(driver.cuMemFree, memory)
            address = int(memory) + argument.ctypes.data % _ALIGNED
            checked(driver.cuMemcpyHtoD(address, argument.ctypes.data, argument.nbytes))
            copies.append((argument, address))
            values.append(address)
        stream = core().Device(0).create_stream()
        stack.callback(stream.close)
        _kernels(gpu).launch(stream, name, geometry, *values)
        stream.sync()
        for array, address in copies:
            if array.flags.writeable:
                checked(driver.cuMemcpyDtoH(array.ctypes.data, address, array.nbytes))

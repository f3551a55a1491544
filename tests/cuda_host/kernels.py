"""Launches the host build of the CUDA kernels on NumPy arrays, as the pipeline launches the real ones.

With SRGAN_TRT_ON_GPU=1 the kernels themselves are launched, on the GPU that is there: the same tests then are about
the machine code.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.runtime.gpu.launch_geometry import TILE_JOB, LaunchGeometry, kernel_name, pack_launch, unpack_launch

from . import build

SANITIZE = os.environ.get("SRGAN_TRT_CUDA_HOST_SANITIZE") == "1"
"""Whether this process runs the sanitized build; test_sanitized.py starts such a process."""


ON_GPU = os.environ.get("SRGAN_TRT_ON_GPU") == "1"


@dataclass(frozen=True)
class Counts:
    """What a launch did to global memory: sectors of 32 bytes, distinct in each block; accesses by their width."""

    sectors_read: int
    sectors_written: int
    wide: int
    narrow: int


def load() -> ctypes.CDLL:
    if build.compiler() is None:
        pytest.skip("the host build of the CUDA kernels needs g++")
    return ctypes.CDLL(str(build.library(sanitize=SANITIZE)))


def jobs(*rows: dict[str, int]) -> NDArray[np.void]:
    table = np.zeros(len(rows), TILE_JOB)
    for job, row in zip(table, rows, strict=True):
        for name, value in row.items():
            job[name] = value
    return table


def launch(name: str, geometry: LaunchGeometry, *arguments: NDArray | ctypes._SimpleCData) -> None:
    """Arrays are passed as their addresses. The number and sizes of the arguments must be the kernel's."""
    if ON_GPU:
        from ..gpu import launches

        launches.launch(name, geometry, *arguments)
        return
    library = load()
    values = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else a for a in arguments]
    count = ctypes.c_uint.in_dll(library, f"hostparams_{name}").value
    sizes = list((ctypes.c_uint * (count + 1)).in_dll(library, f"hostparams_{name}"))[1:]
    assert sizes == [ctypes.sizeof(value) for value in values]
    pointers = (ctypes.c_void_p * count)(*(ctypes.addressof(value) for value in values))
    getattr(library, f"hostlaunch_{name}")((ctypes.c_uint * 6)(*geometry.grid, *geometry.block), pointers)


def pack(
    image: NDArray,
    table: NDArray[np.void],
    tensor: NDArray,
    *,
    first: int = 0,
    scale: float = 1,
    bias: float = 0,
    geometry: LaunchGeometry | None = None,
) -> None:
    """image (H, W, C), tensor (count, 3, h, w): tile i is job ``first + i``."""
    count, _, height, width = tensor.shape
    integers = [ctypes.c_int(size) for size in image.shape]
    launch(
        kernel_name("pack", image.dtype, tensor.dtype),
        geometry or pack_launch(height, width, count=count),
        image,
        *integers,
        table,
        ctypes.c_int(first),
        tensor,
        ctypes.c_int(height),
        ctypes.c_int(width),
        ctypes.c_float(scale),
        ctypes.c_float(bias),
    )


def unpack(
    tensor: NDArray,
    table: NDArray[np.void],
    image: NDArray,
    *,
    shuffle: int,
    first: int = 0,
    scale: float = 1,
    bias: float = 0,
    geometry: LaunchGeometry | None = None,
) -> list[int]:
    """tensor (count, 3*r*r, h, w), image (H, W, C). Returns each job's count of values that were not finite."""
    count, _, height, width = tensor.shape
    not_finite = np.zeros(len(table), np.uint32)
    rows = int(table["out_height"].max())
    launch(
        kernel_name("unpack", tensor.dtype, image.dtype),
        geometry
        or unpack_launch(height, width, out_height=rows, shuffle=shuffle, channels=image.shape[2], count=count),
        tensor,
        ctypes.c_int(height),
        ctypes.c_int(width),
        ctypes.c_int(shuffle),
        table,
        ctypes.c_int(first),
        image,
        *(ctypes.c_int(size) for size in image.shape),
        ctypes.c_float(scale),
        ctypes.c_float(bias),
        not_finite,
    )
    return not_finite.tolist()


class counting:
    """``with counting() as counts: ...`` counts the launches inside; read `counts()` afterwards."""

    def __enter__(self) -> counting:
        if ON_GPU:
            pytest.skip("a GPU does not count the sectors that a kernel touches: the host build does")
        self._library = load()
        self._library.hostcount_start()
        return self

    def __exit__(self, *_: object) -> None:
        found = (ctypes.c_ulonglong * 4)()
        self._library.hostcount_stop(found)
        self.counts = Counts(*found)


def on_sector(shape: tuple[int, ...], dtype: Any) -> NDArray:
    """As device allocations are: aligned to far more than a sector."""
    memory = np.zeros(int(np.prod(shape)) * np.dtype(dtype).itemsize + 256, np.uint8)
    start = -memory.ctypes.data % 256
    return memory[start : memory.size - 256 + start].view(dtype).reshape(shape)


def moved(work: Callable[[], Any]) -> Counts:
    with counting() as counter:
        work()
    return counter.counts

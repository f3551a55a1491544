"""pycuda's memory on the stand-in driver: arrays and page-locked memory, in its own context and in the primary one.

Without pycuda these tests skip; ``python -m tests.cuda_driver.pycuda_build`` builds it without the CUDA toolkit.
"""

from __future__ import annotations

import gc
import importlib.util
from typing import Any

import numpy as np
import pytest

from . import build, standin

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
# Importing pycuda.driver would load the driver, which this process lacks.
if importlib.util.find_spec("pycuda") is None:
    pytest.skip("pycuda is not installed: python -m tests.cuda_driver.pycuda_build", allow_module_level=True)


def round_trips(primary: bool) -> dict[str, Any]:
    import pycuda.driver as driver
    from pycuda import gpuarray

    driver.init()
    device = driver.Device(0)
    context = device.retain_primary_context() if primary else device.make_context()
    if primary:
        context.push()
    found: dict[str, Any] = {}
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    array = gpuarray.to_gpu(picture)
    found["to_gpu, get"] = bool((array.get() == picture).all())
    found["interface"] = {key: array.__cuda_array_interface__[key] for key in ("shape", "typestr", "strides")}
    stream = driver.Stream()
    host = driver.pagelocked_empty(picture.shape, np.uint8)
    host[:] = 255 - picture
    array.set_async(host, stream=stream)
    back = array.get_async(stream=stream)
    stream.synchronize()
    found["page-locked"] = bool((back == 255 - picture).all())
    found["copy"] = bool((array.copy().get() == 255 - picture).all())
    driver.memset_d8(array.gpudata, 9, array.nbytes)
    found["memset"] = bool((array.get() == 9).all())
    del array, host, back, stream
    gc.collect()
    found["left"] = standin.leaks()["allocations"]
    context.pop()
    if not primary:
        context.detach()
    return found


def in_cuda_core() -> list[int]:
    """A GPUArray as cuda.core sees it, worked on in pycuda's own context and on pycuda's stream."""
    import pycuda.driver as driver
    from cuda.core import Buffer, Device, Stream
    from cuda.core.utils import StridedMemoryView
    from pycuda import gpuarray

    driver.init()
    context = driver.Device(0).make_context()
    array = gpuarray.to_gpu(np.arange(6, dtype=np.uint8))
    theirs = driver.Stream()
    Device(0)
    stream = Stream.from_handle(theirs.handle)
    view = StridedMemoryView.from_cuda_array_interface(array, stream_ptr=-1)
    buffer = Buffer.from_handle(view.ptr, 6, owner=array)
    buffer.fill(3, stream=stream)
    theirs.synchronize()
    values: list[int] = array.get().tolist()
    buffer.close()
    stream.close()
    del array, view, buffer, theirs
    gc.collect()
    context.pop()
    context.detach()
    return values


@pytest.mark.parametrize("primary", [False, True])
@pytest.mark.parametrize("order", ["threads", "late"])
def test_arrays_and_page_locked_memory(primary: bool, order: str) -> None:
    outcome = standin.run(round_trips, primary, order=order, delay_us=200)
    assert outcome.value == {
        "to_gpu, get": True,
        "interface": {"shape": (4, 6, 3), "typestr": "|u1", "strides": (18, 3, 1)},
        "page-locked": True,
        "copy": True,
        "memset": True,
        "left": [],
    }
    assert "failed" not in outcome.stderr


def test_cuda_core_in_the_context_of_pycuda() -> None:
    outcome = standin.run(in_cuda_core)
    assert outcome.value == [3] * 6
    contexts = [line["call"] for line in outcome.trace if line["call"] in ("cuCtxCreate", "cuDevicePrimaryCtxRetain")]
    assert contexts == ["cuCtxCreate"]

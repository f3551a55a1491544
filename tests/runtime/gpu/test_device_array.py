"""Arrays of other libraries on the GPU, borrowed as images: by either protocol, when they are ready, and not before."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt.errors import DeviceError, PictureError
from srgan_trt.runtime.gpu.device_array import as_host_array, borrow, is_device_array, stream_handle
from tests.cuda_driver import build, standin

from .array_producers import ByDlpack, ByInterface, OnTheHost, Producer, context, read

PICTURE = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)

on_the_standin = pytest.mark.skipif(build.missing() is not None, reason=build.missing() or "")


# ---- what runs in the process of the stand-in


def copied(picture: Any) -> np.ndarray:
    """The picture, read by work on `picture.stream` alone: a copy on the GPU, as a pipeline's work is."""
    from srgan_trt.runtime.gpu.device import bindings, checked

    driver, image = bindings(), picture.image
    size = int(np.prod(image.shape)) * image.dtype.itemsize
    target = int(checked(driver.cuMemAlloc(size)))
    stream = driver.CUstream(picture.stream)
    checked(driver.cuMemcpyDtoDAsync(target, image.address, size, stream))
    checked(driver.cuStreamSynchronize(stream))
    levels = read(target, image.shape, image.dtype)
    checked(driver.cuMemFree(target))
    return levels


def borrowed(kind: str, where: str, levels: np.ndarray) -> dict[str, Any]:
    """Borrows an array whose levels are still on their way."""
    ours = context(where)
    producer = Producer("default" if kind in ("default", "silent", "version 2") else "own")
    handle = int(producer.stream)
    stream = None
    if kind == "dlpack":
        array: Any = ByDlpack(producer, levels)
    elif kind in ("stream", "default"):
        array = ByInterface(producer, levels, stream=handle)
    elif kind == "version 2":
        array = ByInterface(producer, levels, version=2)
    elif kind == "silent":
        array = ByInterface(producer, levels, stream=None)
    else:
        # It does not know that another stream works on it: only the caller does.
        other = Producer()
        array = ByInterface(producer, levels, stream=int(other.stream))
        stream = handle if kind == "told" else None
        other.close()
        array.__cuda_array_interface__["stream"] = None
    found: dict[str, Any] = {"is": is_device_array(array), "host": as_host_array(array)}
    with borrow(array, stream=stream) as picture:
        found["facts"] = (picture.image.shape, picture.image.dtype, picture.image.device, picture.shape)
        found["levels"] = copied(picture)
    found["context kept"] = int(producer.checked(producer.driver.cuCtxGetCurrent())) == int(ours)
    producer.checked(producer.driver.cuStreamSynchronize(producer.stream))
    del array, picture
    gc.collect()
    producer.close()
    return found


def kept_alive() -> list[int]:
    """How many allocations of the library there are: borrowed, with the array dropped by its owner, and afterwards."""
    context()
    producer = Producer()
    array = ByDlpack(producer, PICTURE)
    counts = []

    def count() -> None:
        gc.collect()
        counts.append(sum(each["space"] == "device" for each in standin.leaks()["allocations"]))

    with borrow(array) as picture:
        image = picture.image
        del array, picture
        count()
        assert image.owner is not None
        del image
    count()
    producer.close()
    return counts


def refused(kind: str) -> str:
    context()
    producer = Producer()
    facts: dict[str, Any] = {}
    levels = PICTURE
    if kind == "float":
        levels = PICTURE.astype(np.float32)
    elif kind == "big-endian":
        levels = PICTURE.astype(">u2")
    elif kind == "alpha":
        levels = np.zeros((5, 7, 4), np.uint8)
    elif kind == "channels first":
        levels = np.zeros((3, 5, 7), np.uint8)
    elif kind == "batch":
        levels = np.zeros((2, 5, 7, 3), np.uint8)
    elif kind == "line":
        levels = np.zeros(5, np.uint8)
    elif kind == "strides":
        facts = {"shape": (5, 7, 3), "strides": (3, 15, 1)}
    elif kind == "every second row":
        facts = {"shape": (2, 7, 3), "strides": (42, 3, 1)}
    elif kind == "empty":
        facts = {"shape": (0, 7, 3), "data": (0, False)}
    elif kind == "mask":
        facts = {"mask": PICTURE}
    elif kind == "freed":
        facts = {"data": (12345, False)}
    array: Any = ByInterface(producer, levels, **facts)
    if kind == "dlpack strides":
        array = ByDlpack(producer, PICTURE, strides=(3, 15, 1))
    elif kind == "dlpack refuses":
        array = ByDlpack(producer, PICTURE)
        array.__dlpack__ = _refuse
        array = _Instance(array)
    try:
        with borrow(array):
            raise AssertionError("it was taken")
    except PictureError as error:
        message = str(error)
    standin_leaks = standin.leaks()
    assert (standin_leaks["streams"], standin_leaks["events"]) == (1, 0)  # the producer's
    del array
    gc.collect()
    producer.close()
    return message


def _refuse(**_: Any) -> Any:
    raise BufferError("requires grad")


class _Instance:
    def __init__(self, array: Any) -> None:
        self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__


def without_gaps_though_strides_look_odd() -> bool:
    """One row, one column: what a stride of an axis of one says does not matter."""
    context()
    producer = Producer()
    array = ByInterface(producer, PICTURE[:1], strides=(999, 3, 1))
    with borrow(array, stream=producer.stream) as picture:
        same = bool((copied(picture) == PICTURE[:1]).all())
    del array, picture
    gc.collect()
    producer.close()
    return same


# ---- the tests


@on_the_standin
@pytest.mark.parametrize("order", ["late", "threads"])
@pytest.mark.parametrize("where", ["ours", "theirs", "second GPU"])
@pytest.mark.parametrize("kind", ["dlpack", "stream", "default", "version 2", "silent", "told"])
def test_ready_when_its_stream_says(kind: str, where: str, order: str) -> None:
    levels = PICTURE if kind != "stream" else PICTURE[..., 0].astype(np.uint16) * 257
    outcome = standin.run(borrowed, kind, where, levels, order=order, delay_us=2000, devices=2)
    found = outcome.value
    assert found["is"]
    assert found["host"] is None
    three = (5, 7, 3) if levels.ndim == 3 else (5, 7, 1)
    assert found["facts"] == (three, levels.dtype, int(where == "second GPU"), levels.shape)
    assert (found["levels"] == levels.reshape(three)).all()
    assert found["context kept"]
    assert not outcome.leaks["allocations"]
    assert outcome.leaks["streams"] == outcome.leaks["events"] == 0


@on_the_standin
def test_without_an_event_it_would_be_another_picture() -> None:
    """The evidence above is worth something: a stream that nobody names is not waited for."""
    outcome = standin.run(borrowed, "nobody tells", "ours", PICTURE, order="late")
    assert (outcome.value["levels"] == 255).all()


@on_the_standin
def test_the_memory_stays_while_it_is_borrowed() -> None:
    assert standin.run(kept_alive).value == [1, 0]


@on_the_standin
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("float", "float32 is not taken: make levels of uint8"),
        ("big-endian", ">u2 is not taken"),
        ("alpha", "has alpha, which is not taken on the GPU: give the colours alone"),
        ("channels first", "channels come last (permute(1, 2, 0).contiguous())"),
        ("batch", "is a batch: give a list of its images"),
        ("line", "of shape (5,) is not a picture"),
        ("strides", "make it contiguous, by .contiguous() in PyTorch"),
        ("every second row", "with gaps"),
        ("empty", "is on no GPU: it is empty, or was freed"),
        ("mask", "with a mask is not taken"),
        ("freed", "0x3039 is on no GPU"),
        ("dlpack strides", "make it contiguous"),
        ("dlpack refuses", "cannot be read on the GPU: requires grad"),
    ],
)
def test_what_is_not_taken(kind: str, words: str) -> None:
    outcome = standin.run(refused, kind)
    assert words in outcome.value
    assert "\n" not in outcome.value
    assert not outcome.leaks["allocations"]


@on_the_standin
def test_strides_of_an_axis_of_one() -> None:
    assert standin.run(without_gaps_though_strides_look_odd).value


@pytest.mark.parametrize("thing", [PICTURE, Image.new("RGB", (4, 4)), "a.png", Path("a.png"), [PICTURE], None, 3])
def test_what_is_no_device_array(thing: Any) -> None:
    assert not is_device_array(thing)


def test_arrays_of_other_libraries_on_the_host() -> None:
    tensor = OnTheHost(PICTURE)
    array = as_host_array(tensor)
    assert not is_device_array(tensor)
    assert array is not None
    assert np.shares_memory(array, PICTURE)
    assert as_host_array(PICTURE) is PICTURE
    assert as_host_array("a.png") is None
    assert as_host_array(Image.new("RGB", (4, 4))) is None
    with pytest.raises(PictureError, match="OnTheHost on a device that is neither"):
        as_host_array(OnTheHost(PICTURE, kind=10))  # an AMD GPU
    swapped = OnTheHost(PICTURE.astype(">u2"))
    with pytest.raises(PictureError, match=r"OnTheHost that cannot be read \(.*\): give uint8 or uint16 without"):
        as_host_array(swapped)


@pytest.mark.parametrize(("kind", "expected"), [(1, False), (2, True), (3, False), (10, False), (13, True)])
def test_kinds_of_devices(kind: int, expected: bool) -> None:
    """DLDeviceType: CPU, CUDA, page-locked, ROCm, managed."""
    assert is_device_array(OnTheHost(PICTURE, kind)) is expected


def test_streams_of_other_libraries() -> None:
    class Cuda:
        def __cuda_stream__(self) -> tuple[int, int]:
            return (0, 77)

    def kept_as(name: str, value: Any) -> Any:
        return type("Stream", (), {name: value})()

    from ctypes import c_void_p

    assert stream_handle(5) == 5
    assert stream_handle(Cuda()) == 77
    assert stream_handle(kept_as("cuda_stream", 6)) == 6  # PyTorch
    assert stream_handle(kept_as("ptr", 7)) == 7  # CuPy
    assert stream_handle(kept_as("handle", 8)) == 8  # pycuda
    assert stream_handle(kept_as("handle", c_void_p(9))) == 9  # Numba
    assert stream_handle(kept_as("handle", c_void_p(0))) == 0
    for thing in ("default", 1.5, -1, True, object()):
        with pytest.raises(DeviceError, match="is not a CUDA stream"):
            stream_handle(thing)


def test_asking_what_something_is_loads_no_cuda() -> None:
    program = (
        "import sys, numpy\n"
        "from srgan_trt.runtime.gpu.device_array import as_host_array, is_device_array\n"
        "assert not is_device_array(numpy.zeros(3)) and as_host_array('a') is None\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('cuda', 'torch', 'cupy', 'numba', 'pycuda')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ.copy()
    )
    assert done.stdout.strip() == "[]"

"""Pictures that lie on a GPU already, as arrays of other libraries: what they are, where, and when they are ready.

Two protocols are understood. DLPack (``__dlpack__``, ``__dlpack_device__``: the Python array API standard) comes first:
the library itself lets our stream wait for its work. The CUDA Array Interface (``__cuda_array_interface__``, versions 2
and 3: Numba's documentation) names a stream, or none. None of these libraries is imported here.

    with borrow(image) as picture:
        result = new_result(picture, scale)  # runtime/gpu/device_result.py
        pipeline.run(picture.image, result.image, tiles, stream=picture.stream)
    large = result.take()

Contexts. Libraries on CUDA's runtime share the GPU's primary context, which is ours too. pycuda makes contexts of its
own: an address is then unique in the process (unified addressing), but kernels of our context may not follow it, so the
pipeline copies, on the GPU (runtime/gpu/ends.py). Streams and events order work across contexts (cuStreamWaitEvent).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError, PictureError, missing, one_line
from .device import bindings, checked, current
from .image_buffers import after_caller

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GPU = (2, 13)
"""DLDeviceType: kDLCUDA, kDLCUDAManaged."""
_HOST = (1, 3, 11)
"""kDLCPU, kDLCUDAHost, kDLROCMHost."""
_LEGACY = 1
"""CU_STREAM_LEGACY: the default stream of a context, which waits for all its blocking streams."""

_HANDLES = ("cuda_stream", "ptr", "handle")
"""Where PyTorch, CuPy, and pycuda and Numba, keep a stream's handle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceImage:
    """Levels in the memory of a GPU, without gaps between rows."""

    address: int
    shape: tuple[int, int, int]
    """(height, width, channels), 1 or 3 channels."""
    dtype: np.dtype[Any]
    """uint8 or uint16."""
    device: int
    """The GPU's number."""
    owner: Any
    """Keeps the memory alive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowed:
    """An array of another library, for as long as `borrow` lasts."""

    image: DeviceImage
    stream: int
    """Handle of a stream, of ours, on which the array is ready."""
    array: Any
    """What was borrowed."""
    shape: tuple[int, ...]
    """As the library has it: a gray picture may have two axes."""


def is_device_array(candidate: Any) -> bool:
    """Whether `candidate` is an array in the memory of an NVIDIA GPU, as either protocol tells; CUDA is not touched.

    Page-locked memory is the host's: see `as_host_array`.
    """
    if isinstance(candidate, np.ndarray | str | os.PathLike):
        return False
    place = _dlpack_place(candidate)
    if place is not None:
        return place[0] in _GPU
    return hasattr(candidate, "__cuda_array_interface__")


def as_host_array(candidate: Any) -> NDArray[Any] | None:
    """The memory of another library's array on the host (PyTorch's CPU tensors, JAX's arrays) as a NumPy array, which
    may be read-only; None if it is no such array.

    Raises PictureError if it is on a device that is neither the CPU nor NVIDIA's, or the library does not hand it out.
    """
    if isinstance(candidate, np.ndarray):
        return candidate
    place = _dlpack_place(candidate)
    if place is None or place[0] in _GPU:
        return None
    if place[0] not in _HOST:
        raise PictureError(
            f"a {_called(candidate)} on a device that is neither a CPU nor an NVIDIA GPU: move it to the CPU"
        )
    try:
        array: NDArray[Any] = np.from_dlpack(candidate)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise PictureError(
            f"a {_called(candidate)} that cannot be read ({one_line(error)}): give uint8 or uint16 without a gradient"
        ) from error
    return array


@contextmanager
def borrow(array: Any, *, stream: Any = None) -> Iterator[Borrowed]:
    """`array` as an image on its GPU, until the end of the `with`.

    Args:
        array: uint8 or uint16 of (H, W), (H, W, 1) or (H, W, 3) without gaps, for which `is_device_array` holds.
        stream: The CUDA stream that the array is made on, where the library does not tell or tells another one: a
            handle, or an object of CUDA's stream protocol (``__cuda_stream__``), PyTorch, CuPy, Numba or pycuda. None
            is what the array's protocol says; where that names no stream, it is the default stream of the context that
            owns the memory.

    Nothing waits here: `Borrowed.stream` waits, on the GPU, for what is on these streams now. Whoever uses it is done
    with the image before the `with` ends.

    Raises PictureError if the array is none of the above, DeviceError if CUDA fails, MissingPackageError without
    cuda-core.
    """
    explicit = None if stream is None else stream_handle(stream)
    driver = bindings()
    checked(driver.cuInit(0))
    place = _dlpack_place(array)
    number = _device_of(array) if place is None else place[1]
    with current(number):
        ours = checked(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
    try:
        if explicit is not None:
            _follow(int(ours), explicit, number, context=None)
        image, shape = view(array, int(ours), told=explicit is not None)
        yield Borrowed(image=image, stream=int(ours), array=array, shape=shape)
    finally:
        # What waits on it goes on without it; a GPU that failed has lost it already.
        driver.cuStreamDestroy(ours)


def view(array: Any, waiter: int, *, told: bool = False) -> tuple[DeviceImage, tuple[int, ...]]:
    """An array as an image, and its own shape; the stream `waiter` waits for it to be ready.

    told: that the caller named the stream: where the protocol names none, there is nothing to wait for then.
    Raises as `borrow` does.
    """
    place = _dlpack_place(array)
    if place is None:
        return _by_array_interface(array, waiter, told)
    try:
        from cuda.core.utils import StridedMemoryView
    except ImportError:
        raise missing("cuda-core", "tensorrt", "read images on an NVIDIA GPU") from None
    try:
        # Through the protocol always: for PyTorch's own class cuda.core reads its private parts.
        seen = StridedMemoryView.from_dlpack(_Protocol(array), stream_ptr=waiter)
        dtype, shape, strides = seen.dtype, tuple(seen.shape), seen.strides
    except DeviceError:
        raise
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise PictureError(f"a {_called(array)} that cannot be read on the GPU: {one_line(error)}") from error
    _check(array, dtype, shape, strides)
    image = DeviceImage(address=int(seen.ptr), shape=_three(shape), dtype=dtype, device=place[1], owner=(array, seen))
    return image, shape


def stream_handle(stream: Any) -> int:
    """The handle of a stream: see `borrow`. Raises DeviceError if it is not a stream."""
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        # cuda.core 0.1 had a property where the protocol has a method.
        return int((protocol() if callable(protocol) else protocol)[1])
    for name in _HANDLES:
        if hasattr(stream, name):
            stream = getattr(stream, name)
            break
    value = getattr(stream, "value", stream)  # a ctypes pointer, whose null is None
    if value is None:
        return 0
    if isinstance(value, bool | float | str) or not hasattr(value, "__int__") or int(value) < 0:
        raise DeviceError(f"a {_called(stream)} is not a CUDA stream: give the stream of your library, or its handle")
    return int(value)


class _Protocol:
    """Nothing but DLPack's two methods of an array."""

    def __init__(self, array: Any) -> None:
        self.__dlpack__ = array.__dlpack__
        self.__dlpack_device__ = array.__dlpack_device__


def _dlpack_place(array: Any) -> tuple[int, int] | None:
    """Kind and number of the device by DLPack; None if the array does not say."""
    if not (hasattr(array, "__dlpack__") and hasattr(array, "__dlpack_device__")):
        return None
    try:
        kind, number = array.__dlpack_device__()
    except (BufferError, NotImplementedError, ValueError):  # on several devices at once, for example
        return None
    return int(kind), int(number)


def _by_array_interface(array: Any, waiter: int, told: bool) -> tuple[DeviceImage, tuple[int, ...]]:
    facts = array.__cuda_array_interface__
    if facts.get("mask") is not None:
        raise PictureError(f"a {_called(array)} with a mask is not taken: fill what is masked")
    dtype, shape = np.dtype(facts["typestr"]), tuple(int(size) for size in facts["shape"])
    strides = facts.get("strides")
    if strides is not None:
        strides = tuple(stride / dtype.itemsize for stride in strides)
    _check(array, dtype, shape, strides)
    address, number = int(facts["data"][0]), _device_of(array)
    driver = bindings()
    named = facts.get("stream")
    if named is not None or not told:
        # No stream: "no synchronisation is required". pycuda says so while its own kernels may still run on the default
        # stream, and version 2 cannot say anything, so that is waited for.
        owner = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
        context = int(checked(driver.cuPointerGetAttribute(owner, address)) or 0)
        _follow(waiter, _LEGACY if named is None else int(named), number, context=context)
    image = DeviceImage(address=address, shape=_three(shape), dtype=dtype, device=number, owner=array)
    return image, shape


def _device_of(array: Any) -> int:
    """The number of the GPU that the address of a CUDA Array Interface is on."""
    driver = bindings()
    address = int(array.__cuda_array_interface__["data"][0])
    ordinal = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    status, number = driver.cuPointerGetAttribute(ordinal, address)
    if status == driver.CUresult.CUDA_ERROR_INVALID_VALUE:
        raise PictureError(f"a {_called(array)} whose address {address:#x} is on no GPU: it is empty, or was freed")
    return int(checked((status, number)))


def _follow(waiter: int, handle: int, number: int, *, context: int | None) -> None:
    """Lets the stream `waiter` wait for what is on the stream `handle` now.

    context: whose default stream is meant, if it is one: 0 for the primary one, None for the caller's.
    """
    driver = bindings()
    with current(number) as before, after_caller(handle, before if context is None else context) as event:
        checked(driver.cuStreamWaitEvent(driver.CUstream(waiter), event, 0))


def _check(array: Any, dtype: Any, shape: tuple[int, ...], strides: tuple[float, ...] | None) -> None:
    """Raises PictureError if it is not a picture, or has gaps; strides are counted in elements."""
    name = _called(array)
    if dtype not in (np.uint8, np.uint16):
        raise PictureError(
            f"a {name} of {dtype} is not taken: make levels of uint8 or uint16 of it, "
            "of values of 0..1 by multiplying with 255 and rounding"
        )
    if 0 in shape:
        raise PictureError(f"a {name} of shape {shape} has no pixels: give one of (height, width, 3)")
    if len(shape) == 4:
        raise PictureError(f"a {name} of shape {shape} is a batch: give a list of its images")
    if len(shape) == 3 and shape[2] in (2, 4):
        raise PictureError(
            f"a {name} of shape {shape} has alpha, which is not taken on the GPU: "
            "give the colours alone, without gaps, or a NumPy array"
        )
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
        hint = ": channels come last (permute(1, 2, 0).contiguous())" if shape[:1] in ((1,), (3,)) else ""
        raise PictureError(f"a {name} of shape {shape} is not a picture of (height, width) or (height, width, 3){hint}")
    if strides is not None and not _without_gaps(shape, strides):
        raise PictureError(
            f"a {name} of shape {shape} with gaps or of another order (strides {strides} elements) is not taken: "
            "make it contiguous, by .contiguous() in PyTorch, ascontiguousarray() in CuPy, .copy() elsewhere"
        )


def _without_gaps(shape: tuple[int, ...], strides: tuple[float, ...]) -> bool:
    wanted = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size > 1 and stride != wanted:
            return False
        wanted *= size
    return True


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    height, width, *channels = shape
    return height, width, channels[0] if channels else 1


def _called(thing: Any) -> str:
    kind = type(thing)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"

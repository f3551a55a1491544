"""Memory of the GPU and page-locked memory of the host, accounted for and given back."""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import DeviceError, DeviceMemoryError
from .device import bindings, checked, core, cuda_errors, free_memory

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_log = logging.getLogger(__name__)

_WINDOWS = os.name == "nt"


_GROWTH = 1.5


class DeviceMemory:
    """A pool of one GPU's memory with a limit; streams take from it and give back in their own order.

    The pool is ours, not the device's default one: closing it returns all of it to the system. The GPU's context must
    be current in the calling thread.
    """

    def __init__(self, number: int, limit: int | None) -> None:
        """number: of the GPU. limit: bytes; None is what the GPU has. Raises DeviceError."""
        self._limit = limit
        self._used = 0
        self._lock = threading.Lock()
        cuda = core()
        with cuda_errors():
            device = cuda.Device(number)
            if device.properties.memory_pools_supported:
                self._pool = cuda.DeviceMemoryResource(device, cuda.DeviceMemoryResourceOptions())
            else:
                self._pool = device.memory_resource
            # Its driver for screens (WDDM) moves GPU memory to the host's rather than refuse some: no error, and all is
            # ten times as slow.
            self._pages_out = _WINDOWS and not device.properties.tcc_driver

    def available(self) -> int:
        """Bytes that may still be had."""
        free = free_memory()
        with self._lock:
            return free if self._limit is None else max(0, min(free, self._limit - self._used))

    def claim(self, size: int) -> None:
        """Counts memory that somebody else takes for us. Raises DeviceMemoryError if it would be over the limit, or is
        not free where the driver would make place for it."""
        if self._pages_out and size > (free := free_memory()):
            raise DeviceMemoryError(
                f"{size / 1e6:.1f} MB of GPU memory are needed and {free / 1e6:.1f} are free: use a smaller tile or "
                "batch, or free memory on it"
            )
        with self._lock:
            if self._limit is not None and self._used + size > self._limit:
                raise DeviceMemoryError(
                    f"{(self._used + size) / 1e6:.1f} MB of GPU memory are needed and {self._limit / 1e6:.1f} are "
                    "allowed: allow more (--max-vram) or use a smaller tile"
                )
            self._used += size

    def unclaim(self, size: int) -> None:
        """Takes back a `claim`."""
        with self._lock:
            self._used -= size

    def allocate(self, size: int, stream: Any) -> Any:
        """A cuda.core Buffer of `size` bytes that exists from this point of `stream` on; `free` it.

        Raises DeviceMemoryError, DeviceError.
        """
        self.claim(size)
        try:
            with cuda_errors():
                return self._pool.allocate(size, stream=stream)
        except BaseException:
            self.unclaim(size)
            raise

    def free(self, buffer: Any, stream: Any) -> None:
        """Ends a buffer at this point of `stream`. After the GPU has failed its memory is gone anyway: no errors."""
        self.unclaim(buffer.size)
        quietly(buffer.close, stream)

    def close(self) -> None:
        """Gives the pool back; its buffers must be freed."""
        if hasattr(self._pool, "close"):
            quietly(self._pool.close)


class DeviceBuffer:
    """Memory of one stream that grows when more of it is needed; its contents are lost then."""

    def __init__(self, memory: DeviceMemory, stream: Any) -> None:
        self._memory, self._stream = memory, stream
        self._buffer: Any = None

    def reserve(self, size: int) -> Any:
        """A Buffer of at least `size` bytes. Nothing but the stream may still use the smaller one before.

        Raises DeviceMemoryError, DeviceError.
        """
        if self._buffer is None or self._buffer.size < size:
            self.close()
            self._buffer = self._memory.allocate(size, self._stream)
        return self._buffer

    @property
    def size(self) -> int:
        return 0 if self._buffer is None else int(self._buffer.size)

    def close(self) -> None:
        if self._buffer is not None:
            gone, self._buffer = self._buffer, None
            self._memory.free(gone, self._stream)


class HostBuffer:
    """Page-locked memory of the host that grows when more of it is needed: what copies to and from a GPU in one go."""

    def __init__(self) -> None:
        self.address = 0
        self._size = 0

    def reserve(self, size: int) -> int:
        """The address of at least `size` bytes, that no copy uses any more. Raises DeviceMemoryError, DeviceError."""
        if self._size < size:
            size = max(size, int(self._size * _GROWTH))  # page-locking takes about 0.3 ms a megabyte
            self.close()
            # Not by cuda.core, whose buffer asks streams to be idle before it frees: one error there, and it never is.
            self.address = int(checked(bindings().cuMemAllocHost(size)))
            self._size = size
        return self.address

    def view(self, shape: tuple[int, ...], dtype: DTypeLike, *, offset: int = 0) -> NDArray[Any]:
        """An array of what was reserved, `offset` bytes from its beginning; gone with the next `reserve`."""
        element = np.dtype(dtype)
        size = int(np.prod(shape)) * element.itemsize
        levels: Any = (ctypes.c_ubyte * size).from_address(self.address + offset)
        array: NDArray[Any] = np.frombuffer(levels, element)
        return array.reshape(shape)

    def close(self) -> None:
        """Frees it; no copy may be using it."""
        if self._size:
            gone, self.address, self._size = self.address, 0, 0
            quietly(lambda: checked(bindings().cuMemFreeHost(gone)))


def copy(stream: Any, to: int, source: int, size: int) -> None:
    """Bytes from address to address, whichever side of the bus they are on. Raises DeviceError."""
    checked(bindings().cuMemcpyAsync(to, source, size, stream.handle))


def copy_rectangle(stream: Any, to: int, source: int, *, rows: int, row_bytes: int, pitch: int) -> None:
    """Rows from the GPU's memory to the host's, `pitch` bytes from the beginning of one to that of the next on both
    sides. Raises DeviceError."""
    if row_bytes == pitch:
        copy(stream, to, source, rows * pitch)
        return
    driver = bindings()
    about = driver.CUDA_MEMCPY2D()
    about.srcMemoryType, about.srcDevice, about.srcPitch = driver.CUmemorytype.CU_MEMORYTYPE_DEVICE, source, pitch
    about.dstMemoryType, about.dstHost, about.dstPitch = driver.CUmemorytype.CU_MEMORYTYPE_HOST, to, pitch
    about.WidthInBytes, about.Height = row_bytes, rows
    checked(driver.cuMemcpy2DAsync(about, stream.handle))


def quietly(release: Any, *arguments: Any) -> None:
    """Calls what frees something: an error then is one of earlier work, which was or will be raised where it counts."""
    try:
        with cuda_errors():
            release(*arguments)
    except DeviceError as error:
        _log.debug("freeing GPU resources: %s", error)

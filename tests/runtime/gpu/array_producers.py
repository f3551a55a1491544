"""Arrays as other libraries have them, each of one protocol: on the stand-in's GPU, with work still under way."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np


def context(which: str = "ours") -> Any:
    """Makes the primary context current ("ours", "second GPU"), or another one ("theirs")."""
    from srgan_trt.runtime.gpu.device import bindings, checked

    driver = bindings()
    checked(driver.cuInit(0))
    number = int(which == "second GPU")
    made = checked(driver.cuCtxCreate(None, 0, 0) if which == "theirs" else driver.cuDevicePrimaryCtxRetain(number))
    checked(driver.cuCtxSetCurrent(made))
    return made


class Producer:
    """A library: one stream of its own, on which it fills arrays. Its context is the current one.

    stream: "own", a stream that does not wait for others; "default", the legacy stream of the context.
    """

    def __init__(self, stream: str = "own") -> None:
        from srgan_trt.runtime.gpu.device import bindings, checked

        self.driver, self.checked = bindings(), checked
        self.device = int(checked(self.driver.cuCtxGetDevice()))
        self.stream = self.driver.CUstream(1) if stream == "default" else checked(self.driver.cuStreamCreate(1))
        self._pinned: list[int] = []

    def fill(self, levels: np.ndarray) -> Any:
        """A cuda.core Buffer with `levels`, copied there by work that the stream has not got to yet."""
        from cuda.core import Buffer

        driver = self.driver
        pinned = self.checked(driver.cuMemHostAlloc(levels.nbytes, 0))
        ctypes.memmove(pinned, np.ascontiguousarray(levels).ctypes.data, levels.nbytes)
        self._pinned.append(pinned)
        address = self.checked(driver.cuMemAlloc(levels.nbytes))
        self.checked(driver.cuMemcpyHtoDAsync(address, pinned, levels.nbytes, self.stream))
        return Buffer.from_handle(int(address), levels.nbytes, owner=_Freed(self, int(address)))

    def close(self) -> None:
        if int(self.stream) > 2:
            self.checked(self.driver.cuStreamDestroy(self.stream))
        for address in self._pinned:
            self.checked(self.driver.cuMemFreeHost(address))


class _Freed:
    """Frees an address when it goes."""

    def __init__(self, producer: Producer, address: int) -> None:
        self._producer, self._address = producer, address

    def __del__(self) -> None:
        self._producer.checked(self._producer.driver.cuMemFree(self._address))


class ByDlpack:
    """DLPack alone; the consumer's stream is made to wait for the producer's, as the array API standard asks."""

    def __init__(self, producer: Producer, levels: np.ndarray, *, strides: tuple[int, ...] | None = None) -> None:
        from cuda.core.utils import StridedMemoryView

        self._producer = producer
        buffer = producer.fill(levels)
        self._view = StridedMemoryView.from_buffer(buffer, levels.shape, strides=strides, dtype=levels.dtype)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self._producer.device)

    def __dlpack__(self, *, stream: int | None = None, max_version: tuple[int, int] | None = None) -> Any:
        assert stream is not None
        assert stream > 2
        driver, checked = self._producer.driver, self._producer.checked
        event = checked(driver.cuEventCreate(2))
        try:
            checked(driver.cuEventRecord(event, self._producer.stream))
            checked(driver.cuStreamWaitEvent(driver.CUstream(stream), event, 0))
        finally:
            driver.cuEventDestroy(event)
        return self._view.__dlpack__(stream=-1, max_version=max_version)


class ByNamespace(ByDlpack):
    """And of a library that follows the array API standard."""

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return Namespace


class Namespace:
    """Its functions."""

    @staticmethod
    def from_dlpack(array: Any) -> Any:
        from cuda.core.utils import StridedMemoryView

        assert array.__dlpack_device__() == (2, 0)
        return Adopted(StridedMemoryView.from_dlpack(array, stream_ptr=-1))


class Adopted:
    def __init__(self, view: Any) -> None:
        self.view = view


class ByInterface:
    """The CUDA Array Interface alone, and of it only what is asked for."""

    def __init__(self, producer: Producer, levels: np.ndarray, *, version: int = 3, **facts: Any) -> None:
        self.buffer = producer.fill(levels)
        self.__cuda_array_interface__ = {
            "shape": levels.shape,
            "typestr": levels.dtype.str,
            "data": (int(self.buffer.handle), False),
            "version": version,
            **facts,
        }


class OnTheHost:
    """A CPU tensor; like PyTorch's, its class has the CUDA Array Interface, which only arrays on a GPU answer."""

    def __init__(self, levels: np.ndarray, kind: int = 1) -> None:
        self._levels, self._kind = levels, kind

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise RuntimeError("not on a GPU")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (self._kind, 0)

    def __dlpack__(self, **wishes: Any) -> Any:
        return self._levels.__dlpack__(**wishes)


def read(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """What is at the address now."""
    from srgan_trt.runtime.gpu.device import bindings, checked

    levels = np.empty(shape, dtype)
    checked(bindings().cuMemcpyDtoH(levels.ctypes.data, address, levels.nbytes))
    return levels

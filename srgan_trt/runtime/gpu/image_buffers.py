"""Where a picture comes from and where it goes to: arrays of the host, or images that lie on a GPU already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .device import bindings, checked
from .tiling import Band

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, int, int]

_DEFAULT_STREAMS = (0, 1, 2)
"""Handles that mean a stream of whichever context is current: legacy, legacy by name, per thread."""


class ImageBuffer:
    """One image (H, W, C), `scale` output pixels for each pixel of the picture that bands count in.

    Our context must be current: the kernels reach an image on the GPU only if it was allocated in that. One that was
    not (pycuda makes contexts of its own) is copied, on the GPU, as a host's array is copied over the bus.
    """

    def __init__(self, image: Any, scale: int) -> None:
        self.dtype: np.dtype[Any] = np.dtype(image.dtype)
        self._image = image
        self._scale = scale
        self.staged = isinstance(image, np.ndarray)
        """Whether the host has it, so that it is copied through page-locked memory."""
        self._owner = 0 if self.staged else _foreign_owner(int(image.address))
        self._copied = self.staged or self._owner != 0

    @property
    def row_bytes(self) -> int:
        """Of our memory on the GPU, for a row of the picture; 0 where the kernels use the caller's."""
        return self._row * self._scale if self._copied else 0

    def bytes(self, band: Band) -> int:
        """Of our memory on the GPU."""
        first, end = self._extent(band)
        return (end - first) * self.row_bytes

    def shape(self, band: Band) -> Shape:
        """Of the band."""
        first, end = self._extent(band)
        return (end - first) * self._scale, *self._image.shape[1:]

    def rows(self, band: Band) -> NDArray[Any]:
        """The band's part of the host's array."""
        first, end = self._extent(band)
        part: NDArray[Any] = self._image[first * self._scale : end * self._scale]
        return part

    def address(self, band: Band) -> int:
        """Of the band's part of an image on a GPU."""
        first, _ = self._extent(band)
        return int(self._image.address) + first * self._scale * self._row

    def placed(self, band: Band, address: int) -> tuple[int, Shape]:
        """Address and shape of what the kernels see: the band at `address`, or the caller's whole image."""
        if self._copied:
            return address, self.shape(band)
        return int(self._image.address), tuple(self._image.shape)

    def copy_between_contexts(self, stream: Any, band: Band, ours: int, *, out: bool) -> None:
        """The band of an image that another context of the GPU owns to our memory at address `ours`, or from there
        (`out`). Raises DeviceError."""
        driver = bindings()
        mine, theirs = (ours, checked(driver.cuCtxGetCurrent())), (self.address(band), driver.CUcontext(self._owner))
        to, source = (theirs, mine) if out else (mine, theirs)
        checked(driver.cuMemcpyPeerAsync(*to, *source, self.bytes(band), stream.handle))

    @property
    def _row(self) -> int:
        _, width, channels = self._image.shape
        return int(width * channels * self.dtype.itemsize)

    def _extent(self, band: Band) -> tuple[int, int]:
        raise NotImplementedError


class InputImage(ImageBuffer):
    """The picture."""

    def _extent(self, band: Band) -> tuple[int, int]:
        return band.top, band.bottom


class OutputImage(ImageBuffer):
    """The canvas."""

    def _extent(self, band: Band) -> tuple[int, int]:
        return band.keep_top, band.keep_bottom


@contextmanager
def after_caller(stream: int | None, context: int) -> Iterator[Any]:
    """An event (CUevent) after what is on the caller's stream now; None if there is no stream.

    context: handle of the context that was current when the caller called, 0 if none. Raises DeviceError.
    """
    if stream is None:
        yield None
        return
    driver = bindings()
    handle = driver.CUstream(stream)
    default = stream in _DEFAULT_STREAMS
    if default:
        owner = driver.CUcontext(context) if context else checked(driver.cuCtxGetCurrent())
    else:
        owner = checked(driver.cuStreamGetCtx(handle))
    # An event is of the context of the stream that it is recorded on; anybody may wait for it.
    checked(driver.cuCtxPushCurrent(owner))
    try:
        event = checked(driver.cuEventCreate(driver.CUevent_flags.CU_EVENT_DISABLE_TIMING))
        status = driver.cuEventRecord(event, handle)
    finally:
        driver.cuCtxPopCurrent()
    try:
        checked(status)
        yield event
    finally:
        driver.cuEventDestroy(event)


def _foreign_owner(address: int) -> int:
    """The context that memory on the GPU is of, if that is not the current one; 0 if it is, and for memory of a pool,
    which is the device's."""
    driver = bindings()
    context = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_CONTEXT
    owner = int(checked(driver.cuPointerGetAttribute(context, address)) or 0)
    return 0 if owner == int(checked(driver.cuCtxGetCurrent())) else owner

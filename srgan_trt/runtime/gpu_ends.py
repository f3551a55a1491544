"""Where a picture comes from and where it goes to: arrays of the host, or images that lie on the GPU already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DeviceError
from .gpu_schedule import Band

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, int, int]


class End:
    """One image (H, W, C), `scale` output pixels for each pixel of the picture that bands count in."""

    def __init__(self, image: Any, scale: int) -> None:
        self.dtype: np.dtype[Any] = np.dtype(image.dtype)
        self._image = image
        self._scale = scale
        self.staged = isinstance(image, np.ndarray)
        """Whether the host has it, so that it is copied through page-locked memory."""

    @property
    def row_bytes(self) -> int:
        """Of our memory on the GPU, for a row of the picture; 0 where it lies on the GPU already."""
        _, width, channels = self._image.shape
        return width * channels * self.dtype.itemsize * self._scale if self.staged else 0

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

    def placed(self, band: Band, address: int) -> tuple[int, Shape]:
        """Address and shape of what the kernels see: the band at `address`, or the caller's whole image."""
        if self.bytes(band):
            return address, self.shape(band)
        return int(self._image.address), tuple(self._image.shape)

    def copy(self, band: Band, address: int, stream: Any) -> None:
        raise DeviceError("images on the GPU are not copied")

    def _extent(self, band: Band) -> tuple[int, int]:
        raise NotImplementedError


class Source(End):
    """The picture."""

    def _extent(self, band: Band) -> tuple[int, int]:
        return band.top, band.bottom


class Target(End):
    """The canvas."""

    def _extent(self, band: Band) -> tuple[int, int]:
        return band.keep_top, band.keep_bottom

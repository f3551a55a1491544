"""YUV and RGB: which matrix and range a video means, and the way there and back, right to two levels of 255.

PyAV's reformatter (swscale) does the sums, told everything: by itself it takes BT.601, limited. The flags were
chosen by comparing it with the formulas of BT.601, 709 and 2020 (tests/video/test_colour.py): 8 bits come three levels
off without the flags of full chroma, 10 bits come out wrong with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VideoError
from .library import library

_RGB, _BT709, _UNSPECIFIED, _BT601 = 0, 1, 2, 5
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9}
"""Those of ITU-T H.273 that swscale knows, and its numbers for them."""
_LIMITED, _FULL = 1, 2
PQ, HLG = 16, 18
_HD = 720
"""Lines from which on untagged video is BT.709 to every player."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """How a video's numbers are meant, in the numbers of ITU-T H.273; 2 is unspecified."""

    matrix: int
    primaries: int
    transfer: int
    full: bool
    """Whether levels are 0..255 rather than 16..235."""
    assumed: bool
    """Whether the matrix is a guess by the size."""

    @property
    def hdr(self) -> bool:
        return self.transfer in (PQ, HLG)


def colour_of(video: Any, *, pixel_format: str, lines: int, name: str) -> Colour:
    """The colour of a stream's codec context or a frame, with what its tags leave open as players take it.

    Raises VideoError for a matrix that is not converted (YCgCo, constant luminance).
    """
    matrix, primaries, transfer = int(video.colorspace), int(video.color_primaries), int(video.color_trc)
    full = pixel_format.startswith("yuvj") or int(video.color_range) == _FULL
    if not _is_yuv(pixel_format):
        # What is RGB already gets the matrix of today's screens.
        return Colour(matrix=_BT709, primaries=primaries, transfer=transfer, full=False, assumed=False)
    assumed = matrix in (_RGB, _UNSPECIFIED)
    if assumed:
        matrix = _BT709 if lines >= _HD else _BT601
        guess = _BT709 if lines >= _HD else 5 if lines in (288, 576) else 6
        primaries = guess if primaries == _UNSPECIFIED else primaries
        transfer = (1 if lines >= _HD else 6) if transfer == _UNSPECIFIED else transfer
    if matrix not in _MATRICES:
        raise VideoError(
            f"{name} has the colour matrix {matrix} of ITU-T H.273, which is not read: convert it to BT.709"
        )
    return Colour(matrix=matrix, primaries=primaries, transfer=transfer, full=full, assumed=assumed)


def _is_yuv(pixel_format: str) -> bool:
    return pixel_format.startswith(("yuv", "nv", "p0", "p2", "p4", "gray", "y2", "uyvy", "yvyu", "vuy", "xv", "ayuv"))


class ToRGB:
    """Frames of one video as RGB. One thread at a time."""

    def __init__(self, colour: Colour, *, bits: int) -> None:
        """bits: 8 or 16, of the result."""
        reformatter = library().video.reformatter
        flag = reformatter.Interpolation
        self._colour = colour
        self._format = "rgb24" if bits == 8 else "rgb48le"
        exact = flag.BILINEAR | flag.ACCURATE_RND | flag.FULL_CHR_H_INT | flag.FULL_CHR_H_INP
        self._flags = int(exact if bits == 8 else flag.BILINEAR | flag.ACCURATE_RND)
        self._reformatter = reformatter.VideoReformatter()

    def __call__(self, frame: Any) -> NDArray[Any]:
        """uint8 or uint16 (H, W, 3), 0 to the highest level."""
        if _is_yuv(frame.format.name):
            frame.colorspace = self._colour.matrix
            frame.color_range = _FULL if self._colour.full else _LIMITED
        rgb = self._reformatter.reformat(
            frame, format=self._format, dst_color_range=_FULL, interpolation=self._flags, threads=1
        )
        return np.ascontiguousarray(rgb.to_ndarray())


class FromRGB:
    """RGB as frames of one video to be encoded. One thread at a time."""

    def __init__(self, colour: Colour, *, pixel_format: str) -> None:
        reformatter = library().video.reformatter
        flag = reformatter.Interpolation
        self._colour, self._format = colour, pixel_format
        self._flags = int(flag.BILINEAR | flag.ACCURATE_RND | flag.FULL_CHR_H_INT | flag.FULL_CHR_H_INP)
        self._reformatter = reformatter.VideoReformatter()

    def __call__(self, pixels: NDArray[Any]) -> Any:
        """A frame of the pixel format, tagged. pixels: uint8 or uint16 (H, W, 3)."""
        frame = library().VideoFrame.from_ndarray(pixels, format="rgb24" if pixels.dtype == np.uint8 else "rgb48le")
        frame = self._reformatter.reformat(
            frame,
            format=self._format,
            src_color_range=_FULL,
            dst_colorspace=_MATRICES[self._colour.matrix],
            dst_color_range=_FULL if self._colour.full else _LIMITED,
            interpolation=self._flags,
            threads=1,
        )
        tag(frame, self._colour)
        return frame


def tag(what: Any, colour: Colour) -> None:
    """Writes the colour on a frame or a codec context."""
    what.colorspace, what.color_primaries, what.color_trc = colour.matrix, colour.primaries, colour.transfer
    what.color_range = _FULL if colour.full else _LIMITED

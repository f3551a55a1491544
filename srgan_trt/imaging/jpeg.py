"""JPEG files that Pillow does not read: of more than 8 bits, lossless ones, and those whose end is missing.

(ITU-T T.81, annex B; JPEG-LS is ITU-T T.87.)
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from .metadata import BAD_EXIF, EXIF_LEFT_OUT, Metadata, dpi_of, exif_block
from .picture import Picture, bands, from_array, quiet_pillow

_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_LOSSLESS, _LS, _SCAN, _END = 0xC3, 0xF7, 0xDA, b"\xff\xd9"
_EXIF = b"Exif\0\0"
MOST_EXIF = 1 << 20
"""Bytes that are read: a segment, which a file should have one of, holds 64 kB; Pillow joins more in minutes."""
_FILLINGS = (b"\0" * 64, b"\xaa" * 64)


@dataclass(frozen=True, slots=True)
class Header:
    """What the segments before the pixels say."""

    marker: int
    """Of the frame: how the pixels are compressed."""
    bits: int
    width: int
    height: int
    channels: int
    exif: tuple[tuple[int, int], ...]
    """(first byte, byte after the last) of each segment with EXIF."""

    @property
    def pillow(self) -> bool:
        """Whether Pillow reads it; else `read` does."""
        return self.bits == 8 and self.marker not in (_LOSSLESS, _LS)

    @property
    def exif_bytes(self) -> int:
        """Of all segments with EXIF."""
        return sum(end - begin for begin, end in self.exif)

    def is_hollow(self, size: int) -> bool:
        """Whether a file of `size` bytes is likely to hold few of the pixels that it states."""
        return self.width * self.height > 1000 * size


def read_header(stream: BinaryIO) -> Header:
    """Raises ValueError if there is no frame."""
    exif: list[tuple[int, int]] = []
    stream.seek(2)
    while (mark := stream.read(2)) and mark[0] == 0xFF:
        if mark[1] == 0xFF:
            stream.seek(-1, 1)  # a byte of filling
            continue
        begin = stream.tell() - 2
        (length,) = struct.unpack(">H", stream.read(2).rjust(2, b"\0"))
        if mark[1] in _FRAMES:
            bits, height, width, channels = struct.unpack(">BHHB", stream.read(6).ljust(6, b"\0"))
            return Header(mark[1], bits, width, height, channels, tuple(exif))
        if mark[1] == _SCAN:
            break
        if mark[1] == 0xE1 and stream.read(len(_EXIF)) == _EXIF:
            exif.append((begin, begin + 2 + length))
        stream.seek(begin + 2 + length)
    raise ValueError("no frame before its pixels")


def without_exif(data: bytes, header: Header) -> bytes:
    """`data` without its EXIF."""
    kept, at = [], 0
    for begin, end in header.exif:
        kept.append(data[at:begin])
        at = end
    return b"".join([*kept, data[at:]])


def read(data: bytes, header: Header) -> Picture:
    """A lossless JPEG, a JPEG-LS, or one of more than 8 bits. Raises what imagecodecs raises on damaged files."""
    import imagecodecs
    from PIL import Image

    if header.channels not in (1, 3):
        raise PictureError(f"its {header.channels} channels of {header.bits} bits are not supported: save it as RGB")
    decoders = {_LOSSLESS: imagecodecs.ljpeg_decode, _LS: imagecodecs.jpegls_decode}
    levels = decoders.get(header.marker, imagecodecs.jpeg_decode)(data)
    highest, most = np.iinfo(levels.dtype).max, 2**header.bits - 1
    if most < highest:
        for top, bottom in bands(levels.shape[0], levels[0].nbytes * 4):
            levels[top:bottom] = (levels[top:bottom].astype(np.uint64) * highest + most // 2) // most
    picture = from_array(levels)
    exif, block, notes = Image.Exif(), None, list[str]()
    try:
        for begin, end in header.exif[:1]:
            exif.load(data[begin + 4 : end])  # Pillow takes "Exif" off
        block = exif_block(exif)
    except BAD_EXIF:
        notes.append(EXIF_LEFT_OUT)
    return Picture(pixels=picture.pixels, metadata=Metadata(exif=block, dpi=dpi_of({}, block)), notes=tuple(notes))


def is_cut_off(data: bytes) -> bool:
    """Whether pixels are missing, seen at an eighth of the size, which takes little time and memory."""
    from PIL.JpegImagePlugin import JpegImageFile

    def small(data: bytes) -> NDArray[np.uint8]:
        with quiet_pillow():
            image = JpegImageFile(io.BytesIO(data))
            image.draft(image.mode, (image.width // 8, image.height // 8))
            return np.asarray(image)

    one, other = (small(variant) for variant in _ended(data))
    return not np.array_equal(one, other)


def _ended(data: bytes) -> tuple[bytes, bytes]:
    """`data` with one and with another filling before its end. Where all pixels are there, no filling is read."""
    body = data.removesuffix(_END).removesuffix(b"\xff")
    first, second = _FILLINGS
    return body + first + _END, body + second + _END


def completed(data: bytes, read: Callable[[bytes], Picture]) -> Picture | None:
    """What `read` makes of `data` with an end, where it has none; None if pixels are missing.

    libjpeg makes gray of what is missing, and Pillow does not say so.
    """
    one, other = (read(variant) for variant in _ended(data))
    return one if np.array_equal(one.pixels, other.pixels) else None

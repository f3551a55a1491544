"""JPEG XL by imagecodecs: the size from the header (ISO/IEC 18181-1, annex D), pixels, EXIF in its box (18181-2)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from ..errors import PictureError
from .metadata import BAD_EXIF, EXIF_LEFT_OUT, Metadata, dpi_of, exif_block, left_out, upright, upright_xmp, with_dpi
from .picture import Picture, from_array

SIGNATURES = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_STREAMS = (b"jxlc", b"jxlp")
_RATIOS = {1: (1, 1), 2: (6, 5), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def size(data: bytes) -> tuple[int, int]:
    """(width, height) as they are stored. Raises ValueError if there is no header."""
    stream = _codestream(data)
    if stream[:2] != SIGNATURES[0] or len(stream) < 12:
        raise ValueError("it has no codestream")
    bits = _Bits(int.from_bytes(stream[2:12], "little"))
    small = bits.take(1)
    height = 8 * (bits.take(5) + 1) if small else bits.side()
    if ratio := bits.take(3):
        across, down = _RATIOS[ratio]
        return height * across // down, height
    return (8 * (bits.take(5) + 1) if small else bits.side()), height


def read(data: bytes) -> Picture:
    """Upright: the decoder turns it. Raises PictureError for floats, and what imagecodecs raises on damaged files."""
    import imagecodecs

    pixels = imagecodecs.jpegxl_decode(data, index=0)
    if pixels.dtype.kind == "f":
        raise PictureError("it is a floating-point picture, which has no highest level: convert it to 8 or 16 bits")
    picture = from_array(pixels)
    exif, notes = _exif(data)
    xmp = next((content for kind, content in _boxes(data) if kind == b"xml "), None)
    return Picture(
        pixels=picture.pixels,
        alpha=picture.alpha,
        metadata=Metadata(exif=upright(exif), dpi=dpi_of({}, exif), xmp=upright_xmp(xmp)),
        notes=notes,
    )


def write(stream: BinaryIO, picture: Picture, *, quality: int | None) -> tuple[str, ...]:
    """Writes ``picture``, 8 or 16 bits; quality 1 to 100, or None to lose nothing. Returns what had to be left out."""
    import imagecodecs

    # Distances of visible difference, as libjxl's own program makes them of a quality.
    distance = (
        0.0 if quality is None else 0.1 + (100 - quality) * 0.09 if quality >= 30 else 6.4 + (30 - quality) * 0.28
    )
    how = {"lossless": True} if quality is None else {"distance": min(distance, 25.0)}
    levels = picture.pixels[:, :, 0] if picture.channels == 1 and picture.alpha is None else picture.pixels
    if picture.alpha is not None:
        levels = np.concatenate([levels, picture.alpha[:, :, None]], axis=2)
    encoded = bytes(imagecodecs.jpegxl_encode(np.ascontiguousarray(levels), usecontainer=False, **how))
    metadata = picture.metadata
    exif = with_dpi(metadata.exif, metadata.dpi) if metadata.dpi else metadata.exif
    stream.write(SIGNATURES[1] + _box(b"ftyp", b"jxl \0\0\0\0jxl "))
    if picture.bits == 16:
        stream.write(_box(b"jxll", b"\x0a"))  # level 10: more than 12 bits are not for every decoder
    if exif:
        stream.write(_box(b"Exif", bytes(4) + exif))
    if metadata.xmp:
        stream.write(_box(b"xml ", metadata.xmp))
    stream.write(_box(b"jxlc", _codestream(encoded)))
    return ("its colour profile was left out (jxl files are written as sRGB)",) if metadata.icc else ()


class _Bits:
    """Of a number, the lowest first."""

    def __init__(self, number: int) -> None:
        self._number = number

    def take(self, count: int) -> int:
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value

    def side(self) -> int:
        return 1 + self.take((9, 13, 18, 30)[self.take(2)])


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each box of a container; none of a bare codestream."""
    at = 0 if data.startswith(SIGNATURES[1]) else len(data)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1:
            length, begin = int.from_bytes(data[begin : begin + 8], "big"), begin + 8
        end = len(data) if length == 0 else at + length
        if end < begin:
            return
        yield kind, data[begin:end]
        at = end


def _codestream(data: bytes) -> bytes:
    """`data` itself if there is no container."""
    parts = [content[4:] if kind == b"jxlp" else content for kind, content in _boxes(data) if kind in _STREAMS]
    return b"".join(parts) if parts else data


def _box(kind: bytes, content: bytes) -> bytes:
    if len(content) + 8 < 1 << 32:
        return struct.pack(">I4s", len(content) + 8, kind) + content
    return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content


def _exif(data: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    from PIL import Image

    notes: tuple[str, ...] = ()
    for kind, content in _boxes(data):
        if kind == b"brob":
            notes = ("its compressed metadata was left out",)
        if kind == b"Exif":
            try:
                exif = Image.Exif()
                exif.load(content[4 + int.from_bytes(content[:4], "big") :])
                return exif_block(exif), (*notes, *left_out(exif, {}))
            except BAD_EXIF:
                return None, (EXIF_LEFT_OUT,)
    return None, notes

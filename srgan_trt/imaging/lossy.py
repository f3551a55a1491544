"""JPEG, WebP and AVIF: a picture as the bytes of a file, metadata included."""

from __future__ import annotations

import io
import struct
from typing import Any, BinaryIO

import numpy as np

from .metadata import Metadata, with_dpi
from .picture import Picture

_SEGMENT = 65533
"""Bytes that a JPEG segment can hold."""


def write_jpeg(stream: BinaryIO, picture: Picture, *, quality: int) -> tuple[str, ...]:
    """Writes an 8-bit ``picture`` without alpha; quality 1 to 100. Returns what had to be left out, for the user.

    By imagecodecs, because Pillow would take a copy of the pixels of 4 bytes each; colour is kept at full resolution.
    """
    import imagecodecs

    pixels = picture.pixels if picture.channels == 3 else picture.pixels[:, :, 0]
    encoded = imagecodecs.jpeg8_encode(pixels, quality, subsampling="444")
    segments, notes = _segments(picture.metadata)
    # The encoder begins with SOI and an 18-byte JFIF segment: replaced by one that states the resolution.
    length = struct.unpack(">H", encoded[4:6])[0]
    assert encoded[:4] == b"\xff\xd8\xff\xe0"
    stream.write(b"\xff\xd8" + segments)
    stream.write(memoryview(encoded)[4 + length :])
    return notes


def _segments(metadata: Metadata) -> tuple[bytes, tuple[str, ...]]:
    """JFIF (with the resolution), EXIF, XMP and ICC segments, in this order (JFIF 1.02; CIPA DC-008; ISO 16684-3;
    ICC.1:2022, B.4)."""
    unit, x, y = (1, *(round(value) for value in metadata.dpi)) if metadata.dpi else (0, 1, 1)
    result = _segment(0xE0, b"JFIF\0" + struct.pack(">HBHHBB", 0x0101, unit, x, y, 0, 0))
    notes: tuple[str, ...] = ()
    if metadata.exif:
        exif = b"Exif\0\0" + metadata.exif
        if len(exif) <= _SEGMENT:
            result += _segment(0xE1, exif)
        else:
            notes = (f"its EXIF of {len(exif):,} bytes is more than a JPEG can hold and was left out",)
    if metadata.xmp:
        xmp = b"http://ns.adobe.com/xap/1.0/\0" + metadata.xmp
        if len(xmp) <= _SEGMENT:
            result += _segment(0xE1, xmp)
        else:
            notes += (f"its XMP of {len(metadata.xmp):,} bytes is more than a JPEG can hold and was left out",)
    if metadata.icc:
        size = _SEGMENT - 14
        parts = [metadata.icc[at : at + size] for at in range(0, len(metadata.icc), size)]
        if len(parts) <= 255:
            for number, part in enumerate(parts, 1):
                result += _segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part)
        else:
            notes += ("its colour profile is more than a JPEG can hold and was left out",)
    return result, notes


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def write_webp(stream: BinaryIO, picture: Picture, *, quality: int | None) -> None:
    """Writes an 8-bit ``picture``, gray as RGB (WebP has no gray); quality 1 to 100, or None to lose nothing; alpha is
    always exact."""
    # Without a loss its quality is the effort, and colours under transparent pixels are kept only if asked for.
    how = {"quality": quality, "method": 2} if quality is not None else {"lossless": True, "quality": 50, "exact": True}
    _write_with_pillow(stream, picture, "WEBP", how)


def write_avif(stream: BinaryIO, picture: Picture, *, quality: int) -> None:
    """Writes an 8-bit ``picture``, gray as RGB, with colour at full resolution; quality 1 to 100."""
    _write_with_pillow(stream, picture, "AVIF", {"quality": quality, "subsampling": "4:4:4"})


def _write_with_pillow(stream: BinaryIO, picture: Picture, format: str, how: dict[str, Any]) -> None:
    from PIL import Image

    layers = [picture.pixels] * (3 if picture.channels == 1 else 1)
    if picture.alpha is not None:
        layers.append(picture.alpha[:, :, None])
    image = Image.fromarray(layers[0] if len(layers) == 1 else np.concatenate(layers, axis=2))
    metadata = picture.metadata
    exif = with_dpi(metadata.exif, metadata.dpi) if metadata.dpi else metadata.exif
    encoded = io.BytesIO()
    icc = metadata.icc if picture.channels == 3 else None
    image.save(encoded, format, **how, exif=exif or b"", icc_profile=icc or b"", xmp=metadata.xmp or b"")
    stream.write(encoded.getbuffer())

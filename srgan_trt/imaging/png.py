"""PNG: 16-bit files read with their metadata, and any picture written in bands by all cores.

Written here rather than by a library because a x4 result can be several GB: nothing but a few bands is held besides
the picture itself, transparency is joined band by band, and the cores share the compression, which libpng's encoder
leaves to one. (PNG specification, third edition, W3C 2025.)
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from .metadata import BAD_EXIF, EXIF_LEFT_OUT, Metadata, dpi_of, exif_block, fitting_icc, left_out, text_of, xmp_of
from .picture import Picture, bands, from_array, quiet_pillow
from .workers import in_order

if TYPE_CHECKING:
    from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PAETH = 4
_SPARE = 1 << 20
_FILTER_BYTES = 1 << 16
_COLOUR_CHUNKS = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
"""Sizes of the chunks that say what levels mean, beside the profile (sections 11.3.2)."""
_COLOUR_TYPES = {(1, False): 0, (3, False): 2, (1, True): 4, (3, True): 6}


def header(head: bytes) -> tuple[int, int, int]:
    """(width, height, bits of a sample) from the first 26 bytes. Raises ValueError if they are not a PNG's."""
    if len(head) < 26 or head[12:16] != b"IHDR":
        raise ValueError("its first chunk is not an IHDR")
    width, height, depth = struct.unpack(">IIB", head[16:25])
    if not width or not height:
        raise ValueError("it has no pixels")
    return width, height, depth


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, data) of each whole chunk of a PNG file, in order."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += 12 + length


def without_damaged(data: bytes) -> tuple[bytes, str]:
    """``data`` without chunks that are damaged but that the picture does not need, and their types, in words."""
    kept, lost, at = [SIGNATURE], list[str](), len(SIGNATURE)
    for kind, content in chunks(data):
        after = at + 12 + len(content)
        if kind[:1].islower() and data[after - 4 : after] != struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))):
            lost.append(kind.decode("latin-1"))
        else:
            kept.append(data[at:after])
        at = after
    return b"".join([*kept, data[at:]]), ", ".join(dict.fromkeys(lost))


def colour_of(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """(type, content) of the chunks that say what a PNG's levels mean, of the file's beginning ``data``."""
    ahead = itertools.takewhile(lambda chunk: chunk[0] != b"IDAT", chunks(data))
    return tuple((kind, bytes(content)) for kind, content in ahead if len(content) == _COLOUR_CHUNKS.get(kind))


def scale_transparent_level(image: Image.Image, depth: int) -> None:
    """Brings the transparent level of a gray PNG of 2 or 4 bits to the 0..255 that Pillow makes of its pixels."""
    level = image.info.get("transparency")
    if image.mode == "L" and depth in (2, 4) and isinstance(level, int):
        image.info["transparency"] = level * 255 // (2**depth - 1)


def read_16_bit(data: bytes) -> Picture:
    """A PNG of 16-bit samples, which Pillow would reduce to 8. Raises what imagecodecs raises on damaged files."""
    import imagecodecs
    from PIL import Image, PngImagePlugin

    # Deflate makes nothing twice as large: more would be unpacked only to be thrown away, which may take long.
    width, height, _ = header(data)
    if sum(len(content) for kind, content in chunks(data) if kind == b"IDAT") > 16 * width * height + _SPARE:
        raise PictureError("it has far more data than pixels: get the file again, or save it anew")
    picture = from_array(imagecodecs.png_decode(data))
    with quiet_pillow():
        info = PngImagePlugin.PngImageFile(io.BytesIO(data)).info
        exif = Image.Exif()
        block, notes = None, list[str]()
        try:
            for content in (content for kind, content in chunks(data) if kind == b"eXIf"):
                exif.load(content)
            block = exif_block(exif)
            notes += left_out(exif, info)
        except BAD_EXIF:
            notes.append(EXIF_LEFT_OUT)
    icc = fitting_icc(info.get("icc_profile"), channels=picture.channels)
    return Picture(
        pixels=picture.pixels,
        alpha=picture.alpha,
        metadata=Metadata(
            exif=block, icc=icc, dpi=dpi_of(info, block), xmp=xmp_of(info), text=text_of(info), colour=colour_of(data)
        ),
        notes=tuple(notes),
    )


def write(stream: BinaryIO, picture: Picture) -> None:
    """Writes ``picture`` with its metadata; ``stream`` need not be seekable."""
    stream.write(SIGNATURE)
    colour_type = _COLOUR_TYPES[picture.channels, picture.alpha is not None]
    _chunk(stream, b"IHDR", struct.pack(">IIBB3x", picture.width, picture.height, picture.bits, colour_type))
    for kind, content in _metadata_chunks(picture.metadata):
        _chunk(stream, kind, content)
    samples = picture.channels + (picture.alpha is not None)
    pixel_bytes = samples * picture.bits // 8
    parts = bands(picture.height, picture.width * pixel_bytes)

    def compressed(part: tuple[int, int]) -> tuple[bytes, int, int]:
        rows = _filtered(_band(picture, max(0, part[0] - 1), part[1]), first=part[0] == 0, pixel_bytes=pixel_bytes)
        # RLE on top of the Paeth filter: in a tenth of the time as small as zlib's default on upscaled photos.
        deflate = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
        data = deflate.compress(rows.data)
        data += deflate.flush(zlib.Z_FINISH if part[1] == picture.height else zlib.Z_SYNC_FLUSH)
        return data, zlib.adler32(rows.data), rows.size

    checksum = 1
    for (top, bottom), (data, band_checksum, size) in zip(parts, in_order(compressed, parts), strict=True):
        checksum = _adler32_joined(checksum, band_checksum, size)
        begin = b"\x78\x01" if top == 0 else b""
        end = struct.pack(">I", checksum) if bottom == picture.height else b""
        _chunk(stream, b"IDAT", begin + data + end)
    _chunk(stream, b"IEND", b"")


def _chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + kind)
    stream.write(content)
    stream.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(kind))))


def _metadata_chunks(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    yield from metadata.colour
    if metadata.icc:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(metadata.icc)
    if metadata.dpi:
        yield b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in metadata.dpi), 1)
    if metadata.exif:
        yield b"eXIf", metadata.exif
    if metadata.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + metadata.xmp
    for key, text in metadata.text:
        keyword = key.encode("latin-1", "replace")
        try:
            yield b"tEXt", keyword + b"\0" + text.encode("latin-1")
        except UnicodeEncodeError:
            yield b"iTXt", keyword + b"\0\0\0\0\0" + text.encode("utf-8", "replace")


def _band(picture: Picture, top: int, bottom: int) -> NDArray[np.uint8]:
    """Rows top to bottom as the file has them: (rows, bytes), samples interleaved, big-endian."""
    band = picture.pixels[top:bottom]
    if picture.alpha is not None:
        band = np.concatenate([band, picture.alpha[top:bottom, :, None]], axis=2)
    big_endian = band.astype(band.dtype.newbyteorder(">"), copy=False)
    return big_endian.reshape(bottom - top, -1).view(np.uint8)


def _filtered(rows: NDArray[np.uint8], *, first: bool, pixel_bytes: int) -> NDArray[np.uint8]:
    """``rows``, which begin with the one above the band unless it is the ``first``, by the Paeth filter (9.4)."""
    if first:
        rows = np.concatenate([np.zeros_like(rows[:1]), rows])
    result = np.empty((rows.shape[0] - 1, 1 + rows.shape[1]), np.uint8)
    result[:, 0] = _PAETH
    # Left of the first pixel all is zero, where the Paeth predictor is the pixel above.
    np.subtract(rows[1:, :pixel_bytes], rows[:-1, :pixel_bytes], out=result[:, 1 : 1 + pixel_bytes])
    # A few rows at a time: the intermediate arrays then stay in the core's cache, which makes this five times faster.
    step = max(1, _FILTER_BYTES // rows.shape[1])
    for top in range(0, result.shape[0], step):
        wide = rows[top : top + step + 1].astype(np.int16)
        values = wide[1:, pixel_bytes:]
        left, above, corner = wide[1:, :-pixel_bytes], wide[:-1, pixel_bytes:], wide[:-1, :-pixel_bytes]
        from_left, from_above = above - corner, left - corner
        from_corner = np.abs(from_left + from_above)
        from_left, from_above = np.abs(from_left, out=from_left), np.abs(from_above, out=from_above)
        # Sign bits as masks, -1 or 0: far quicker than numpy.where.
        not_left = (np.minimum(from_above, from_corner) - from_left) >> 15
        not_above = (from_corner - from_above) >> 15
        nearest = above ^ ((above ^ corner) & not_above)
        nearest = left ^ ((left ^ nearest) & not_left)
        result[top : top + step, 1 + pixel_bytes :] = values - nearest
    return result


def _adler32_joined(first: int, second: int, second_size: int) -> int:
    """The Adler-32 of two byte strings in a row by those of each (RFC 1950, section 8)."""
    modulus = 65521
    low = (first & 0xFFFF) + (second & 0xFFFF) - 1
    high = (first >> 16) + (second >> 16) + second_size * ((first & 0xFFFF) - 1)
    return high % modulus << 16 | low % modulus

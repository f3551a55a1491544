"""TIFF: what a file's first page is, its pixels where they have 16 bits, and any picture written in strips.

8-bit pages are left to Pillow, which knows every old kind of them but none of 16-bit colour. Writing is done here so
that a result of several GB (BigTIFF) is compressed strip by strip by all cores, and its EXIF directories go along,
which neither Pillow (no 16-bit colour) nor tifffile (no nested directories) can do. (TIFF 6.0, Adobe 1992.)
"""

from __future__ import annotations

import logging
import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np

from ..errors import PictureError
from .metadata import (
    BAD_EXIF,
    EXIF_LEFT_OUT,
    Metadata,
    dpi_of,
    exif_block,
    fitting_icc,
    left_out,
    main_entries,
    nested_directories,
    xmp_of,
)
from .picture import Picture, Samples, bands, from_array, quiet_pillow
from .workers import in_order

_MINISWHITE, _MINISBLACK, _RGB, _CMYK = 0, 1, 2, 5
_DNG = 50706
_RAW = (32803, 34892)
"""Photometric interpretations: a colour filter's mosaic, and linear sensor values."""
_PILLOW_CODECS = frozenset({*range(1, 9), 32771, 32773, 32809, 32946, 34676, 34677, 34925, 50000})
"""Compressions that Pillow's libtiff has in every build; tifffile and imagecodecs read the others."""
_SEARCHED = 16
"""Pages that are looked at for one that is no thumbnail."""
_ICC, _XMP = 34675, 700
_BYTE, _SHORT, _LONG, _RATIONAL, _UNDEFINED, _LONG8 = 1, 3, 4, 5, 7, 16
# From here on file offsets might not fit into 32 bits.
_BIG = 4_000_000_000

# tifffile reports through logging, which prints warnings where nobody set it up.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the picture of a TIFF is, and what it is."""

    page: int
    """0 for the first."""
    width: int
    height: int
    pillow: bool
    """Whether Pillow reads it in full; else ``read`` does."""
    notes: tuple[str, ...]
    """Of pages that were not taken."""


def read_layout(stream: BinaryIO) -> Layout:
    """Finds the first page that is not a thumbnail. Raises PictureError for raw photos and for samples other than
    unsigned integers of 1 to 8 or 16 bits, and what tifffile raises on a damaged file."""
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        _refuse_raw(file)
        pages = len(file.pages)
        candidates = (number for number in range(min(pages, _SEARCHED)) if not _is_thumbnail(file.pages[number]))
        number = next(candidates, 0)
        page: Any = file.pages[number]
        bits, kind = int(page.bitspersample), int(page.sampleformat)
        if kind != 1 or bits not in (1, 2, 4, 8, 16):
            what = {1: "unsigned", 2: "signed", 3: "floating-point"}.get(kind, "unusual")
            raise PictureError(f"its samples are {bits}-bit {what} numbers: save it with 8 or 16 bits, unsigned")
        # Pillow takes a big-endian BigTIFF for something else.
        pillow = bits <= 8 and not (file.is_bigtiff and file.byteorder == ">") and _pillow_reads(page)
        if not pillow:
            _check_readable(page, bits)
        which = (
            f"page {number + 1} of {pages}, the first that is no thumbnail,"
            if number
            else f"the first of {pages} pages"
        )
        notes = (f"{which} was taken",) if pages > 1 else ()
        return Layout(number, int(page.imagewidth), int(page.imagelength), pillow, notes)


def _refuse_raw(file: Any) -> None:
    """Raises PictureError for the raw photo of a camera: its first page is a thumbnail, its picture no colours yet."""
    page = file.pages[0]
    parts = [page, *(page.pages or ())] if _is_thumbnail(page) else [page]
    if _DNG in page.tags or any(int(part.photometric) in _RAW for part in parts):
        raise PictureError("it is a raw photo of a camera: develop it with a raw converter, and give the TIFF or JPEG")


def _is_thumbnail(page: Any) -> bool:
    return bool(int(page.subfiletype) & 0b101)  # a smaller version, or a mask of another page


def _pillow_reads(page: Any) -> bool:
    samples, photometric = int(page.samplesperpixel), int(page.photometric)
    most = {_MINISWHITE: 2, _MINISBLACK: 2, _RGB: 4, _CMYK: 4}.get(photometric, samples)
    planes = int(page.planarconfig) == 2 and samples > 1 and photometric != _RGB
    return int(page.compression) in _PILLOW_CODECS and samples <= most and not planes


def _check_readable(page: Any, bits: int) -> None:
    """Raises PictureError for what ``read`` does not take, by name."""
    import tifffile

    codec, colours = (getattr(value, "name", value) for value in (page.compression, page.photometric))
    if page.compression not in tifffile.TIFF.DECOMPRESSORS:
        raise PictureError(f"its compression ({codec}) is not supported: save it with LZW or deflate")
    if int(page.photometric) not in (_MINISWHITE, _MINISBLACK, _RGB) or bits < 8:
        raise PictureError(
            f"its {page.samplesperpixel} channels of {bits}-bit colours ({colours}, {codec}) are neither gray nor RGB: "
            "save it as 8-bit or 16-bit RGB"
        )


def read(stream: BinaryIO, layout: Layout) -> Picture:
    """The page of a TIFF of 8-bit or 16-bit gray or RGB, with alpha where it has some."""
    import tifffile

    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page: Any = file.pages[layout.page]
        samples = page.asarray()
        if page.axes.startswith("S"):
            samples = np.moveaxis(samples, 0, -1)
        samples = samples.reshape(page.imagelength, page.imagewidth, -1)
        notes = list(layout.notes)
        colours = 3 if page.photometric == _RGB else 1
        # ExtraSamples: 1 is premultiplied alpha, 2 alpha as it is here, 0 anything else.
        alphas = [at for at, kind in enumerate(page.extrasamples) if kind in (1, 2)]
        if samples.shape[2] > colours + len(alphas[:1]):
            notes.append("its extra channels were left out")
        pixels = samples[:, :, :colours]
        if page.photometric == _MINISWHITE:
            pixels = np.iinfo(pixels.dtype).max - pixels
        alpha = samples[:, :, colours + alphas[0]] if alphas else None
        if alpha is not None and page.extrasamples[alphas[0]] == 1:
            pixels = _unpremultiplied(pixels, alpha)
        exif, said = _exif(stream, file, page)
        notes += said
        metadata = Metadata(
            exif=exif,
            icc=fitting_icc(page.tags.valueof(_ICC), channels=colours),
            dpi=dpi_of({"dpi": _dpi(page.tags)}, None),
            xmp=xmp_of({"xmp": page.tags.valueof(_XMP)}),
        )
    picture = from_array(pixels if alpha is None else np.concatenate([pixels, alpha[:, :, None]], axis=2))
    return Picture(pixels=picture.pixels, alpha=picture.alpha, metadata=metadata, notes=tuple(notes))


def _unpremultiplied(pixels: Samples, alpha: Samples) -> Samples:
    result = np.empty(pixels.shape, pixels.dtype)
    highest = np.iinfo(pixels.dtype).max
    for top, bottom in bands(pixels.shape[0], pixels.shape[1] * 24):
        divisor = np.maximum(alpha[top:bottom, :, None], 1).astype(np.uint64)
        result[top:bottom] = np.minimum((pixels[top:bottom] * np.uint64(highest) + divisor // 2) // divisor, highest)
    return result


def _exif(stream: BinaryIO, file: Any, page: Any) -> tuple[bytes | None, list[str]]:
    """The tags of ``page`` that are about the photo, and what is to be said of the others."""
    from PIL import Image

    exif = Image.Exif()
    exif.bigtiff, exif.endian = bool(file.is_bigtiff), str(file.byteorder)
    try:
        with quiet_pillow():
            exif.load_from_fp(stream, int(page.offset))
            return exif_block(exif), left_out(exif, {})
    except BAD_EXIF:
        return None, [EXIF_LEFT_OUT]


def _dpi(tags: Any) -> tuple[float, float] | None:
    factor = {2: 1.0, 3: 2.54}.get(tags.valueof(296, 2))
    values = tags.valueof(282), tags.valueof(283)
    if factor is None or not all(isinstance(value, tuple) and len(value) == 2 and value[1] for value in values):
        return None
    x, y = (factor * value[0] / value[1] for value in values)
    return x, y


def write(stream: BinaryIO, picture: Picture, *, big: bool | None = None) -> None:
    """Writes ``picture`` with its metadata to the seekable ``stream``; BigTIFF if it may pass 4 GB, or by ``big``."""
    samples = picture.channels + (picture.alpha is not None)
    row_bytes = picture.width * samples * picture.bits // 8
    if big is None:
        big = row_bytes * picture.height > _BIG
    start = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0) if big else struct.pack("<2sHL", b"II", 42, 0)
    stream.write(start)
    position = len(start)
    parts = bands(picture.height, row_bytes)

    def compressed(part: tuple[int, int]) -> bytes:
        return zlib.compress(_differences(picture, *part), 1)

    offsets, counts = [], []
    for strip in in_order(compressed, parts):
        offsets.append(position)
        counts.append(len(strip))
        stream.write(strip)
        position += len(strip)
    stream.write(b"\0" * (position % 2))
    position += position % 2
    entries = _described(picture, offsets, counts, rows=parts[0][1], big=big)
    nested = nested_directories(picture.metadata.exif)
    stream.write(_directory(entries, nested, position, big=big))
    stream.seek(8 if big else 4)
    stream.write(struct.pack("<Q" if big else "<L", position))
    stream.seek(0, 2)


def _differences(picture: Picture, top: int, bottom: int) -> bytes:
    """Rows top to bottom, interleaved, each sample less the one to its left (predictor 2, section 14)."""
    band = picture.pixels[top:bottom]
    if picture.alpha is not None:
        band = np.concatenate([band, picture.alpha[top:bottom, :, None]], axis=2)
    result = band.copy()
    np.subtract(band[:, 1:], band[:, :-1], out=result[:, 1:])
    return result.astype(result.dtype.newbyteorder("<"), copy=False).tobytes()


def _described(
    picture: Picture, offsets: list[int], counts: list[int], *, rows: int, big: bool
) -> dict[int, tuple[int, int, bytes]]:
    """The entries of the main directory: tag -> (type, count, value)."""
    metadata = picture.metadata
    samples = picture.channels + (picture.alpha is not None)
    entries = main_entries(metadata.exif)
    entries |= {
        256: _numbers(_LONG, picture.width),
        257: _numbers(_LONG, picture.height),
        258: _numbers(_SHORT, *[picture.bits] * samples),
        259: _numbers(_SHORT, 8),
        262: _numbers(_SHORT, _RGB if picture.channels == 3 else _MINISBLACK),
        273: _numbers(_LONG8 if big else _LONG, *offsets),
        277: _numbers(_SHORT, samples),
        278: _numbers(_LONG, rows),
        279: _numbers(_LONG8 if big else _LONG, *counts),
        284: _numbers(_SHORT, 1),
        317: _numbers(_SHORT, 2),
        339: _numbers(_SHORT, *[1] * samples),
    }
    if picture.alpha is not None:
        entries[338] = _numbers(_SHORT, 2)
    if metadata.xmp:
        entries[_XMP] = (_BYTE, len(metadata.xmp), metadata.xmp)
    if metadata.icc:
        entries[_ICC] = (_UNDEFINED, len(metadata.icc), metadata.icc)
    if metadata.dpi:
        entries |= {282: _fraction(metadata.dpi[0]), 283: _fraction(metadata.dpi[1]), 296: _numbers(_SHORT, 2)}
    return entries


def _numbers(kind: int, *values: int) -> tuple[int, int, bytes]:
    letter = {_SHORT: "H", _LONG: "L", _LONG8: "Q"}[kind]
    return kind, len(values), struct.pack(f"<{len(values)}{letter}", *values)


def _fraction(value: float) -> tuple[int, int, bytes]:
    return _RATIONAL, 1, struct.pack("<LL", *Fraction(value).limit_denominator(10_000).as_integer_ratio())


def _directory(
    entries: dict[int, tuple[int, int, bytes]], nested: dict[int, dict[int, Any]], position: int, *, big: bool
) -> bytes:
    """The main directory as it stands at ``position``, then the values that do not fit in it, then ``nested``."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    count, entry, offset, inline = ("<Q", "<HHQ", "<Q", 8) if big else ("<H", "<HHL", "<L", 4)
    tags = sorted({*entries, *nested})
    after = position + struct.calcsize(count) + len(tags) * (struct.calcsize(entry) + inline) + inline
    main, tail = struct.pack(count, len(tags)), b""
    for tag in tags:
        if tag in nested:
            header = struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) if big else struct.pack("<2sHL", b"II", 42, 8)
            directory = ImageFileDirectory_v2(header, group=tag)
            for key, value in nested[tag].items():
                directory[key] = value
            main += struct.pack(entry, tag, _LONG8 if big else _LONG, 1) + struct.pack(offset, after + len(tail))
            tail += directory.tobytes(after + len(tail))
        else:
            kind, length, value = entries[tag]
            main += struct.pack(entry, tag, kind, length)
            if len(value) <= inline:
                main += value.ljust(inline, b"\0")
            else:
                main += struct.pack(offset, after + len(tail))
                tail += value
        tail += b"\0" * (len(tail) % 2)
    return main + struct.pack(offset, 0) + tail

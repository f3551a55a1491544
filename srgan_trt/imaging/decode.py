"""File or bytes -> Picture: the format by its first bytes, the size by its header, and only then the pixels."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ..errors import LargePictureError, PictureError, UnknownFormatError, one_line
from . import jpeg, jxl, png, tiff
from .compression import webp_compression
from .metadata import EXIF_LEFT_OUT, orientation, upright, upright_xmp
from .picture import Picture, Samples, from_pil, quiet_pillow

if TYPE_CHECKING:
    from PIL import ImageFile

MAX_PIXELS = 200_000_000
"""Pixels of an input that are taken without being asked for more; about 20,000 x 10,000."""

READABLE = "JPEG, PNG, WebP, TIFF, AVIF, JPEG XL, JPEG 2000, BMP, GIF, PPM and TGA"
SUFFIXES = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".avif", ".jxl"),
        *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
    ]
)
"""Of files that folders and patterns are searched for, in lower case."""

_SIZ = b"\xff\x4f\xff\x51"
"""Begins a JPEG 2000 codestream, whose first segment tells the bits of its samples."""
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (png.SIGNATURE, "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    *((signature, "JXL") for signature in jxl.SIGNATURES),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (_SIZ, "JPEG2000"),
)
_PPM = re.compile(rb"P[1-6]\s")


_RAW_PHOTOS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")
"""Of Fujifilm, Olympus, Panasonic, Sigma; others are TIFF files."""
_PNG_HEAD = 1 << 16
"""Bytes of a PNG that are looked through for what its levels mean: chunks before the pixels, after a profile."""
CANVASES = 5
"""How often decoders of moving pictures hold a frame."""
_WEBP_MOVES = 2
_HEAD = 1 << 20
"""Bytes of other files that are looked through for what may come after a profile or a transparency."""


def decode(source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Reads a picture of any of the ``READABLE`` formats, upright, in the bits it has.

    ``name`` is what errors call it (default: the path). Raises PictureError if it cannot be read, is not a picture, is
    damaged or cut off, or has more than ``max_pixels`` pixels; that is found in the header, before memory is taken.
    """
    name = name or (str(source) if isinstance(source, Path) else "the picture")
    with _explained(name), _opened(source) as stream:
        head = stream.read(32)
        format_ = _format(head, name)
        stream.seek(0)
        return dataclasses.replace(_decoded(stream, format_, head, name, max_pixels), format=format_)


def picture_size(source: Path | bytes, *, name: str | None = None) -> tuple[int, int]:
    """(width, height) in pixels as the header has them, not turned upright; no pixel is decoded.

    ``name`` is what errors call it (default: the path). Raises UnknownFormatError for what ``decode`` does not read,
    another PictureError if the header is damaged.
    """
    name = name or (str(source) if isinstance(source, Path) else "the picture")
    with _explained(name), _opened(source) as stream:
        head = stream.read(32)
        format_ = _format(head, name)
        stream.seek(0)
        if format_ == "PNG":
            return png.header(head)[:2]
        if format_ == "WEBP":
            return _webp_size(head)
        if format_ == "JXL":
            return jxl.size(stream.read())
        if format_ == "TIFF":
            layout = tiff.read_layout(stream)
            return layout.width, layout.height
        with quiet_pillow():
            return _plugin(format_)(stream).size


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Whatever decoders raise becomes a PictureError that begins with `name`."""
    try:
        yield
    except PictureError as error:
        if str(error).startswith(name):
            raise
        raise PictureError(f"{name}: {error}") from error
    except MemoryError:
        raise PictureError(f"{name} needs more memory than there is: give a smaller picture, or parts of it") from None
    except OSError as error:
        if error.errno is not None and error.strerror:
            raise PictureError(f"{name} cannot be read: {error.strerror}") from error
        raise _damaged(name, error) from error
    except Exception as error:
        # The decoders of three libraries meet bytes from anywhere: what they raise on them has no common base.
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> PictureError:
    return PictureError(f"{name} is damaged or cut off ({one_line(error)}): get the file again, or repair it")


@contextlib.contextmanager
def _opened(source: Path | bytes) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif source.is_file() or not source.exists():
        with source.open("rb") as file:
            yield file
    else:
        # A pipe cannot be searched; a folder says here that it is one.
        yield io.BytesIO(source.read_bytes())


def _format(head: bytes, name: str) -> str:
    if not head:
        raise PictureError(f"{name} is empty (0 bytes): get the file again")
    for signature, format_ in _SIGNATURES:
        if head.startswith(signature):
            return format_
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    if _PPM.match(head):
        return "PPM"
    if _is_tga(head, name):
        return "TGA"
    if head.startswith(_RAW_PHOTOS) or head[4:11] == b"ftypcrx":
        raise PictureError(
            f"{name} is a raw photo of a camera: develop it with a raw converter, and give the TIFF or JPEG"
        )
    if head.startswith(b"version https://git-lfs"):
        looks = "a Git LFS pointer, for which 'git lfs pull' fetches the file"
    elif head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        looks = "a web page or XML"
    elif head[4:8] == b"ftyp":
        looks = "a HEIC or video file"
    elif all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        looks = "a text file"
    else:
        looks = "of a kind unknown here"
    raise UnknownFormatError(
        f"{name} is not a readable picture (it is {looks}): convert it, or give another ({READABLE})"
    )


def check_pixels(name: str, width: int, height: int, max_pixels: int, *, moves: bool = False) -> None:
    """Raises LargePictureError for more than ``max_pixels``, or a fifth of that in a picture that ``moves``."""
    most = max_pixels // CANVASES if moves else max_pixels
    if width * height > most:
        what = "million pixels in a frame" if moves else "million pixels"
        raise LargePictureError(
            f"{name} has {width:,} x {height:,} = {width * height / 1e6:,.1f} {what}, more than the limit of "
            f"{most / 1e6:,.1f} million: raise it with --max-pixels (max_pixels=) if you trust the file"
        )


def _decoded(stream: BinaryIO, format_: str, head: bytes, name: str, max_pixels: int) -> Picture:
    def check(width: int, height: int, *, moves: bool = False) -> None:
        check_pixels(name, width, height, max_pixels, moves=moves)

    if format_ == "PNG":
        width, height, depth = png.header(head)
        check(width, height)
        return stand_upright(_png(stream, depth, check))
    elif format_ == "JPEG":
        return stand_upright(_jpeg(stream, check))
    elif format_ == "WEBP":
        check(*_webp_size(head), moves=head[12:16] == b"VP8X" and bool(head[20] & _WEBP_MOVES))
        compression = webp_compression(stream.read(_HEAD))
        stream.seek(0)
        return dataclasses.replace(stand_upright(_with_pillow(stream, format_, check)), compression=compression)
    elif format_ == "TIFF":
        layout = tiff.read_layout(stream)
        check(layout.width, layout.height)
        if not layout.pillow:
            return stand_upright(tiff.read(stream, layout))
        stream.seek(0)
        picture = stand_upright(_with_pillow(stream, format_, check, lambda image: image.seek(layout.page)))
        return dataclasses.replace(picture, notes=(*picture.notes, *layout.notes))
    elif format_ == "JXL":
        data = stream.read()
        check(*jxl.size(data))
        return jxl.read(data)
    elif format_ in ("AVIF", "JPEG2000", "PPM"):
        bits = _stored_bits(stream.read(_HEAD), format_)
        stream.seek(0)
        picture = stand_upright(_with_pillow(stream, format_, check))
        said = f"its {bits} bits were reduced to 8 (colour {format_} files are read in no more)"
        return (
            picture if bits <= 8 or picture.bits == 16 else dataclasses.replace(picture, notes=(*picture.notes, said))
        )
    return stand_upright(_with_pillow(stream, format_, check))


def _stored_bits(head: bytes, format_: str) -> int:
    """Of a sample, where Pillow may read less; 8 where the file does not tell."""
    if format_ == "AVIF":
        at = head.find(b"pixi")  # HEIF, 6.5.6: version and flags, number of channels, bits of each
        return head[at + 9] if 0 <= at < len(head) - 9 else 8
    if format_ == "JPEG2000":
        at = head.find(_SIZ)  # ISO/IEC 15444-1, A.5.1
        return (head[at + 42] & 0x7F) + 1 if 0 <= at < len(head) - 42 else 8
    if format_ == "PPM" and head[:2] in (b"P3", b"P6"):
        numbers = re.sub(rb"#[^\n]*", b"", head).split(None, 4)[1:4]
        return max(8, int(numbers[2]).bit_length())
    return 8


def _is_tga(head: bytes, name: str) -> bool:
    """By the name and the kind of map and picture: older ones have no signature."""
    known = len(head) >= 18 and head[1] in (0, 1) and head[2] in (1, 2, 3, 9, 10, 11) and head[16] in (8, 16, 24, 32)
    return known and name.lower().endswith(".tga")


def _with_pillow(
    stream: BinaryIO,
    format_: str,
    check: Callable[..., None],
    prepare: Callable[[ImageFile.ImageFile], None] = lambda image: None,
) -> Picture:
    # The plugins are opened directly: Image.open tries every format there is, and has a limit of its own.
    with quiet_pillow():
        image = _plugin(format_)(stream)
        prepare(image)
    check(*image.size, moves=format_ != "TIFF" and getattr(image, "is_animated", False))
    picture = from_pil(image)
    if format_ != "TIFF" and (frames := _frames(image)) != "1":
        picture = dataclasses.replace(picture, notes=(*picture.notes, f"the first of {frames} frames was taken"))
    return picture


def _png(stream: BinaryIO, depth: int, check: Callable[[int, int], None]) -> Picture:
    def read(stream: BinaryIO) -> Picture:
        if depth == 16:
            return png.read_16_bit(stream.read())
        colour = png.colour_of(stream.read(_PNG_HEAD))
        stream.seek(0)
        picture = _with_pillow(stream, "PNG", check, lambda image: png.scale_transparent_level(image, depth))
        return dataclasses.replace(picture, metadata=dataclasses.replace(picture.metadata, colour=colour))

    try:
        return read(stream)
    except (SyntaxError, OSError):
        stream.seek(0)
        data, lost = png.without_damaged(stream.read())
        if not lost:
            raise
        picture = read(io.BytesIO(data))
        return dataclasses.replace(picture, notes=(*picture.notes, f"left out, as it is damaged: its {lost}"))


def _jpeg(stream: BinaryIO, check: Callable[[int, int], None]) -> Picture:
    header = jpeg.read_header(stream)
    check(header.width, header.height)
    stream.seek(0)
    if not header.pillow:
        return jpeg.read(stream.read(), header)

    def read(data: bytes) -> Picture:
        return _with_pillow(io.BytesIO(data), "JPEG", check)

    if header.exif_bytes > jpeg.MOST_EXIF:
        picture = read(jpeg.without_exif(stream.read(), header))
        return dataclasses.replace(picture, notes=(*picture.notes, EXIF_LEFT_OUT))
    hollow = header.is_hollow(stream.seek(0, 2))
    stream.seek(0)
    if hollow and jpeg.is_cut_off(stream.read()):
        raise ValueError("pixels are missing")
    stream.seek(0)
    try:
        return _with_pillow(stream, "JPEG", check)
    except OSError:
        stream.seek(0)
        whole = jpeg.completed(stream.read(), read)
        if whole is None:
            raise ValueError("pixels are missing") from None
        return dataclasses.replace(whole, notes=(*whole.notes, "its end is missing"))


def _plugin(format_: str) -> type[ImageFile.ImageFile]:
    from importlib import import_module

    module, name = {
        "JPEG": ("JpegImagePlugin", "JpegImageFile"),
        "PNG": ("PngImagePlugin", "PngImageFile"),
        "WEBP": ("WebPImagePlugin", "WebPImageFile"),
        "TIFF": ("TiffImagePlugin", "TiffImageFile"),
        "BMP": ("BmpImagePlugin", "BmpImageFile"),
        "GIF": ("GifImagePlugin", "GifImageFile"),
        "AVIF": ("AvifImagePlugin", "AvifImageFile"),
        "JPEG2000": ("Jpeg2KImagePlugin", "Jpeg2KImageFile"),
        "PPM": ("PpmImagePlugin", "PpmImageFile"),
        "TGA": ("TgaImagePlugin", "TgaImageFile"),
    }[format_]
    plugin: type[ImageFile.ImageFile] = getattr(import_module(f"PIL.{module}"), name)
    return plugin


def _frames(image: ImageFile.ImageFile) -> str:
    """How many frames, or 'several' where the frames after the first, which nobody asked for, are damaged."""
    from PIL import Image

    try:
        with quiet_pillow(limited=True):
            return str(getattr(image, "n_frames", 1))
    except (OSError, EOFError, SyntaxError, ValueError, IndexError, struct.error, Image.DecompressionBombError):
        return "several"


def _webp_size(head: bytes) -> tuple[int, int]:
    """(width, height) by the header (RFC 9649), which Pillow reads only after taking memory for the canvas."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF
    raise ValueError("its first chunk is not an image")


def stand_upright(picture: Picture) -> Picture:
    """``picture`` as its EXIF says that it is to be seen, and the EXIF saying that it is."""
    metadata = picture.metadata
    turn = orientation(metadata.exif, metadata.xmp)
    if metadata.xmp is not None:
        metadata = dataclasses.replace(metadata, xmp=upright_xmp(metadata.xmp))
        picture = dataclasses.replace(picture, metadata=metadata)
    if turn == 1:
        return picture
    dpi = metadata.dpi
    dpi = (dpi[1], dpi[0]) if dpi and turn >= 5 else dpi
    metadata = dataclasses.replace(metadata, exif=upright(metadata.exif), dpi=dpi)
    alpha = None if picture.alpha is None else _turned(picture.alpha, turn)
    return dataclasses.replace(picture, pixels=_turned(picture.pixels, turn), alpha=alpha, metadata=metadata)


def _turned(samples: Samples, turn: int) -> Samples:
    """``samples`` as EXIF orientation ``turn`` (2 to 8) wants them shown (CIPA DC-008, tag 0x0112)."""
    if turn >= 5:
        samples = np.swapaxes(samples, 0, 1)
    if turn in (3, 4, 7, 8):
        samples = samples[::-1]
    if turn in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return np.ascontiguousarray(samples)

"""What travels with the pixels from the input file to the output file: EXIF, XMP, colour profile, resolution, text."""

from __future__ import annotations

import dataclasses
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

EXIF_IFD = 0x8769
GPS_IFD = 0x8825
_INTEROP_IFD = 0xA005
_DESCRIPTION = 270
_ORIENTATION = 0x0112
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003

_FOCAL_X, _FOCAL_Y = 0xA20E, 0xA20F

_DESCRIBING = frozenset(
    {269, 270, 271, 272, _ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, 285, _RESOLUTION_UNIT, 305, 306, 315, 316}
    # rating, copyright, exposure, times, lens, what Windows calls title to subject, owner
    | {18246, 18249, 33432, 33434, 33437, 34850, 34855, 36867, 36868, 37386, *range(40091, 40096), *range(42032, 42038)}
)
"""Tags of a main directory that are about the photo, whatever its pixels. All others say how pixels are stored, or
where each lies (on a map, in a microscope's field), which is not true of the result."""

_SAID_OF = {
    "its IPTC": {33723},
    "its Photoshop settings": {34377, 37724},
    "its place on the map (GeoTIFF)": {33550, 33920, 33922, 34264, 34735, 34736, 34737, 42112, 42113},
    "its ImageJ settings": {50838, 50839},
}
_SAID_OF_INFO = {"photoshop": "its IPTC", "comment": "its comment"}
_STAMP = b"Created by OpenJPEG"
"""The comment of most JPEG 2000 files, by the library that wrote them: nothing is lost with it."""
_GRIDS = {"ImageJ=": "its ImageJ settings", "<?xml": "its OME description", "<OME": "its OME description"}
"""Beginnings of descriptions (tag 270) that programs write, and read, as facts about each pixel."""

_IN_PIXELS = frozenset({0x9214, 0xA214})
"""Tags of an EXIF directory that are places in the picture, in pixels: the subject's area and location."""

# Bytes of a value of each TIFF type, 1 to 12 (TIFF 6.0, section 2).
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

_MOST_DPI = 65536
"""More than JPEG can state."""

BAD_EXIF = (struct.error, TypeError, ValueError, KeyError, IndexError, OverflowError, SyntaxError, OSError)
"""What Pillow raises on EXIF whose offsets lead nowhere or whose values do not fit their types."""

EXIF_LEFT_OUT = "its EXIF cannot be read and was left out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """``exif``: a little-endian TIFF block without the ``Exif\\0\\0`` before it; ``icc``: a colour profile; ``dpi``:
    (x, y) dots an inch; ``xmp``: an XMP packet; ``text``: (key, text) as PNG has it; ``colour``: (type, content) of
    PNG's chunks that say what its levels mean."""

    exif: bytes | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()
    colour: tuple[tuple[bytes, bytes], ...] = ()

    def scaled(self, across: float, down: float) -> Metadata:
        """Of the same photo with so many times the pixels on its sides: as large in print, with so many more dots."""
        if across == down == 1:
            return self
        dpi = None if self.dpi is None else (self.dpi[0] * across, self.dpi[1] * down)
        if dpi is not None and max(dpi) >= _MOST_DPI:
            dpi = None
        return dataclasses.replace(self, dpi=dpi, exif=_scaled(self.exif, across, down))


def xmp_of(info: Mapping[Any, Any]) -> bytes | None:
    """The XMP packet of Pillow's ``info``."""
    xmp = info.get("xmp")
    return xmp if isinstance(xmp, bytes) and xmp else None


def text_of(info: Mapping[Any, Any]) -> tuple[tuple[str, str], ...]:
    """(key, text) of each text of a PNG, by Pillow's ``info``, but for XMP and EXIF, which are read elsewhere."""
    return tuple(
        (key, str(value))
        for key, value in info.items()
        if isinstance(value, str) and not key.startswith(("XML:com.adobe.xmp", "Raw profile type"))
    )


def upright_xmp(xmp: bytes | None) -> bytes | None:
    """``xmp`` with its orientation set to 'as stored'."""
    return xmp and _with_numbers(xmp, {b"tiff:Orientation": 1})


def resized_xmp(xmp: bytes | None, *, width: int, height: int) -> bytes | None:
    """``xmp`` with the pixel sizes that it states set to the picture's."""
    across = {b"tiff:ImageWidth": width, b"exif:PixelXDimension": width}
    return xmp and _with_numbers(xmp, across | {b"tiff:ImageLength": height, b"exif:PixelYDimension": height})


def _with_numbers(xmp: bytes, numbers: dict[bytes, int]) -> bytes:
    """An XMP property is an attribute or an element (ISO 16684-1)."""
    for name, number in numbers.items():
        xmp = re.sub(rb"(" + name + rb"(?:\s*=\s*[\"']|>\s*))\d+", rb"\g<1>%d" % number, xmp)
    return xmp


def exif_block(exif: Image.Exif) -> bytes | None:
    """The tags of ``exif`` that are about the photo; None if there are none. ``left_out`` says which are not.

    Raises one of ``BAD_EXIF`` if it is damaged.
    """
    from PIL import Image

    kept = Image.Exif()
    kept.endian = "<"
    for tag, value in exif.items():
        if tag in _DESCRIBING and not (tag == _DESCRIPTION and _grid(value)):
            kept[tag] = _exact(value)
    for tag in _nested(exif):
        directory = {key: _exact(value) for key, value in exif.get_ifd(tag).items()}
        for key in (_INTEROP_IFD, *_IN_PIXELS):
            directory.pop(key, None)
        if directory:
            kept.get_ifd(tag).update(directory)
    return _block(kept)


def left_out(exif: Image.Exif, info: Mapping[Any, Any]) -> list[str]:
    """What a user would miss of ``exif`` and of Pillow's ``info``, in words."""
    found = [what for what, tags in _SAID_OF.items() if not tags.isdisjoint(exif)]
    if (what := _grid(exif.get(_DESCRIPTION))) is not None:
        found.append(what)
    found += [what for key, what in _SAID_OF_INFO.items() if key in info and not _is_stamp(info[key])]
    return [f"left out: {', '.join(dict.fromkeys(found))}"] if found else []


def _is_stamp(comment: Any) -> bool:
    return isinstance(comment, bytes) and comment.startswith(_STAMP)


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """The EXIF orientation, 1 to 8, or that of ``xmp`` where EXIF has none; 1 where there is none or it makes no
    sense."""
    value = _parsed(exif).get(_ORIENTATION) if exif else None
    if value is None:
        found = re.search(rb"tiff:Orientation(?:=[\"']|>)([1-8])", xmp or b"")
        value = int(found[1]) if found else 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(exif: bytes | None) -> bytes | None:
    """``exif`` with its orientation set to 'as stored'."""
    if exif is None:
        return None
    parsed = _parsed(exif)
    if _ORIENTATION in parsed:
        parsed[_ORIENTATION] = 1
    return _block(parsed)


def resized(exif: bytes | None, *, width: int, height: int) -> bytes | None:
    """``exif`` with the pixel size it states, if it states one, set to the picture's."""
    if exif is None:
        return None
    parsed = _parsed(exif)
    directory = _inner(parsed)
    if not {_PIXEL_WIDTH, _PIXEL_HEIGHT} & directory.keys():
        return exif
    directory[_PIXEL_WIDTH], directory[_PIXEL_HEIGHT] = width, height
    return _block(parsed)


def with_dpi(exif: bytes | None, dpi: tuple[float, float]) -> bytes:
    """``exif`` that states ``dpi``, for files that have no other place for it (WebP)."""
    parsed = _parsed(exif)
    parsed[_X_RESOLUTION], parsed[_Y_RESOLUTION], parsed[_RESOLUTION_UNIT] = dpi[0], dpi[1], 2
    block = _block(parsed)
    assert block is not None
    return block


def main_entries(exif: bytes | None) -> dict[int, tuple[int, int, bytes]]:
    """The main directory of ``exif`` as it is stored, little-endian: tag -> (type, count, value)."""
    if exif is None:
        return {}
    entries = {}
    start = struct.unpack_from("<L", exif, 4)[0] + 2
    for number in range(struct.unpack_from("<H", exif, start - 2)[0]):
        at = start + 12 * number
        tag, kind, count = struct.unpack_from("<HHL", exif, at)
        size = _TYPE_SIZES[kind] * count
        value_at = at + 8 if size <= 4 else struct.unpack_from("<L", exif, at + 8)[0]
        if tag not in (EXIF_IFD, GPS_IFD):
            entries[tag] = kind, count, exif[value_at : value_at + size]
    return entries


def nested_directories(exif: bytes | None) -> dict[int, dict[int, Any]]:
    """The EXIF and GPS directories of ``exif``, those that are there, as Pillow reads them."""
    parsed = _parsed(exif)
    return {tag: parsed.get_ifd(tag) for tag in _nested(parsed)}


def dpi_of(info: dict[Any, Any], exif: bytes | None) -> tuple[float, float] | None:
    """Dots an inch as the file's own header says (Pillow's ``info``), else as its EXIF says, else None."""
    candidates = [info.get("dpi")]
    if exif:
        parsed = _parsed(exif)
        factor = {2: 1.0, 3: 2.54}.get(parsed.get(_RESOLUTION_UNIT, 2), 0.0)
        candidates.append([_number(parsed.get(tag)) * factor for tag in (_X_RESOLUTION, _Y_RESOLUTION)])
    for candidate in candidates:
        if isinstance(candidate, (tuple, list)) and len(candidate) == 2:
            x, y = (_number(value) for value in candidate)
            # JPEG and BMP headers state 1 x 1 or 0 x 0 where nobody knew.
            if all(math.isfinite(value) and 1 < value < 65536 for value in (x, y)):
                return x, y
    return None


def fitting_icc(icc: bytes | None, *, channels: int) -> bytes | None:
    """``icc`` if it is a profile of gray (1 channel) or RGB (3) pixels, else None."""
    if not icc or len(icc) < 132 or icc[36:40] != b"acsp":
        return None
    return icc if icc[16:20] == {1: b"GRAY", 3: b"RGB "}[channels] else None


def _grid(description: Any) -> str | None:
    """What an image description is of, where a program reads it as facts about each pixel."""
    text = description.decode("latin-1") if isinstance(description, bytes) else str(description or "")
    return next((what for start, what in _GRIDS.items() if text.startswith(start)), None)


def _scaled(exif: bytes | None, across: float, down: float) -> bytes | None:
    """``exif`` with more dots an inch, of the print and of the sensor."""
    if exif is None:
        return None
    parsed = _parsed(exif)
    for directory, tags in ((parsed, (_X_RESOLUTION, _Y_RESOLUTION)), (_inner(parsed), (_FOCAL_X, _FOCAL_Y))):
        for tag, factor in zip(tags, (across, down), strict=True):
            if tag in directory and math.isfinite(value := _number(directory[tag]) * factor):
                directory[tag] = value
    return _block(parsed)


def _inner(parsed: Image.Exif) -> dict[int, Any]:
    return parsed.get_ifd(EXIF_IFD) if EXIF_IFD in parsed else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return math.nan


def _nested(exif: Image.Exif) -> list[int]:
    # Pillow writes an empty directory for one that was asked for and is not there.
    return [tag for tag in (EXIF_IFD, GPS_IFD) if tag in exif]


def _parsed(exif: bytes | None) -> Image.Exif:
    from PIL import Image

    parsed = Image.Exif()
    parsed.endian = "<"
    if exif:
        parsed.load(exif)
        # The directories are read now: as long as they are only offsets, a change to one would be lost.
        for tag, value in list(parsed.items()):
            parsed[tag] = _exact(value)
        for tag in _nested(parsed):
            directory = parsed.get_ifd(tag)
            directory.update({key: _exact(value) for key, value in directory.items()})
    return parsed


def _exact(value: Any) -> Any:
    # Pillow reads text as Latin-1 and writes it as ASCII with question marks; bytes it writes as they are.
    return value if not isinstance(value, str) or value.isascii() else value.encode("latin-1", "replace")


def _block(exif: Image.Exif) -> bytes | None:
    # __len__ does not count directories that were added, the serialised block does: 8 bytes of header, 6 of no tags.
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    return block if len(block) > 14 else None

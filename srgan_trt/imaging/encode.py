"""Picture -> file, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import numpy as np

from ..errors import MissingPackageError, PictureError, StoppedError
from ..files import atomic_file, cannot_write
from . import jxl, lossy, png, tiff
from .addresses import Address, ExistsError, exists
from .metadata import resized, resized_xmp
from .picture import Picture, Samples, bands, reduced

FORMATS = ("png", "jpg", "webp", "tiff", "avif", "jxl")
"""What can be written."""

DEFAULT_QUALITY = {"jpg": 95, "webp": 90, "avif": 85, "jxl": 95}

_SRGB_GAMMA = (45455).to_bytes(4, "big")

Quality: TypeAlias = int | Literal["lossless"]
"""1 to 100, of formats that lose something; or nothing is lost."""

_LOSSY = "jpg, webp, avif or jxl"
_SUFFIXES = {
    ".png": "png",
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".jpe": "jpg",
    ".jfif": "jpg",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".avif": "avif",
    ".jxl": "jxl",
}
_LARGEST_SIDE = {
    "png": 2**31 - 1,
    "jpg": 65_500,
    "webp": 16_383,
    "tiff": 2**32 - 1,
    "avif": 32_768,  # what decoders take, unless told otherwise
    "jxl": 2**30,
}
_ENDINGS = ".png, .jpg, .webp, .tiff, .avif or .jxl"


def format_of(path: Path | Address) -> str:
    """One of ``FORMATS`` by the suffix of ``path``. Raises PictureError for any other suffix."""
    try:
        return _SUFFIXES[path.suffix.lower()]
    except KeyError:
        raise PictureError(
            f"{path} does not end in a format that can be written: end it in {_ENDINGS}, or in a slash if it is a "
            "folder"
        ) from None


def without(format: str) -> str | None:
    """The package that was built without what writes ``format``; None where nothing is missing."""
    if format == "avif":
        from PIL import features

        return None if features.check("avif") else "Pillow"
    if format == "jxl":
        import imagecodecs

        return None if imagecodecs.JPEGXL.available else "imagecodecs"
    return None


def check_format(format: str, quality: Quality | None) -> None:
    """Raises MissingPackageError if nothing here writes ``format``, PictureError if it has no such quality."""
    if (package := without(format)) is not None:
        raise MissingPackageError(
            f"{package} here was built without {format}: pip install --force-reinstall {package.lower()}, or write png"
        )
    if quality == "lossless":
        if format in ("jpg", "avif"):
            raise PictureError(f"a {format} file loses something: leave lossless out, or write png, webp, tiff or jxl")
    elif quality is not None:
        if format not in DEFAULT_QUALITY:
            raise PictureError(f"a {format} file loses nothing: leave the quality out, or write {_LOSSY}")
        if not 1 <= quality <= 100:
            raise PictureError(f"quality is from 1 to 100, not {quality}")


def check_sides(format: str, width: int, height: int, *, name: str) -> None:
    """Raises PictureError, which calls the file ``name``, if no file of ``format`` holds so large a picture."""
    if max(width, height) > _LARGEST_SIDE[format]:
        raise PictureError(
            f"{name}: a {format} file holds at most {_LARGEST_SIDE[format]:,} pixels a side, not "
            f"{width:,} x {height:,}: write png or tiff"
        )


def encode(
    picture: Picture,
    path: Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    quality: Quality | None = None,
    stop: threading.Event | None = None,
) -> tuple[str, ...]:
    """Writes ``picture`` to ``path``, making its folder if need be; on any error or Ctrl-C nothing is left behind.

    ``format``: one of ``FORMATS`` (default: by the suffix). ``quality``: as ``DEFAULT_QUALITY`` has it for
    formats that lose something, or "lossless". ``stop``: once it is set, from any thread, nothing more is written.
    Returns what the format made necessary, for the user: "16 bits were reduced to 8". Raises PictureError if ``path``
    exists and is not to be overwritten, cannot be written, or the format cannot hold a picture of this size;
    StoppedError after ``stop``.
    """
    format = format or format_of(path)
    prepared, notes = _prepared(picture, format, str(path))
    with picture_file(path, overwrite=overwrite) as file:
        stream: Any = file if stop is None else _Stoppable(file, stop)
        return notes + _write(stream, prepared, format, quality)


class _Stoppable:
    """A file that takes nothing more once `stop` is set."""

    def __init__(self, file: BinaryIO, stop: threading.Event) -> None:
        self._file, self._stop = file, stop

    def write(self, data: Any) -> int:
        if self._stop.is_set():
            raise StoppedError("the picture was given up")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def encode_to(
    picture: Picture, stream: BinaryIO, *, format: str, name: str = "standard output", quality: Quality | None = None
) -> tuple[str, ...]:
    """Writes ``picture`` to a stream that need not be seekable, as ``encode`` does; ``name`` is for errors."""
    prepared, notes = _prepared(picture, format, name)
    try:
        if format != "tiff":
            notes += _write(stream, prepared, format, quality)
        else:
            # A TIFF is finished by writing into its beginning.
            with tempfile.TemporaryFile() as file:
                notes += _write(file, prepared, format, quality)
                file.seek(0)
                shutil.copyfileobj(file, stream, 1 << 20)
        stream.flush()
    except OSError as error:
        raise PictureError(f"cannot write to {name}: {error.strerror or error}") from error
    return notes


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raises PictureError if ``path`` cannot become a result: it exists (ExistsError), is a folder, or cannot be."""
    try:
        if path.is_dir():
            raise PictureError(f"{path} is a folder: end the name in a slash to write into it")
        if not overwrite and os.path.lexists(path) and not _is_special(path):
            raise ExistsError(exists(path))
        os.stat(path) if os.path.lexists(path) else None
    except OSError as error:
        raise PictureError(cannot_write(path, error)) from error


def outputs_for(images: Sequence[Any], output: Any) -> Sequence[Any]:
    """Where each of `images` goes: None for all, or one path each. Raises PictureError for anything else."""
    if output is None:
        return [None] * len(images)
    if isinstance(output, str | os.PathLike) or len(output) != len(images):
        raise PictureError(f"{len(images)} images need a list of {len(images)} outputs")
    return list(output)


@contextmanager
def picture_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A binary file that becomes ``path`` when the block ends well; else nothing of it stays.

    Raises PictureError as ``check_target`` does and for errors while writing. A pipe or a device is written as it is.
    """
    check_target(path, overwrite=overwrite)
    try:
        if _is_special(path):
            with path.open("wb") as device:
                yield device
            return
        with atomic_file(path) as file:
            yield file
            check_target(path, overwrite=overwrite)  # it may have come while the picture was computed
    except OSError as error:
        raise PictureError(cannot_write(path, error)) from error


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _prepared(picture: Picture, format: str, name: str) -> tuple[Picture, tuple[str, ...]]:
    """``picture`` as ``format`` can hold it, and what that changed."""
    if format not in FORMATS:
        raise PictureError(f"{format!r} cannot be written: give one of {', '.join(FORMATS)}")
    check_sides(format, picture.width, picture.height, name=name)
    notes: tuple[str, ...] = ()
    if format in ("jpg", "webp", "avif") and picture.bits == 16:
        picture = reduced(picture)
        holds = "is written in no more" if format == "avif" else "holds no more"
        notes += (f"16 bits were reduced to 8 ({format} {holds}; png and tiff do)",)
    if format == "jpg" and picture.alpha is not None:
        picture = dataclasses.replace(picture, pixels=on_white(picture.pixels, picture.alpha), alpha=None)
        notes += ("transparency was laid on white (jpg holds none; png, webp and tiff do)",)
    before = picture.metadata
    if format != "png":
        if before.text:
            notes += (f"its texts ({', '.join(key for key, _ in before.text[:3])}) were left out (png holds them)",)
        if not before.icc and any(
            kind in (b"gAMA", b"cICP") and content != _SRGB_GAMMA for kind, content in before.colour
        ):
            notes += ("what its levels mean (gAMA, cICP) was left out (png holds it)",)
    size = {"width": picture.width, "height": picture.height}
    metadata = dataclasses.replace(before, exif=resized(before.exif, **size), xmp=resized_xmp(before.xmp, **size))
    return dataclasses.replace(picture, metadata=metadata), notes


def on_white(pixels: Samples, alpha: Samples) -> Samples:
    """uint8 ``pixels`` laid on white, rounded to the nearest level."""
    result = np.empty_like(pixels)
    for top, bottom in bands(pixels.shape[0], pixels[0].nbytes * 4):
        opacity = alpha[top:bottom, :, None].astype(np.uint32)
        result[top:bottom] = (pixels[top:bottom] * opacity + 255 * (255 - opacity) + 127) // 255
    return result


def _write(stream: BinaryIO, picture: Picture, format: str, quality: Quality | None) -> tuple[str, ...]:
    check_format(format, quality)
    if format == "png":
        png.write(stream, picture)
    elif format == "tiff":
        tiff.write(stream, picture)
    else:
        chosen = DEFAULT_QUALITY[format] if quality is None else quality
        if format == "jxl":
            return jxl.write(stream, picture, quality=None if chosen == "lossless" else chosen)
        if format == "jpg":
            assert chosen != "lossless"
            return lossy.write_jpeg(stream, picture, quality=chosen)
        if format == "webp":
            lossy.write_webp(stream, picture, quality=None if chosen == "lossless" else chosen)
        else:
            assert chosen != "lossless"
            lossy.write_avif(stream, picture, quality=chosen)
    return ()

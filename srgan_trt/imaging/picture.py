"""Picture: pixels, transparency and metadata of one photo, and its ways from and to Pillow and NumPy."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from .compression import Compression, jpeg_compression
from .metadata import BAD_EXIF, EXIF_LEFT_OUT, Metadata, dpi_of, exif_block, fitting_icc, left_out, text_of, xmp_of

if TYPE_CHECKING:
    from PIL import Image

Samples: TypeAlias = NDArray[Any]
"""uint8 or uint16."""

_HIGHEST = 65535
BAND_BYTES = 1 << 20
"""Pictures are converted and compressed in bands of rows of about this size: they stay in a core's cache."""

_log = logging.getLogger(__name__)
_pillow = threading.RLock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One picture, upright, in memory.

    ``pixels``: uint8 or uint16, (height, width, 3) RGB or (height, width, 1) gray, C-contiguous, 0 to the dtype's
    highest level. ``alpha``: the same dtype, (height, width), not premultiplied, or None.
    """

    pixels: Samples
    alpha: Samples | None = None
    metadata: Metadata = field(default_factory=Metadata)
    format: str | None = None
    """Of the file it came from: JPEG, PNG, WEBP, TIFF, BMP or GIF; None for one from memory."""
    compression: Compression | None = None
    """What it lost when it was saved; None where nothing tells of a loss."""
    denoised: int | None = None
    """The level at which noise was taken away before it was enlarged; None for not at all."""
    notes: tuple[str, ...] = ()
    """What was changed on the way in, in words for the user: 'CMYK was converted to RGB'."""
    flat: bool = True
    """For gray from NumPy: whether it came, and goes back, as (height, width) rather than (height, width, 1)."""
    floating: np.dtype[Any] | None = None
    """For values of 0 to 1 from NumPy, which are 16-bit levels here: what they came, and go back, as."""

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """1 for gray, 3 for RGB; alpha is not counted."""
        return int(self.pixels.shape[2])

    @property
    def bits(self) -> int:
        """8 or 16."""
        return self.pixels.dtype.itemsize * 8

    def to_array(self) -> NDArray[Any]:
        """The kind that ``from_array`` takes: (H, W) or (H, W, 1) gray, (H, W, 2) gray and alpha, RGB, or RGBA."""
        levels = self._levels()
        return levels if self.floating is None else (levels / np.float32(_HIGHEST)).astype(self.floating, copy=False)

    def _levels(self) -> Samples:
        if self.alpha is not None:
            return np.concatenate([self.pixels, self.alpha[:, :, None]], axis=2)
        return self.pixels[:, :, 0] if self.channels == 1 and self.flat else self.pixels

    def to_pil(self) -> Image.Image:
        """Mode L, LA, RGB, RGBA, or I;16 for 16-bit gray; its ``info`` holds the profile, the dpi and the EXIF.

        Pillow has no other 16-bit modes: such pictures come out in 8 bits, with a warning in the log.
        """
        from PIL import Image

        picture = self
        if self.bits == 16 and (self.channels == 3 or self.alpha is not None):
            _log.warning("Pillow holds 16-bit colour in 8 bits only: take the array, or write a PNG or TIFF file")
            picture = reduced(self)
        gray = picture.channels == 1 and picture.alpha is None
        image = Image.fromarray(picture.pixels[:, :, 0] if gray else picture._levels())
        for key, value in {
            "icc_profile": self.metadata.icc,
            "dpi": self.metadata.dpi,
            "xmp": self.metadata.xmp,
            "exif": self.metadata.exif and b"Exif\0\0" + self.metadata.exif,
        }.items():
            if value:
                image.info[key] = value
        return image


def from_array(array: NDArray[Any]) -> Picture:
    """A Picture of a NumPy array: uint8, uint16, or floats of 0 to 1, which become 16-bit levels; (H, W), (H, W, 1),
    (H, W, 2) gray and alpha, (H, W, 3), (H, W, 4).

    Raises PictureError for any other dtype or shape, and for floats that are no numbers from 0 to 1.
    """
    if not isinstance(array, np.ndarray):
        raise PictureError(f"a picture is an array, not {type(array).__name__}: convert it with numpy.asarray")
    floating = array.dtype if array.dtype.kind == "f" else None
    if floating is None and (array.dtype.kind != "u" or array.dtype.itemsize > 2):
        raise PictureError(
            f"arrays of {array.dtype} are not taken: give uint8 (0..255), uint16 (0..65535) or floats of 0..1"
        )
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise PictureError(
            f"an array of shape {array.shape} is not a picture: give (height, width), or (height, width, channels) "
            "with 1 to 4 channels"
        )
    if 0 in array.shape:
        raise PictureError(f"an array of shape {array.shape} has no pixels")
    native = array.astype(array.dtype.newbyteorder("="), copy=False) if floating is None else _levels_of(array)
    layers = native[:, :, None] if native.ndim == 2 else native
    colours = 3 if layers.shape[2] >= 3 else 1
    alpha = np.ascontiguousarray(layers[:, :, colours]) if layers.shape[2] in (2, 4) else None
    return Picture(
        pixels=np.ascontiguousarray(layers[:, :, :colours]), alpha=alpha, flat=array.ndim == 2, floating=floating
    )


def _levels_of(values: NDArray[Any]) -> NDArray[np.uint16]:
    """The nearest 16-bit levels of values of 0 to 1."""
    if count := int(np.count_nonzero(~np.isfinite(values))):
        raise PictureError(f"{count} of its {values.size} values are no finite numbers: give values of 0..1")
    if count := int(np.count_nonzero((values < 0) | (values > 1))):
        raise PictureError(
            f"{count} of its {values.size} values are outside 0..1 (from {values.min():.4g} to {values.max():.4g}): "
            "clip or scale them; levels of 0..255 go in as uint8"
        )
    wide = np.promote_types(values.dtype.newbyteorder("="), np.float32)
    return np.asarray(np.rint(values.astype(wide, copy=False) * _HIGHEST), np.uint16)


def from_pil(image: Image.Image) -> Picture:
    """A Picture of a Pillow image of any mode, as it lies: its EXIF orientation is kept, not applied.

    1, L and I;16 stay gray; P becomes RGB, or RGBA where it has transparency; CMYK, YCbCr, LAB and HSV become RGB,
    CMYK and LAB by colour management where there is a profile. Raises PictureError for modes that hold no levels of
    8 or 16 bits (F, and I beyond 0..65535), and what Pillow raises if the image's file is damaged.
    """
    with quiet_pillow():
        image.load()
        exif, notes = _exif(image)
    icc = image.info.get("icc_profile") or None
    mode, convert, said = _conversion(image, icc)
    if said:
        notes.append(said)
    pixels = _levels(image) if image.mode.startswith("I") else _rows(image, convert)
    with_alpha = mode.endswith("A")
    colours = pixels.shape[2] - with_alpha
    return Picture(
        pixels=np.ascontiguousarray(pixels[:, :, :colours]),
        alpha=np.ascontiguousarray(pixels[:, :, colours]) if with_alpha else None,
        metadata=Metadata(
            exif=exif,
            icc=fitting_icc(icc, channels=colours),
            dpi=dpi_of(image.info, exif),
            xmp=xmp_of(image.info),
            text=text_of(image.info) if image.format == "PNG" else (),
        ),
        # Of the file that it was read from: Pillow's copies and edits of the image have no tables any more.
        compression=jpeg_compression(getattr(image, "quantization", None) or {}),
        notes=tuple(notes),
    )


def reduced(picture: Picture) -> Picture:
    """``picture`` in 8 bits, each level rounded to the nearest."""
    if picture.bits == 8:
        return picture
    return Picture(
        pixels=_reduced(picture.pixels),
        alpha=None if picture.alpha is None else _reduced(picture.alpha),
        metadata=picture.metadata,
        format=picture.format,
        compression=picture.compression,
        notes=picture.notes,
        flat=picture.flat,
    )


def bands(height: int, row_bytes: int) -> list[tuple[int, int]]:
    """Rows [top, bottom) of each band of about ``BAND_BYTES``."""
    rows = max(1, BAND_BYTES // max(1, row_bytes))
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


@contextmanager
def quiet_pillow(*, limited: bool = False) -> Iterator[None]:
    """Pillow without warnings on the terminal, and, unless ``limited``, without its own pixel limit besides ours.

    Both are switches of the whole process: they are held as shortly as possible, by one thread at a time.
    """
    from PIL import Image

    with _pillow, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = Image.MAX_IMAGE_PIXELS
        if not limited:
            Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _reduced(samples: Samples) -> NDArray[np.uint8]:
    result = np.empty(samples.shape, np.uint8)
    for top, bottom in bands(samples.shape[0], samples[0].nbytes):
        # Exactly round(level / 257): the PNG specification's scaling of sample depths, section 12.4.
        result[top:bottom] = (samples[top:bottom].astype(np.uint32) * 255 + 32895) >> 16
    return result


def _exif(image: Image.Image) -> tuple[bytes | None, list[str]]:
    from PIL import Image

    try:
        exif = image.getexif()
        block = exif_block(exif)
        if block is None and (raw := image.info.get("exif")):
            # Opening a JPEG hides that its EXIF is damaged; reading it again shows it.
            Image.Exif().load(raw)
        return block, left_out(exif, image.info)
    except BAD_EXIF:
        return None, [EXIF_LEFT_OUT]


def _conversion(
    image: Image.Image, icc: bytes | None
) -> tuple[str, Callable[[Image.Image], Image.Image] | None, str | None]:
    """The mode that ``image`` is taken in, how a band of it is converted to that, and what to say about it."""
    mode = image.mode
    if mode == "F":
        raise PictureError("floating-point pictures (mode F) have no highest level: convert it to 8 or 16 bits first")
    if mode.startswith("I"):
        return "I;16", None, None
    if mode in ("CMYK", "LAB"):
        convert, how = _managed(icc, mode)
        return "RGB", convert, f"{mode} was converted to RGB {how}"
    target = {"1": "L", "L": "L", "LA": "LA", "La": "LA", "PA": "RGBA", "RGBA": "RGBA", "RGBa": "RGBA"}.get(mode, "RGB")
    if "transparency" in image.info and mode in ("1", "L", "P", "RGB"):
        target += "A"
    if target == mode:
        return mode, None, None
    said = f"{mode} was converted to RGB" if mode in ("YCbCr", "HSV") else None
    return target, lambda band: band.convert(target), said


def _managed(icc: bytes | None, mode: str) -> tuple[Callable[[Image.Image], Image.Image], str]:
    """Conversion to sRGB by colour management, or Pillow's plain one for CMYK without a usable profile."""
    from PIL import ImageCms

    try:
        if mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        elif icc is not None:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        else:
            return lambda band: band.convert("RGB"), "without a colour profile"
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ImageCms.PyCMSError):
        if mode == "LAB":
            raise
        return lambda band: band.convert("RGB"), "without its colour profile, which is damaged"
    return lambda band: transform.apply(band), "by its colour profile" if mode == "CMYK" else "(sRGB)"


def _rows(image: Image.Image, convert: Callable[[Image.Image], Image.Image] | None) -> NDArray[np.uint8]:
    """(H, W, C) of an 8-bit image. Band by band, because Pillow's whole array takes three copies on the way."""
    result: NDArray[np.uint8] | None = None
    for top, bottom in bands(image.height, image.width * 4):
        band = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
        levels = np.asarray(convert(band) if convert else band)
        levels = levels[:, :, None] if levels.ndim == 2 else levels
        if result is None:
            result = np.empty((image.height, *levels.shape[1:]), np.uint8)
        result[top:bottom] = levels
    assert result is not None
    return result


def _levels(image: Image.Image) -> NDArray[np.uint16]:
    """(H, W, 1) of an integer image, which Pillow holds in 16 or 32 bits."""
    levels = np.asarray(image)
    if levels.dtype.itemsize > 2 and (levels.min() < 0 or levels.max() > 65535):
        raise PictureError(
            f"integer pictures (mode I) are taken from 0 to 65535, this one spans {levels.min()} to {levels.max()}: "
            "scale it to 8 or 16 bits first"
        )
    return np.ascontiguousarray(levels.astype(np.uint16)[:, :, None])

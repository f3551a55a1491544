"""What a client may choose for a picture, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..denoise import checked
from ..errors import SrganTrtError
from ..imaging.encode import check_format, without
from .refusal import Refusal

MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "avif": "image/avif",
    "jxl": "image/jxl",
}
"""Of the formats that a result can be had in, where their encoders are installed."""
_NAMES = ("model", "format", "quality", "denoise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    model: str
    format: str = "png"
    quality: int | None = None
    """1 to 100, of formats that lose something; None is the format's own."""
    denoise: str | int | None = None
    """As `Upscaler` takes it."""


def written() -> list[str]:
    """The formats that can be written here."""
    return [format for format in MEDIA_TYPES if without(format) is None]


def options_of(given: Mapping[str, str], *, models: Collection[str], levels: Collection[int]) -> Options:
    """The options of a request.

    given: by name, an empty text for none. models: the names that there are, the default first. levels: of denoising
    that can be had. Raises Refusal for a name or a value that there is not.
    """
    values = {name: text for name, text in given.items() if text != ""}
    for name in values:
        if name not in _NAMES:
            raise Refusal("bad_option", f"there is no option {name[:40]!r}: give {', '.join(_NAMES)}")
    model = values.get("model", next(iter(models)))
    if model not in models:
        raise Refusal("no_model", f"there is no model {model[:80]!r} here: choose one of {', '.join(models)}")
    format = values.get("format", "png").lower()
    if format not in MEDIA_TYPES:
        raise Refusal("bad_option", f"format is one of {', '.join(written())}, not {format[:40]!r}")
    quality = _quality(values)
    try:
        check_format(format, quality)
    except SrganTrtError as error:
        raise Refusal("bad_option", str(error)) from None
    return Options(model=model, format=format, quality=quality, denoise=_denoise(values, levels))


def _quality(values: Mapping[str, str]) -> int | None:
    text = values.get("quality")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise Refusal("bad_option", f"quality is a whole number from 1 to 100, not {text[:40]!r}")
    return int(text)


def _denoise(values: Mapping[str, str], levels: Collection[int]) -> str | int | None:
    if "denoise" not in values:
        return None
    try:
        setting = checked(values["denoise"][:40])
    except SrganTrtError as error:
        raise Refusal("bad_option", str(error)) from None
    if isinstance(setting, int) and setting not in levels:
        raise Refusal("bad_option", "this service has no denoisers: its owner can install the extra [denoise]")
    return setting

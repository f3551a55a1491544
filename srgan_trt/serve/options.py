"""What a client may choose for a picture, checked."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..denoise import checked
from ..errors import SrganTrtError
from ..imaging.encode import check_format, without
from ..sizes import MOST_SCALE, Size, size_of
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
TEXTURES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Between a model trained on pixels and its GAN: few, as each is a network of its own in memory."""
_NAMES = ("model", "format", "quality", "denoise", "scale", "width", "height", "texture")
_MOST_SIDE = 5
"""Digits of a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    model: str
    format: str = "png"
    quality: int | None = None
    """1 to 100, of formats that lose something; None is the format's own."""
    denoise: str | int | None = None
    """As `Upscaler` takes it."""
    size: Size | None = None
    """None is what the network makes."""
    texture: float | None = None
    """One of ``TEXTURES``; None is the model as it is."""

    def facts(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "format": self.format,
            "quality": self.quality,
            "denoise": self.denoise,
            "size": None if self.size is None else self.size.label,
            "texture": self.texture,
        }


def written() -> list[str]:
    """The formats that can be written here."""
    return [format for format in MEDIA_TYPES if without(format) is None]


def options_of(
    given: Mapping[str, str], *, models: Collection[str], textured: Collection[str], levels: Collection[int]
) -> Options:
    """The options of a request.

    given: by name, an empty text for none. models: the names that there are, the default first. textured: those that
    have a partner to be mixed with. levels: of denoising that can be had. Raises Refusal for a name or a value that
    there is not.
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
    texture = _texture(values)
    if texture is not None and model not in textured:
        others = f": choose one of {', '.join(textured)}" if textured else ""
        raise Refusal("bad_option", f"{model} has no texture to choose{others}")
    denoise, size = _denoise(values, levels), _size(values)
    return Options(model=model, format=format, quality=quality, denoise=denoise, size=size, texture=texture)


def _quality(values: Mapping[str, str]) -> int | None:
    text = values.get("quality")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise Refusal("bad_option", f"quality is a whole number from 1 to 100, not {text[:40]!r}")
    return int(text)


def _size(values: Mapping[str, str]) -> Size | None:
    scale = values.get("scale")
    if scale is not None and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", scale) is None:
        raise Refusal("bad_option", f"scale is a number from 1 to {MOST_SCALE}, as 2 or 1.5, not {scale[:40]!r}")
    sides = [_side(values, name) for name in ("width", "height")]
    if scale is not None and any(sides):
        raise Refusal("bad_option", "give scale, or the width or height, not both")
    try:
        return size_of(None if scale is None else float(scale), (sides[0], sides[1]) if any(sides) else None)
    except SrganTrtError as error:
        raise Refusal("bad_option", str(error)) from None


def _side(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_SIDE and int(text)):
        raise Refusal(
            "bad_option", f"{name} is a whole number of pixels of at most {_MOST_SIDE} digits, not {text[:40]!r}"
        )
    return int(text)


def _texture(values: Mapping[str, str]) -> float | None:
    text = values.get("texture")
    if text is None:
        return None
    known = {f"{value:g}": value for value in TEXTURES}
    if re.fullmatch(r"[01](\.[0-9]{1,4})?", text) is None or float(text) not in TEXTURES:
        raise Refusal("bad_option", f"texture is one of {', '.join(known)}, not {text[:40]!r}")
    return float(text)


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

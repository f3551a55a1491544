"""Animated GIF, PNG and WebP: every frame, composed as a viewer shows it, by the network; durations and loops kept.

Pillow composes and writes them. The result is an animated PNG or WebP: GIF's 256 colours would spoil it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import PictureError, one_line
from ..imaging.decode import check_pixels
from ..imaging.encode import DEFAULT_QUALITY, Quality, picture_file
from ..imaging.picture import from_pil, quiet_pillow
from ..machine import memory_bytes
from ..sizes import Size, Target, target_of

if TYPE_CHECKING:
    from PIL import Image

    from ..upscaler import Upscaler

FORMATS = {"png": "PNG", "webp": "WEBP"}
"""What is written, and Pillow's names."""
_READ = ("GIF", "PNG", "WEBP")
_SUFFIXES = frozenset([".gif", ".png", ".apng", ".webp"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Animation:
    """What became of a moving picture."""

    frames: int
    size: tuple[int, int]
    """(width, height) of the input."""
    enlarged: tuple[int, int]
    """(width, height) of the result."""
    repeats: int
    """Frames equal to the one before, computed once."""


def is_animated(path: Path) -> bool:
    """Whether a file is a GIF, PNG or WebP of more than one frame; what cannot be read is not."""
    from PIL import Image

    if path.suffix.lower() not in _SUFFIXES:
        return False
    try:
        with quiet_pillow(), Image.open(path, formats=_READ) as image:
            return _first(image) + 1 < getattr(image, "n_frames", 1)
    except (OSError, EOFError, SyntaxError, ValueError):
        return False  # reading it as a picture says what is wrong


def upscale_animation(
    up: Upscaler,
    source: Path,
    target: Path,
    *,
    format: str,
    max_pixels: int,
    size: Size | None = None,
    quality: Quality | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Animation:
    """Upscales all frames of `source` into `target`.

    format: one of FORMATS. size: of the result; None is the network's own. quality: of WebP.
    progress: called with (frames done, frames in all).

    Raises PictureError if a frame cannot be read, the frames have more than `max_pixels` pixels, the result does not
    fit into memory or cannot be written, and what `up` raises.
    """
    from PIL import Image

    try:
        with Image.open(source, formats=_READ) as image:
            first, count = _first(image), int(getattr(image, "n_frames", 1))
            width, height = image.size
            check_pixels(str(source), width, height, max_pixels, moves=True)
            to = target_of(size, width, height, up.spec, max_pixels=max_pixels)
            _check_memory(source, count - first, to)
            opaque = all(_rgba(image, index)[..., 3].min() == 255 for index in range(first, count))
            frames, durations, repeats = [], [], 0
            last: tuple[Any, Any] | None = None
            for index in range(first, count):
                pixels = _rgba(image, index)[..., : 3 if opaque else 4]
                durations.append(float(image.info.get("duration") or 0))
                if last is not None and np.array_equal(last[0], pixels):
                    repeats += 1
                else:
                    large = up.upscale_picture(from_pil(Image.fromarray(np.ascontiguousarray(pixels))), size=size)
                    last = pixels, Image.fromarray(large.to_array())
                frames.append(last[1])
                if progress is not None:
                    progress(index + 1 - first, count - first)
            loop = image.info.get("loop", 1 if image.format == "GIF" else 0)
    except (OSError, EOFError, SyntaxError) as error:
        raise PictureError(f"{source} cannot be read: {one_line(error)}: the file is damaged") from error
    _write(target, frames, durations, int(loop), format=format, quality=quality, overwrite=overwrite)
    return Animation(frames=len(frames), size=(width, height), enlarged=(to.width, to.height), repeats=repeats)


def _first(image: Image.Image) -> int:
    """The first frame of the animation: a PNG may hold a still picture before it, for programs that know no other."""
    return 1 if image.info.get("default_image") else 0


def _rgba(image: Image.Image, index: int) -> Any:
    """uint8 (H, W, 4), as it is shown at that time."""
    with quiet_pillow():
        image.seek(index)
        image.load()  # a WebP tells its duration only then
        return np.asarray(image.convert("RGBA"))


def _check_memory(source: Path, frames: int, to: Target) -> None:
    needed = frames * to.width * to.height * 4
    if needed > memory_bytes() // 2:
        raise PictureError(
            f"the {frames} large frames of {source} need {needed / 1e9:.1f} GB of memory at once: make a film "
            "of it first"
        )


def _write(
    target: Path,
    frames: list[Any],
    durations: list[float],
    loop: int,
    *,
    format: str,
    quality: Quality | None,
    overwrite: bool,
) -> None:
    kind = FORMATS[format]
    options: dict[str, Any] = {"disposal": 0, "blend": 0}
    if format != "png":
        lossless = quality == "lossless"
        options = {"lossless": True} if lossless else {"quality": quality or DEFAULT_QUALITY[format]}
    if format == "webp" and max(frames[0].size) > 16_383:
        raise PictureError(f"cannot write {target}: WebP holds at most 16,383 pixels a side: name it .png")
    with picture_file(target, overwrite=overwrite) as file:
        times = [round(duration) for duration in durations]
        frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=times, loop=loop, **options)

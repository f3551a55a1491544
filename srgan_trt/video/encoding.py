"""How a film is encoded: the codec's settings, checked before the work, and one segment of it."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from ..errors import VideoError
from ..machine import usable_cores
from .colour import Colour, FromRGB, tag
from .library import FORMATS, library, said

_QUALITY = {"libx264": 17, "libx265": 18, "libsvtav1": 22, "libvpx-vp9": 24}
"""The --crf of each where none is given: as good as the source to the eye."""
_DEEP = ("yuv420p10le", "yuv422p10le", "yuv444p10le", "p010le")
_SHALLOW = ("yuv420p", "yuv422p", "yuv444p")
_ALWAYS_LIMITED = ("prores_ks",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Everything that an encoder is told; two segments of equal settings can be joined."""

    codec: str
    options: dict[str, str]
    pixel_format: str
    width: int
    height: int
    aspect: Fraction
    time_base: Fraction
    rate: Fraction
    colour: Colour

    @property
    def container(self) -> str:
        """FFmpeg's name for that of a segment: NUT keeps any time base, and has no ProRes."""
        return "mov" if self.codec == "prores_ks" else "nut"


def default_codec(target: Path) -> str:
    return "libsvtav1" if target.suffix.lower() == ".webm" else "libx264"


def encoder(codec: str, target: Path) -> Any:
    """The encoder of this name. Raises VideoError if there is none, or `target` cannot hold what it gives."""
    av = library()
    try:
        found = av.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        found = None
    if found is None or found.type != "video":
        raise VideoError(f"there is no video encoder {codec} here: try libx264, libx265, libsvtav1, prores_ks or ffv1")
    name = FORMATS[target.suffix.lower()]
    with av.open(os.devnull, "w", format=name) as probe:
        if found.canonical_name not in probe.supported_codecs and codec not in probe.supported_codecs:
            raise VideoError(f"{target}: {target.suffix} cannot hold {codec}: name the output .mkv, or another --codec")
    return found


def quality_options(found: Any, *, crf: int | None, preset: str | None) -> dict[str, str]:
    """The encoder's options for --crf and --preset. Raises VideoError if it has none such."""
    context = library().CodecContext.create(found.name, "w")
    known = {option.name for option in context.supported_options.private}
    quality = crf if crf is not None else _QUALITY.get(found.name)
    options = {"x265-params": "log-level=none"} if found.name == "libx265" else {}
    if quality is not None:
        name = next((name for name in ("crf", "cq") if name in known), None)
        if name is None:
            raise VideoError(f"{found.name} has no quality that --crf could set: leave it out")
        options[name] = str(quality)
    if preset is not None:
        if "preset" not in known:
            raise VideoError(f"{found.name} has no --preset: leave it out")
        options["preset"] = preset
    return options


def pixel_format(found: Any, *, bits: int, size: tuple[int, int]) -> str:
    """The one that keeps the bits, 4:2:0 if the size is even. Raises VideoError if there is none."""
    offered = {form.name for form in found.video_formats or ()}
    for name in (*_DEEP, *_SHALLOW) if bits > 8 else (*_SHALLOW, *_DEEP):
        wide, high = ("420" in name or "422" in name or name == "p010le"), ("420" in name or name == "p010le")
        if name in offered and not (wide and size[0] % 2) and not (high and size[1] % 2):
            return name
    raise VideoError(f"{found.name} takes no frames of {size[0]} x {size[1]} pixels: try --codec libx264 or ffv1")


def limited(colour: Colour, codec: str) -> Colour:
    """The colour that the codec writes: ProRes knows no full range."""
    return dataclasses.replace(colour, full=False) if codec in _ALWAYS_LIMITED else colour


def check_encoder(encoding: Encoding) -> None:
    """Raises VideoError if the encoder refuses its settings: a size above its limit, an unknown preset."""
    av = library()
    context = av.CodecContext.create(encoding.codec, "w")
    context.width, context.height, context.pix_fmt = encoding.width, encoding.height, encoding.pixel_format
    context.framerate, context.time_base, context.options = encoding.rate, encoding.time_base, dict(encoding.options)
    context.thread_count = 1
    try:
        _quiet(encoding.codec)
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        settings = ", ".join(f"{name} {value}" for name, value in encoding.options.items() if name != "x265-params")
        size = f"{encoding.width} x {encoding.height} in {encoding.pixel_format}"
        raise VideoError(
            f"{encoding.codec} does not take {size} with {settings or 'no options'}: {said(error)}: try another "
            "--codec, --crf or --preset"
        ) from error


class SegmentWriter:
    """A part of the film, video only: it begins with a key frame and has no frames out of order."""

    def __init__(self, into: Path | BinaryIO, encoding: Encoding, from_rgb: FromRGB) -> None:
        _quiet(encoding.codec)
        # MOV counts the beginning of a track in thousandths of a second unless told otherwise.
        options = {"movie_timescale": str(encoding.time_base.denominator)} if encoding.container == "mov" else {}
        file = str(into) if isinstance(into, Path) else into
        self._file = library().open(file, "w", format=encoding.container, options=options)
        stream = self._file.add_stream(encoding.codec, rate=encoding.rate, options=dict(encoding.options))
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = encoding.width, encoding.height, encoding.pixel_format
        stream.time_base = context.time_base = encoding.time_base
        context.sample_aspect_ratio = encoding.aspect
        context.max_b_frames = 0
        # The network takes all cores: an encoder that does, too, slows both.
        context.thread_count = max(1, usable_cores() // 4)
        tag(context, encoding.colour)
        self._stream, self._base = stream, encoding.time_base
        self._from_rgb = from_rgb

    def write(self, pixels: NDArray[Any], pts: int) -> None:
        frame = self._from_rgb(pixels)
        frame.pts, frame.time_base = pts, self._base
        self._file.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Ends the file."""
        self._file.mux(self._stream.encode(None))
        self._file.close()

    def abandon(self) -> None:
        """Lets the file go, unfinished."""
        self._file.close()


def _quiet(codec: str) -> None:
    if codec == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # or it writes its settings to standard error

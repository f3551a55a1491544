"""What a video file is, found before the work: its header, and its first hundred frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import VideoError
from .colour import Colour, colour_of
from .library import fraction, library, open_video, said

MAX_PIXELS = 8192 * 8192
"""Of a frame; a header that asks for more is not believed."""
_LOOKED_AT = 100
"""Frames that tell whether a video is interlaced."""
_INDEXED = ("mov", "matroska")
"""Containers that find a time at once; the others are read from their beginning."""
_FROM_ANYWHERE = ("mpegts", "mpeg", "mpegvideo", "asf", "flv")
"""Containers whose clock starts anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """One film: the facts that reading and writing it need."""

    path: Path
    index: int
    """Of its stream in the file."""
    width: int
    """Of a frame as it is stored."""
    height: int
    turn: int
    """Quarter turns to the left that set a frame upright."""
    aspect: Fraction
    """Width of a stored pixel over its height."""
    time_base: Fraction
    """Seconds of a tick."""
    rate: Fraction
    """Frames a second, about; for the encoder's sums only."""
    frames: int
    """How many; about, unless `counted`: by the length and the rate."""
    counted: bool
    origin: Fraction
    """Seconds on the file's clock that become 0."""
    colour: Colour
    bits: int
    """8, or 16 for a video of more than 8."""
    interlaced: bool
    seekable: bool
    notes: tuple[str, ...] = ()

    @property
    def upright(self) -> tuple[int, int]:
        """(width, height) of a frame as it is seen."""
        return (self.height, self.width) if self.turn % 2 else (self.width, self.height)

    @property
    def upright_aspect(self) -> Fraction:
        return 1 / self.aspect if self.turn % 2 else self.aspect


def probe(path: Path, *, hdr: str = "refuse") -> VideoFacts:
    """Looks at a video. hdr: "keep" takes PQ and HLG as if they were pictures, "refuse" raises.

    Raises VideoError if it is no video, encrypted, of a codec without decoder, absurdly large, in HDR that is not asked
    for, or none of its frames can be decoded.
    """
    with open_video(path) as container:
        stream = main_stream(container, path)
        context = stream.codec_context
        if context is None:
            raise VideoError(f"{path} is in a codec that FFmpeg cannot decode here: convert it first")
        if not 0 < context.width * context.height <= MAX_PIXELS:
            raise VideoError(
                f"{path} says that its frames are {context.width} x {context.height}: at most "
                f"{MAX_PIXELS} pixels are taken"
            )
        frames = itertools.islice(_first_frames(container, stream, path), _LOOKED_AT)
        first = next(frames, None)
        if first is None:
            raise VideoError(f"{path} has no frame that can be decoded: check the file")
        seen = [first.interlaced_frame, *(frame.interlaced_frame for frame in frames)]
        side = {data.type.name for data in first.side_data}
        if "DOVI_METADATA" in side or "DOVI_RPU_BUFFER" in side or context.codec_tag in ("dvh1", "dvhe", "dva1"):
            raise VideoError(
                f"{path} is Dolby Vision, whose data a larger picture cannot keep: convert it to SDR first"
            )
        colour = colour_of(first, pixel_format=first.format.name, lines=first.height, name=str(path))
        if colour.hdr and hdr == "refuse":
            raise VideoError(
                f"{path} is HDR, and the networks were trained on SDR: --hdr keep treats its levels as a picture's"
            )
        notes = _notes(container, first, colour, side)
        rate = fraction(stream.average_rate) or fraction(stream.guessed_rate) or Fraction(25)
        base = fraction(stream.time_base)
        assert base is not None
        frames_in_all, counted = _count(container, stream, rate, path)
        kinds = container.format.name.split(",")
        return VideoFacts(
            path=path,
            index=stream.index,
            width=first.width,
            height=first.height,
            turn=round(first.rotation / 90) % 4,
            aspect=fraction(stream.sample_aspect_ratio) or Fraction(1),
            time_base=base,
            rate=rate if 1 <= rate <= 1000 else Fraction(25),
            frames=frames_in_all,
            counted=counted,
            origin=Fraction(container.start_time or 0, 1_000_000) if kinds[0] in _FROM_ANYWHERE else Fraction(0),
            colour=colour,
            bits=8 if max(part.bits for part in first.format.components) <= 8 else 16,
            interlaced=sum(seen) * 10 > len(seen),
            seekable=kinds[0] in _INDEXED,
            notes=notes,
        )


def main_stream(container: Any, path: Path) -> Any:
    """The film among the streams: the first video that is no cover. Raises VideoError if there is none."""
    films = [stream for stream in container.streams.video if not is_cover(stream)]
    if not films:
        raise VideoError(f"{path} has no video stream: give a film, or upscale its cover as a picture")
    return films[0]


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a still picture that belongs to the file."""
    return stream.type == "video" and bool(stream.disposition & library().stream.Disposition.attached_pic)


def _first_frames(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    av = library()
    stream.thread_count = 2
    for packet in container.demux(stream):
        if packet.has_sidedata("encryption_info"):
            raise VideoError(f"{path} is encrypted: decrypt it first")
        try:
            yield from packet.decode()
        except av.error.FFmpegError as error:
            if isinstance(error, av.error.DecoderNotFoundError):
                raise VideoError(f"{path} cannot be decoded: {said(error)}: convert it first") from error


def _count(container: Any, stream: Any, rate: Fraction, path: Path) -> tuple[int, bool]:
    """How many frames there are, and whether they were counted."""
    if stream.frames:
        return int(stream.frames), True
    base = fraction(stream.time_base)
    if stream.duration and base:
        return max(1, round(int(stream.duration) * base * rate)), False
    length = Fraction(int(container.duration or 0), 1_000_000)
    if length > 0:
        return max(1, round(length * rate)), False
    with open_video(path) as whole:  # a bare stream, or one that was cut off while it was written
        return max(1, sum(packet.size > 0 for packet in whole.demux(whole.streams[stream.index]))), True


def _notes(container: Any, frame: Any, colour: Colour, side: set[str]) -> tuple[str, ...]:
    notes = []
    others = [stream for stream in container.streams.video if not is_cover(stream)][1:]
    if others:
        notes.append(f"{len(others) + 1} video streams: the first was taken")
    if any(part.is_alpha for part in frame.format.components):
        notes.append("its transparency was left out")
    if colour.hdr:
        notes.append("HDR: its levels were treated as a picture's")
    if colour.hdr and side & {"MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "DYNAMIC_HDR_PLUS"}:
        notes.append("its mastering data was left out")
    return tuple(notes)

"""What a film will take, from parts of some of its frames that go the whole way: read, enlarged, encoded to memory."""

from __future__ import annotations

import dataclasses
import io
import shutil
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import numpy as np

from ..errors import VideoError
from ..imaging.picture import Picture
from ..sizes import Size, tried_part
from ..upscaler import Upscaler
from .colour import FromRGB
from .encoding import SegmentWriter
from .library import library
from .prepare import Film
from .read import Frame, read_some, steady
from .stages import DEPTH, Pixels, convey
from .work import Segment, Work

_MOMENTS = (Fraction(1, 2), Fraction(1, 6), Fraction(5, 6))
"""Of the film, in turn while there is patience."""
_TRIED = 8
"""Frames at each moment."""
_PATIENCE = 10.0
"""Seconds after which no further moment is tried."""
_CLEARLY = 2
"""Times the free room that a film may need by the estimate before it is refused: that is rough."""
_HELD = 100
"""Frames in 4:2:0 that an encoder's memory is as large as, about: fitted to libx264 and libx265."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of one film, at its own size."""

    seconds: float
    """Of a frame."""
    key_bytes: float
    """Of the first frame of a segment."""
    bytes: float
    """Of another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a film will be, and take, about."""

    frames: int
    resumed: int
    """Frames that an earlier run has made."""
    seconds: float
    memory_bytes: int
    """Beyond what the process holds already."""
    disk_bytes: int
    """Of the result."""
    room_bytes: int
    """That the disk must have free: the parts and the result are there at once."""
    notes: tuple[str, ...]


def estimate(up: Upscaler, film: Film) -> Estimate:
    """Reads parts of the film, and writes nothing.

    Raises VideoError if frames cannot be read, what an earlier run left is of another job, or the disk has clearly too
    little room.
    """
    work = Work(film.target, film.job)
    before = work.segments() if film.options.resume and work.begun() else []
    resumed = sum(segment.frames for segment in before)
    rates = _measured(up, film)
    pictures = _bytes_by(before, film) if before else _bytes(rates, film)
    room = _room(pictures, before, film)
    note = _check(room, film, work.folder)
    return Estimate(
        frames=max(film.frames, resumed),
        resumed=resumed,
        seconds=rates.seconds * max(0, film.frames - resumed),
        memory_bytes=_memory(up, film),
        disk_bytes=pictures + _copied(film),
        room_bytes=room,
        notes=() if note is None else (note,),
    )


def check_room(up: Upscaler, film: Film, work: Work) -> str | None:
    """What to say if the disk may be too small for the parts and the result. Measures the film only where the disk
    does not hold its pictures as they are. Raises VideoError if there is clearly too little room."""
    before = work.segments()
    raw = film.frames * film.settings.width * film.settings.height * 3 * film.facts.bits // 8
    if _room(raw, before, film) <= _free(work.folder):
        return None
    pictures = _bytes_by(before, film) if before else _bytes(_measured(up, film), film)
    return _check(_room(pictures, before, film), film, work.folder)


def _check(room: int, film: Film, folder: Path) -> str | None:
    free = _free(folder)
    if room <= free:
        return None
    text = (
        f"{film.target} needs about {_gigabytes(room)} on the disk while its parts are joined, and {_gigabytes(free)} "
        f"are free in {film.target.parent}: make room, name an output on another disk, or ask for less with --end, a "
        "smaller size or a higher --crf"
    )
    if room > _CLEARLY * free:
        raise VideoError(text)
    return text


def _free(folder: Path) -> int:
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _room(pictures: int, before: Sequence[Segment], film: Film) -> int:
    """Bytes that the disk must have free: the parts, the earlier run's aside, and the result are there at once."""
    return max(0, 2 * pictures + _copied(film) - _made(before))


def _copied(film: Film) -> int:
    """Bytes of sound and other streams."""
    return round(film.kept.bytes_per_second * float(film.frames / film.facts.rate))


def _bytes(rates: Rates, film: Film) -> int:
    segments = -(-film.frames // film.segment)
    return round(segments * rates.key_bytes + (film.frames - segments) * rates.bytes)


def _bytes_by(before: Sequence[Segment], film: Film) -> int:
    """By what an earlier run has made."""
    return _made(before) * film.frames // sum(segment.frames for segment in before)


def _made(before: Sequence[Segment]) -> int:
    return sum(segment.path.stat().st_size for segment in before)


def _measured(up: Upscaler, film: Film) -> Rates:
    begin = time.perf_counter()
    facts, (width, height) = film.facts, film.facts.upright
    part = tried_part(height, width)
    high, wide = (side.stop - side.start for side in part)
    size = _size_of_part(film, wide)
    to = up.target(size, wide, high)
    settings = dataclasses.replace(film.settings, width=to.width, height=to.height)
    from_rgb = FromRGB(settings.colour, pixel_format=settings.pixel_format)
    reading = working = 0.0
    frames = 0
    keys: list[int] = []
    others: list[int] = []

    def enlarge(pixels: Pixels) -> Pixels:
        return up.upscale_picture(Picture(pixels=pixels), size=size).pixels

    for share in _MOMENTS:
        moment = time.perf_counter()
        at = (film.start or 0) + share * film.frames / facts.rate
        tried = [
            np.ascontiguousarray(pixels[part]) for pixels in read_some(facts, at, _TRIED, deinterlace=film.deinterlace)
        ]
        reading += time.perf_counter() - moment
        if not tried:
            break
        if not frames:
            enlarge(tried[0])  # compiles the network for this size
        frames += len(tried)
        moment = time.perf_counter()
        stream = io.BytesIO()
        writer = SegmentWriter(stream, settings, from_rgb)
        convey(_frames(film, tried), enlarge, partial(_write, writer), at_once=max(1, up.max_concurrency))
        writer.close()
        working += time.perf_counter() - moment
        first, *rest = _packets(stream, settings.container)
        keys.append(first)
        others += rest
        if time.perf_counter() - begin > _PATIENCE:
            break
    if not frames:
        raise VideoError(f"{film.source} has no frames between --start and --end: check the times")
    larger = width * height / (wide * high)
    return Rates(
        seconds=max(reading, working * larger) / frames,
        key_bytes=fmean(keys) * larger,
        bytes=fmean(others or keys) * larger,
    )


def _size_of_part(film: Film, width: int) -> Size | None:
    """Of the result of a part so wide: as much larger as that of a frame."""
    if film.size is None:
        return None
    factor = film.settings.width / film.facts.upright[0]
    return Size(box=(max(2, round(width * factor / 2) * 2), None), even=True)


def _frames(film: Film, pixels: list[Pixels]) -> Generator[Frame]:
    step = max(1, round(1 / film.facts.rate / film.facts.time_base))
    repeats = [False, *(np.array_equal(before, after) for before, after in pairwise(pixels))]
    frames = (
        Frame(pts=number * step, pixels=each, repeat=repeat)
        for number, (each, repeat) in enumerate(zip(pixels, repeats, strict=True))
    )
    return steady(frames, None) if film.options.steady else frames


def _write(writer: SegmentWriter, frame: Frame, large: Pixels) -> None:
    writer.write(large, frame.pts)


def _packets(stream: io.BytesIO, container: str) -> list[int]:
    """Bytes of each."""
    stream.seek(0)
    with library().open(stream, format=container) as segment:
        return [packet.size for packet in segment.demux(segment.streams.video[0]) if packet.size]


def _memory(up: Upscaler, film: Film) -> int:
    """Of the frames that are there at once, of the network and of the encoder."""
    facts, settings = film.facts, film.settings
    width, height = facts.upright
    a_pixel = 3 * facts.bits // 8
    at_once = max(1, up.max_concurrency)
    small, large = width * height * a_pixel, settings.width * settings.height * a_pixel
    working = up.working_pixels(up.target(film.size, width, height), width, height) * a_pixel
    return (DEPTH + 2) * (small + large) + at_once * working + _HELD * large // 2

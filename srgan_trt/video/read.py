"""Frames of a film in the order of their times: upright RGB, each with its tick."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import VideoError
from .colour import ToRGB
from .library import fraction, library, open_video
from .probe import VideoFacts
from .steady import Steadied, steadied


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame of the film."""

    pts: int
    """Ticks of the film's time base, of the result's clock."""
    pixels: NDArray[Any]
    """uint8 or uint16 (H, W, 3), upright."""
    repeat: bool = False
    """Whether its pixels are those of the frame before."""
    steadied: Steadied | None = None
    """What the filter of `steady` knows after it, if that is on."""


def origin_of(facts: VideoFacts, start: Fraction | None) -> int:
    """The ticks of the film's clock that are 0 in the result. start: seconds from the film's beginning."""
    return round((facts.origin + (start or 0)) / facts.time_base)


def read_frames(
    facts: VideoFacts,
    *,
    after: int | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    deinterlace: bool = True,
    say: Callable[[str], None] = lambda note: None,
) -> Generator[Frame]:
    """The frames from `start` to before `end`, in seconds, whose tick is above `after`.

    A frame without a time follows the one before it by the film's rate; what cannot be decoded is left out; both are
    said. What comes out for a tick does not depend on `after`. Raises VideoError if the frames change their size.
    """
    origin = origin_of(facts, start)
    last = None if end is None else round((facts.origin + end) / facts.time_base)
    to_rgb = ToRGB(facts.colour, bits=facts.bits)
    before: NDArray[Any] | None = None
    wanted = origin if start is not None else None
    if after is not None:
        wanted = after + origin
    for tick, frame in _timed(facts, wanted, deinterlace and facts.interlaced, say):
        if last is not None and tick >= last:
            return
        pts = tick - origin
        if (start is not None and pts < 0) or (after is not None and pts <= after):
            continue
        pixels = _upright(frame, tick, facts, to_rgb)
        repeat = before is not None and np.array_equal(before, pixels)
        before = pixels
        yield Frame(pts=pts, pixels=pixels, repeat=repeat)


def read_some(facts: VideoFacts, at: Fraction, count: int, *, deinterlace: bool = True) -> list[NDArray[Any]]:
    """The pixels of about `count` frames from about `at` on, in seconds: from the key frame before it where the
    container finds that, else from the beginning. Raises VideoError if they change their size."""
    av = library()
    to_rgb = ToRGB(facts.colour, bits=facts.bits)
    pixels: list[NDArray[Any]] = []
    for seek in (round((facts.origin + at) / facts.time_base), None):
        frames = _decoded(facts, deinterlace and facts.interlaced, lambda note: None, seek=seek)
        with closing(frames), suppress(av.error.FFmpegError):  # a bare stream has no index
            pixels = [_upright(frame, tick or 0, facts, to_rgb) for tick, frame in itertools.islice(frames, count)]
        if pixels:
            break
    return pixels


def _upright(frame: Any, tick: int, facts: VideoFacts, to_rgb: ToRGB) -> NDArray[Any]:
    if (frame.width, frame.height) != (facts.width, facts.height):
        raise VideoError(
            f"{facts.path} changes its frames from {facts.width} x {facts.height} to {frame.width} x "
            f"{frame.height} at {float(tick * facts.time_base):.2f} s: take the parts with --start and --end"
        )
    pixels = to_rgb(frame)
    return np.ascontiguousarray(np.rot90(pixels, facts.turn)) if facts.turn else pixels


def steady(frames: Generator[Frame], before: Steadied | None) -> Generator[Frame]:
    """`frames` through the filter, each with its `steadied`. before: that of the frame before the first."""
    with closing(frames):
        for frame in frames:
            after = steadied(before, frame.pixels)
            pixels = after.pixels
            repeat = before is not None and np.array_equal(before.pixels, pixels)
            before = after
            yield replace(frame, pixels=pixels, repeat=repeat, steadied=after)


def _timed(
    facts: VideoFacts, wanted: int | None, deinterlace: bool, say: Callable[[str], None]
) -> Iterator[tuple[int, Any]]:
    """Decoded frames with strictly rising ticks; from `wanted` on at least, or earlier."""
    # A filter sees its neighbours, and a time that is guessed follows from all before.
    if wanted is not None and facts.seekable and not deinterlace:
        frames = _decoded(facts, deinterlace, say, seek=wanted)
        first = next(frames, None)
        if first is not None and first[0] is not None and first[0] <= wanted:
            yield first[0], first[1]
            yield from _rising(frames, facts, say, begin=first[0])
            return
        frames.close()
    yield from _rising(_decoded(facts, deinterlace, say), facts, say)


def _rising(
    frames: Iterator[tuple[int | None, Any]], facts: VideoFacts, say: Callable[[str], None], begin: int | None = None
) -> Iterator[tuple[int, Any]]:
    step = max(1, round(1 / facts.rate / facts.time_base))
    last, mended = begin, 0
    for tick, frame in frames:
        if tick is None:
            tick, mended = (0 if last is None else last + step), mended + 1
        elif last is not None and tick <= last:
            tick, mended = last + 1, mended + 1
        last = tick
        yield tick, frame
    if mended:
        say(f"{mended} frames had no time of their own, or an earlier one than the frame before: theirs was set")


def _decoded(facts: VideoFacts, deinterlace: bool, say: Callable[[str], None], seek: int | None = None) -> Any:
    """A generator of (tick of the film's clock or None, frame)."""
    av = library()
    broken = 0
    with open_video(facts.path) as container:
        stream = container.streams[facts.index]
        stream.thread_count = 2
        if seek is not None:
            container.seek(seek, stream=stream, backward=True)
        graph = _Deinterlacer(stream) if deinterlace else None
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                frames = packet.decode()
            except av.error.FFmpegError:
                broken += 1
                continue
            for frame in frames:
                if graph is None:
                    yield _tick(frame, facts), frame
                else:
                    yield from ((_tick(f, facts), f) for f in graph.push(frame))
        if graph is not None:
            yield from ((_tick(f, facts), f) for f in graph.push(None))
    if broken:
        say(f"{broken} packets could not be decoded: the film is damaged or cut off")


def _tick(frame: Any, facts: VideoFacts) -> int | None:
    pts = frame.pts if frame.pts is not None else frame.dts
    base = fraction(frame.time_base) or facts.time_base
    return None if pts is None else round(pts * base / facts.time_base)


class _Deinterlacer:
    """bwdif: as many frames as before, each whole."""

    def __init__(self, stream: Any) -> None:
        self._graph = library().filter.Graph()
        source = self._graph.add_buffer(template=stream)
        filter_ = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
        sink = self._graph.add("buffersink")
        source.link_to(filter_)
        filter_.link_to(sink)
        self._graph.configure()

    def push(self, frame: Any) -> Iterator[Any]:
        """What comes out after `frame`, None for the end."""
        av = library()
        self._graph.push(frame)
        while True:
            try:
                yield self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return

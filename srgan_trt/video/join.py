"""The segments and all that the film had besides its pictures, as one file: packets are copied byte for byte."""

from __future__ import annotations

import heapq
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from .colour import Colour, tag
from .library import FORMATS, fraction, library, open_video
from .probe import VideoFacts, is_cover

_LOOKED_AT = 1000
"""Packets in which the first of each stream is looked for."""
_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder"}
"""What a file says of itself, not of the film."""
_MADE_ANEW = {"duration", "bps", "number_of_frames", "number_of_bytes", "encoder", "rotate"}
"""What Matroska's writers note of a track, which is another one now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The streams of the film, by their index, that the result gets, and what is said of the others."""

    streams: tuple[int, ...]
    notes: tuple[str, ...]
    bytes_per_second: float
    """Of all of them, about, by the film's first packets."""


def choose_streams(facts: VideoFacts, target: Path, *, audio: bool) -> Kept:
    """Which streams the target's container can hold; found by writing its header and a packet, before the work."""
    kept, notes = [], []
    first: dict[int, Any] = {}
    sizes: Counter[int] = Counter()
    seconds: list[float] = []
    with open_video(facts.path) as film:
        for packet in itertools.islice(film.demux(), _LOOKED_AT):
            if packet.size:
                first.setdefault(packet.stream.index, packet)
                sizes[packet.stream.index] += packet.size
                if packet.dts is not None:
                    seconds.append(float(packet.dts * packet.time_base))
        for stream in film.streams:
            if stream.index == facts.index or (stream.type == "audio" and not audio):
                continue
            if stream.type == "video" and not is_cover(stream):
                continue  # said by probe
            if stream.type == "data" and film.chapters() and stream.codec_context is None:
                continue  # QuickTime keeps the names of chapters so; they are copied as chapters
            if _holds(target, stream, first.get(stream.index)):
                kept.append(stream.index)
            else:
                name = stream.codec_context.codec.canonical_name if stream.codec_context else stream.name or "unknown"
                language = f", {stream.language}" if stream.language else ""
                notes.append(
                    f"{target.suffix} cannot hold stream {stream.index} ({stream.type}, {name}{language}): left out"
                )
    rate = sum(sizes[index] for index in kept) / max(1.0, max(seconds, default=0) - min(seconds, default=0))
    return Kept(streams=tuple(kept), notes=tuple(notes), bytes_per_second=rate)


def _holds(target: Path, stream: Any, packet: Any) -> bool:
    av = library()
    probe = av.open(os.devnull, "w", format=FORMATS[target.suffix.lower()])
    try:
        copy = _copy_of(probe, stream)
        probe.start_encoding()
        if packet is not None and not is_cover(stream):
            packet.stream, packet.pts, packet.dts = copy, 0, 0
            probe.mux_one(packet)
            probe.close()
            return True
    except (av.error.FFmpegError, ValueError):
        return False
    with suppress(av.error.FFmpegError):
        probe.close()  # it misses the packets; only the header was asked about
    return True


def _copy_of(out: Any, stream: Any) -> Any:
    copy = out.add_stream_from_template(stream, opaque=True)
    copy.metadata.update({k: v for k, v in stream.metadata.items() if k.lower().partition("-")[0] not in _MADE_ANEW})
    copy.disposition = stream.disposition
    return copy


def join(
    segments: Sequence[Path],
    facts: VideoFacts,
    kept: Kept,
    into: Path,
    *,
    colour: Colour,
    origin: int,
    length: Fraction | None,
) -> None:
    """Writes `into`, whose suffix names the container. origin: the film's tick that is 0 in it. length: seconds after
    which nothing is copied."""
    av = library()
    offset = origin * facts.time_base
    options = {}
    if into.suffix.lower() in (".mp4", ".m4v", ".mov"):
        # By default a track's beginning is rounded to a thousandth of a second.
        options = {"movie_timescale": str(facts.time_base.denominator), "movflags": "+faststart"}
    with ExitStack() as stack:
        film = stack.enter_context(open_video(facts.path))
        out = stack.enter_context(av.open(str(into), "w", format=FORMATS[into.suffix.lower()], options=options))
        first = stack.enter_context(av.open(str(segments[0])))
        video = out.add_stream_from_template(first.streams.video[0], opaque=True)
        tag(video.codec_context, colour)
        source = film.streams[facts.index]
        video.metadata.update(
            {k: v for k, v in source.metadata.items() if k.lower().partition("-")[0] not in _MADE_ANEW}
        )
        video.disposition = source.disposition
        copies = {index: _copy_of(out, film.streams[index]) for index in kept.streams}
        out.metadata.update({k: v for k, v in film.metadata.items() if k not in _OWN})
        out.set_chapters(_chapters(film.chapters(), offset, length))
        theirs = [film.streams[index] for index in kept.streams if film.streams[index].type != "attachment"]
        packets = [_pictures(segments, video)]
        if theirs:
            packets.append(_others(film, theirs, copies, offset, length))
        for _, packet in heapq.merge(*packets, key=lambda pair: pair[0]):
            out.mux_one(packet)


def _pictures(segments: Sequence[Path], video: Any) -> Iterator[tuple[Fraction, Any]]:
    """The packets of the segments; each lasts to the next."""
    before, step = None, 0
    for packet in _packets_of(segments):
        if before is not None:
            step = before.duration = packet.pts - before.pts
            yield before.dts * fraction(before.time_base), before
        packet.stream = video
        before = packet
    if before is not None:
        before.duration = step or before.duration
        yield before.dts * fraction(before.time_base), before


def _packets_of(segments: Sequence[Path]) -> Iterator[Any]:
    for path in segments:
        with library().open(str(path)) as segment:
            for packet in segment.demux(segment.streams.video[0]):
                if packet.size:
                    # NUT's reader tells no dts; without frames out of order it is the pts.
                    packet.dts = packet.pts
                    yield packet


def _others(
    film: Any, theirs: list[Any], copies: dict[int, Any], offset: Fraction, length: Fraction | None
) -> Iterator[tuple[Fraction, Any]]:
    for packet in film.demux(theirs):
        if not packet.size:
            continue
        base = fraction(packet.time_base)
        assert base is not None
        if packet.stream.type == "video":  # a cover
            packet.pts = packet.dts = 0
            when = Fraction(0)
        else:
            if packet.dts is None:
                packet.dts = packet.pts
            if packet.pts is None:
                packet.pts = packet.dts
            if packet.pts is None:
                continue  # before the first time stamp of a broken stream
            when = packet.pts * base - offset
            if (offset and when < 0) or (length is not None and when >= length):
                continue
            ticks = round(offset / base)
            packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        index = packet.stream.index
        packet.stream = copies[index]
        yield when, packet


def _chapters(chapters: Any, offset: Fraction, length: Fraction | None) -> list[dict[str, Any]]:
    moved = []
    for chapter in chapters:
        base = fraction(chapter["time_base"])
        assert base is not None
        begin, end = (chapter[side] * base - offset for side in ("start", "end"))
        if end <= 0 or (length is not None and begin >= length):
            continue
        end = end if length is None else min(end, length)
        moved.append({**chapter, "start": round(max(Fraction(0), begin) / base), "end": round(end / base)})
    return moved

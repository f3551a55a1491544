"""One film in, one film out, from where an earlier run was broken off."""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .._version import __version__
from ..errors import VideoError
from ..imaging.encode import check_target
from ..imaging.picture import Picture
from ..sizes import Size
from ..upscaler import Upscaler
from . import encoding as encoders
from .colour import FromRGB
from .encoding import Encoding, SegmentWriter
from .join import choose_streams, join
from .library import FORMATS, library, writing
from .options import Progress, VideoOptions, VideoResult
from .probe import VideoFacts, probe
from .read import Frame, origin_of, read_frames, steady
from .stages import convey
from .steady import Steadied
from .work import Job, Segment, Work, open_work, source_hash

_KEPT = "what is done is kept: run it again to go on"
_LONGEST, _SHORTEST, _SEGMENT_PIXELS = 250, 48, 20_000_000
_BITS_PER_PIXEL = 0.02
"""Of a codec that loses, at least."""


def convert(
    up: Upscaler,
    source: Path,
    target: Path,
    options: VideoOptions,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> VideoResult:
    """Upscales one film by an open Upscaler.

    progress: called with (frames done, about how many in all, None if unknown), from a thread. say: called at once with
    what a user should know before the work is done; all of it is in the result's notes.

    Raises VideoError as `upscale_video` does, and what `up` raises.
    """
    if target.suffix.lower() not in FORMATS:
        raise VideoError(f"{target} does not end as a film that is written: end it in {', '.join(FORMATS)}")
    if not source.is_file():
        raise VideoError(f"{source} does not exist: check the name")
    target = target.absolute()
    if os.path.realpath(target) == os.path.realpath(source):
        raise VideoError(f"{source} would be replaced while it is read: name another output")
    facts = probe(source, hdr=options.hdr)
    settings = _encoding(up, facts, target, options)
    job = _job(up, source, settings, options)
    if not _was_joined(target, job):
        check_target(target, overwrite=overwrite)
    kept = choose_streams(facts, target, audio=options.audio)
    result = VideoResult(target=target, size=facts.upright, enlarged=(settings.width, settings.height))

    def tell(note: str) -> None:
        if note not in result.notes:
            result.notes.append(note)
            say(note)

    for note in (*facts.notes, *_said_of(facts, settings, options, target), *kept.notes):
        tell(note)
    with writing(target, kept=_KEPT), open_work(target, job, resume=options.resume) as work:
        if work.joined.exists():
            work.place()
            return result
        _make(up, facts, settings, options, work, result, progress, tell)
        if source_hash(source) != job.source:
            raise VideoError(f"{source} changed while it was read: --no-resume starts {target} anew")
        segments = work.segments()
        if not segments:
            raise VideoError(f"{source} has no frames between --start and --end: check the times")
        start = _seconds(options.start)
        end = _seconds(options.end)
        join(
            [segment.path for segment in segments],
            facts,
            kept,
            work.joining,
            colour=settings.colour,
            origin=origin_of(facts, start),
            length=None if end is None else end - (start or 0),
        )
        work.finish()
    result.frames = sum(segment.frames for segment in segments)
    result.repeats = sum(segment.repeats for segment in segments)
    if result.repeats:
        tell(f"{result.repeats} of {result.frames} frames were repeats, computed once")
    return result


def _make(
    up: Upscaler,
    facts: VideoFacts,
    settings: Encoding,
    options: VideoOptions,
    work: Work,
    result: VideoResult,
    progress: Progress | None,
    tell: Callable[[str], None],
) -> None:
    """Makes the segments that are not there."""
    before = work.segments()
    result.resumed = done = sum(segment.frames for segment in before)
    if done:
        tell(f"going on after {done} frames of an earlier run")
    total = _total(facts, options)
    length = options.segment or max(_SHORTEST, min(_LONGEST, _SEGMENT_PIXELS // (facts.width * facts.height)))
    growing = _Growing(work, settings, length, number=len(before))

    def write(frame: Frame, large: NDArray[Any]) -> None:
        nonlocal done
        growing.write(frame, large)
        done += 1
        if progress is not None:
            progress(done, total)

    frames = read_frames(
        facts,
        after=before[-1].last if before else None,
        start=_seconds(options.start),
        end=_seconds(options.end),
        deinterlace=options.deinterlace == "auto",
        say=tell,
    )
    if options.steady:
        frames = steady(frames, _filter_after(before, work))
    try:
        result.busy = convey(
            frames,
            lambda pixels: up.upscale_picture(Picture(pixels=pixels), size=_size(options)).pixels,
            write,
            at_once=max(1, up.max_concurrency),
        )
        growing.end()
    finally:
        growing.abandon()


def _filter_after(segments: list[Segment], work: Work) -> Steadied | None:
    if not segments:
        return None
    data = work.filter_after(len(segments) - 1)
    try:
        return Steadied.from_bytes(data)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        raise VideoError(f"{work.folder} is damaged: --no-resume starts {work.target} anew") from None


class _Growing:
    """Frames into segments of `length`."""

    def __init__(self, work: Work, settings: Encoding, length: int, *, number: int) -> None:
        self._work, self._settings, self._length, self._number = work, settings, length, number
        # One for all segments: swscale keeps megabytes of each.
        self._from_rgb = FromRGB(settings.colour, pixel_format=settings.pixel_format)
        self._writer: SegmentWriter | None = None
        self._frames = self._repeats = self._last = 0
        self._steadied: Steadied | None = None

    def write(self, frame: Frame, large: NDArray[Any]) -> None:
        if self._writer is None:
            self._writer = SegmentWriter(self._work.part(self._number), self._settings, self._from_rgb)
            self._frames = self._repeats = 0
        self._writer.write(large, frame.pts)
        self._frames, self._repeats, self._last = self._frames + 1, self._repeats + frame.repeat, frame.pts
        self._steadied = frame.steadied
        if self._frames == self._length:
            self.end()

    def end(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            if self._steadied is not None:
                self._work.keep_filter(self._number, self._steadied.to_bytes())
            self._work.keep(self._number, frames=self._frames, last=self._last, repeats=self._repeats)
            self._number += 1

    def abandon(self) -> None:
        if self._writer is not None:
            try:
                self._writer.abandon()
            except (library().error.FFmpegError, OSError):
                pass  # it failed already, and that was raised
            self._work.part(self._number).unlink(missing_ok=True)


def _encoding(up: Upscaler, facts: VideoFacts, target: Path, options: VideoOptions) -> Encoding:
    codec = options.codec or encoders.default_codec(target)
    found = encoders.encoder(codec, target)
    to = up.target(_size(options), *facts.upright)
    width, height = to.width, to.height
    settings = Encoding(
        codec=codec,
        options=encoders.quality_options(found, crf=options.crf, preset=options.preset),
        pixel_format=encoders.pixel_format(found, bits=facts.bits, size=(width, height)),
        width=width,
        height=height,
        aspect=facts.upright_aspect,
        time_base=facts.time_base,
        rate=facts.rate,
        colour=encoders.limited(facts.colour, codec),
    )
    encoders.check_encoder(settings)
    return settings


def _size(options: VideoOptions) -> Size | None:
    """Of the result, with even sides, which 4:2:0 needs."""
    return None if options.size is None else dataclasses.replace(options.size, even=True)


def _job(up: Upscaler, source: Path, settings: Encoding, options: VideoOptions) -> Job:
    versions = f"{__version__} {library().__version__}"
    network = f"{up.plan.body_hash} {up.info['precision']} {up.info['halo']} {up.info['denoise']} {versions}"
    network += "".join(f" {name}" for name in ("tta", "color_fix") if up.info[name])
    # All else of the encoding follows from these, the film and the network; sound is copied at the end.
    given = dataclasses.asdict(options) | {"codec": settings.codec}
    del given["resume"], given["audio"]
    given["size"] = options.size.label if options.size else f"x{up.spec.scale}"
    return Job(source=source_hash(source), network=network, settings={k: str(v) for k, v in given.items()})


def _was_joined(target: Path, job: Job) -> bool:
    return Work(target, job).joined.exists()


def _said_of(facts: VideoFacts, settings: Encoding, options: VideoOptions, target: Path) -> Iterator[str]:
    if facts.colour.assumed:
        matrix = "BT.709" if facts.colour.matrix == 1 else "BT.601"
        yield f"its colours are untagged: {matrix} was assumed, and is written"
    if facts.interlaced and options.deinterlace == "auto":
        yield "interlaced: bwdif makes whole frames of it"
    elif facts.interlaced:
        yield "interlaced, and left so: lines will show where something moves"
    if settings.colour != facts.colour:
        yield f"{settings.codec} has no full range: levels were made 16..235"
    if facts.bits > 8 and not settings.pixel_format.endswith("le"):
        yield f"{settings.codec} has 8 bits: the film's others were left out"
    if target.suffix.lower() in (".mkv", ".webm") and 1000 % facts.time_base.denominator:
        yield f"{target.suffix} counts thousandths of a second: times are rounded to them"
    if total := _total(facts, options):
        least = total * settings.width * settings.height * _BITS_PER_PIXEL / 8 * 2
        folder = next(parent for parent in target.parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        if least > free:
            yield (
                f"the disk of {folder} has {free / 1e9:.1f} GB free, and {total} frames of {settings.width} x "
                f"{settings.height} need at least {least / 1e9:.1f} GB while they are joined: make room"
            )


def _total(facts: VideoFacts, options: VideoOptions) -> int | None:
    """About how many frames there will be."""
    if facts.frames is None:
        return None
    begin = math.floor((options.start or 0) * facts.rate)
    last = facts.frames if options.end is None else min(facts.frames, math.ceil(options.end * facts.rate))
    return max(1, last - begin)


def _seconds(value: float | None) -> Fraction | None:
    return None if value is None else Fraction(value).limit_denominator(1_000_000)

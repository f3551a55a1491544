"""One film in, one film out, from where an earlier run was broken off."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import VideoError
from ..imaging.picture import Picture
from ..upscaler import Upscaler
from .colour import FromRGB
from .encoding import Encoding, SegmentWriter
from .estimate import check_room
from .join import join
from .library import library, writing
from .options import Progress, VideoOptions, VideoResult
from .prepare import Film, prepare
from .read import Frame, origin_of, read_frames, steady
from .stages import convey
from .steady import Steadied
from .work import Segment, Work, open_work, source_hash

_KEPT = "what is done is kept: run it again to go on"


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

    progress: called with (frames done, about how many in all), from a thread. say: called at once with what a
    user should know before the work is done; all of it is in the result's notes.

    Raises VideoError as `upscale_video` does, and what `up` raises.
    """
    film = prepare(up, source, target, options, overwrite=overwrite)
    target, facts, settings = film.target, film.facts, film.settings
    result = VideoResult(target=target, size=facts.upright, enlarged=(settings.width, settings.height))

    def tell(note: str) -> None:
        if note not in result.notes:
            result.notes.append(note)
            say(note)

    for note in film.notes:
        tell(note)
    with writing(target, kept=_KEPT), open_work(target, film.job, resume=options.resume) as work:
        if work.joined.exists():
            work.place()
            return result
        if small := check_room(up, film, work):
            tell(small)
        _make(up, film, work, result, progress, tell)
        if source_hash(source) != film.job.source:
            raise VideoError(f"{source} changed while it was read: --no-resume starts {target} anew")
        segments = work.segments()
        if not segments:
            raise VideoError(f"{source} has no frames between --start and --end: check the times")
        join(
            [segment.path for segment in segments],
            facts,
            film.kept,
            work.joining,
            colour=settings.colour,
            origin=origin_of(facts, film.start),
            length=None if film.end is None else film.end - (film.start or 0),
        )
        work.finish()
    result.frames = sum(segment.frames for segment in segments)
    result.repeats = sum(segment.repeats for segment in segments)
    if result.repeats:
        tell(f"{result.repeats} of {result.frames} frames were repeats, computed once")
    return result


def _make(
    up: Upscaler,
    film: Film,
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
    growing = _Growing(work, film.settings, film.segment, number=len(before))

    def write(frame: Frame, large: NDArray[Any]) -> None:
        nonlocal done
        growing.write(frame, large)
        done += 1
        if progress is not None:
            progress(done, film.frames)

    frames = read_frames(
        film.facts,
        after=before[-1].last if before else None,
        start=film.start,
        end=film.end,
        deinterlace=film.deinterlace,
        say=tell,
    )
    if film.options.steady:
        frames = steady(frames, _filter_after(before, work))
    try:
        result.busy = convey(
            frames,
            lambda pixels: up.upscale_picture(Picture(pixels=pixels), size=film.size).pixels,
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

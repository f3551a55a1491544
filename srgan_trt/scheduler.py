"""Many pictures, one after the other: while one is in the network the next is read and the last is written.

A CPU's network uses all cores by itself, so only reading and writing run beside it; a device that takes several
pictures at once gets as many.
"""

from __future__ import annotations

import dataclasses
import io
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from .errors import PictureError, SrganTrtError
from .imaging.addresses import Address, ExistsError
from .imaging.decode import MAX_PIXELS, decode
from .imaging.encode import Quality, check_sides, encode, encode_to
from .imaging.picture import Picture
from .imaging.sources import Job
from .machine import memory_bytes
from .sizes import Size, Target, target_of
from .threads import result_of

if TYPE_CHECKING:
    from .upscaler import Upscaler

_PREFETCH = 2
"""Pictures in the works besides those in the network, unless told otherwise: one is read, one written."""

Result = TypeVar("Result")
Work = Callable[[], Result]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a job: a picture, or an ``error``."""

    job: Job
    error: str | None = None
    exists: bool = False
    """Whether the error is that another result was there before this one."""
    notes: tuple[str, ...] = ()
    """What was changed on the way, for the user: "the first of 3 frames was taken"."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of the input."""
    enlarged: tuple[int, int] = (0, 0)
    """(width, height) of the result."""
    denoised: int | None = None
    """The level at which noise was taken away first."""
    precision: str = ""
    """What the network computed in."""
    reading: float = 0.0
    """Seconds, of fetching and decoding."""
    network: float = 0.0
    writing: float = 0.0


def run_jobs(
    jobs: Sequence[Job],
    up: Upscaler,
    *,
    overwrite: bool = False,
    quality: Quality | None = None,
    written: Callable[[Outcome, Picture, Picture], Outcome] | None = None,
    max_pixels: int = MAX_PIXELS,
    size: Size | None = None,
    max_concurrency: int | None = None,
    progress: Callable[[Job, float], None] | None = None,
) -> Iterator[Outcome]:
    """Reads, enlarges and writes; an Outcome of each job as it is finished, about in order.

    written: called with each picture's Outcome, the picture and its result as soon as that is written, from any thread,
    also where the caller stops the iteration before it comes; gives the Outcome to go on with.
    size: of the results; None is what the network makes.

    A picture that fails does not keep the others. At most `max_concurrency` pictures are in progress (None: as many as
    the device takes and two more), fewer where that many of the largest so far, with their results, would need over
    a quarter of the memory. `progress` is called with a job in the network and how many are through (2.5: the
    third by half), from any thread.
    """
    most = up.max_concurrency + _PREFETCH if max_concurrency is None else max_concurrency
    in_network = min(up.max_concurrency, most)
    start = _run_inline if most == 1 or len(jobs) == 1 else _run_in_thread
    enlarge_in = start if in_network > 1 else _run_inline
    waiting = deque(jobs)
    reading: deque[Future[_Read]] = deque()
    enlarging: deque[Future[_Enlarged]] = deque()
    writing: deque[Future[Outcome]] = deque()
    largest, room = 0, 1
    stop = threading.Event()
    through = _ProgressTracker(progress)

    def finish(small: Picture, large: Picture, outcome: Outcome) -> Outcome:
        outcome = _write(large, outcome, overwrite, quality, stop)
        return outcome if written is None or outcome.error is not None else written(outcome, small, large)

    def read_next() -> None:
        job = waiting.popleft()
        # A thread that waits for standard input cannot be left behind at Ctrl-C.
        begin = _run_inline if job.source.kind == "stdin" else start
        reading.append(begin(partial(_read, job, max_pixels), daemon=True))

    def finish_enlarging() -> Iterator[Outcome]:
        enlarged = result_of(enlarging.popleft())
        if enlarged.large is None:
            yield enlarged.outcome
        else:
            work = partial(finish, enlarged.small, enlarged.large, enlarged.outcome)
            writing.append(start(work, daemon=False))

    def make_room(pictures: int) -> Iterator[Outcome]:
        while len(enlarging) + len(writing) >= pictures:
            if writing:
                yield result_of(writing.popleft())
            else:
                yield from finish_enlarging()

    try:
        while waiting or reading:
            if not reading:
                yield from make_room(room)
                read_next()
            read = result_of(reading.popleft())
            if read.picture is None:
                through.count(read.outcome.job, 1.0)
                yield read.outcome
                continue
            try:
                target = checked_target(read.picture, read.outcome.job, up, size, max_pixels)
            except PictureError as error:
                through.count(read.outcome.job, 1.0)
                yield Outcome(job=read.outcome.job, error=error_line(error, read.outcome.job))
                continue
            largest = max(largest, bytes_needed(read.picture, up, target))
            room = max(1, min(most, _memory_budget() // largest))
            yield from make_room(room)
            while waiting and len(reading) + 1 + len(enlarging) + len(writing) < room:
                read_next()
            enlarging.append(enlarge_in(partial(_enlarge, read, up, size, through, stop), daemon=False))
            del read
            while enlarging and (len(enlarging) >= in_network or enlarging[0].done()):
                yield from finish_enlarging()
            while writing and writing[0].done():
                yield result_of(writing.popleft())
        while enlarging:
            yield from finish_enlarging()
        while writing:
            yield result_of(writing.popleft())
    finally:
        # At Ctrl-C too, which gives up what is in the network: files are removed before the program ends.
        stop.set()
        wait(enlarging)
        wait(writing)


class _ProgressTracker:
    """How many pictures are through the network, parts of pictures counted."""

    def __init__(self, progress: Callable[[Job, float], None] | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._parts: dict[int, float] = {}

    def count(self, job: Job, part: float) -> None:
        if self._progress is None:
            return
        with self._lock:
            self._parts[id(job)] = part
            self._progress(job, sum(self._parts.values()))


@dataclass(frozen=True, slots=True)
class _Read:
    picture: Picture | None
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class _Enlarged:
    small: Picture
    large: Picture | None
    outcome: Outcome


def _read(job: Job, max_pixels: int) -> _Read:
    begin = time.perf_counter()
    try:
        if job.error is not None:
            raise PictureError(job.error)
        if job.source.kind == "stdin" and sys.stdin is None:
            raise PictureError("standard input is closed: give a file, or pipe a picture into it")
        picture = decode(job.source.read(), name=job.source.name, max_pixels=max_pixels)
    except (SrganTrtError, MemoryError) as error:
        return _Read(None, Outcome(job=job, error=error_line(error, job)))
    seconds = time.perf_counter() - begin
    return _Read(picture, Outcome(job=job, size=(picture.width, picture.height), reading=seconds))


def _enlarge(
    read: _Read, up: Upscaler, size: Size | None, through: _ProgressTracker, stop: threading.Event
) -> _Enlarged:
    assert read.picture is not None
    job = read.outcome.job
    begin = time.perf_counter()
    try:
        large = up.upscale_picture(
            read.picture, size=size, progress=lambda done, total: through.count(job, done / total), stop=stop
        )
    except (SrganTrtError, MemoryError) as error:
        through.count(job, 1.0)
        return _Enlarged(read.picture, None, Outcome(job=job, error=error_line(error, job)))
    outcome = dataclasses.replace(
        read.outcome,
        enlarged=(large.width, large.height),
        notes=large.notes,
        denoised=large.denoised,
        precision=str(up.info["precision"]),
        network=time.perf_counter() - begin,
    )
    return _Enlarged(read.picture, large, outcome)


def _write(
    large: Picture, outcome: Outcome, overwrite: bool, quality: Quality | None, stop: threading.Event
) -> Outcome:
    job = outcome.job
    begin = time.perf_counter()
    try:
        if job.target == "-":
            notes = encode_to(large, sys.stdout.buffer, format=job.format, quality=quality)
        elif isinstance(job.target, Address):
            content = io.BytesIO()
            notes = encode_to(large, content, format=job.format, name=str(job.target), quality=quality)
            job.target.write(content.getvalue(), overwrite=overwrite)
        else:
            assert job.target is not None
            notes = encode(large, job.target, format=job.format, overwrite=overwrite, quality=quality, stop=stop)
    except (SrganTrtError, MemoryError) as error:
        return Outcome(job=job, error=error_line(error, job), exists=isinstance(error, ExistsError))
    return dataclasses.replace(outcome, notes=outcome.notes + notes, writing=time.perf_counter() - begin)


def error_line(error: SrganTrtError | MemoryError, job: Job) -> str:
    """What became of a job, in one line that names its input."""
    name = job.source.name
    if isinstance(error, MemoryError):
        return f"{name} needs more memory than there is: try --jobs 1 and a smaller --tile, or give parts of it"
    text = str(error)
    return text if name in text or text == job.error else f"{name}: {text}"


def _run_inline(work: Work[Result], *, daemon: bool) -> Future[Result]:
    """`work`, done before this returns."""
    future: Future[Result] = Future()
    future.set_result(work())
    return future


def _run_in_thread(work: Work[Result], *, daemon: bool) -> Future[Result]:
    """`work`, done in a thread of its own; a daemon does not keep the program from ending."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="srgan-trt-picture", daemon=daemon).start()
    return future


def checked_target(picture: Picture, job: Job, up: Upscaler, size: Size | None, max_pixels: int) -> Target:
    """What the job's picture becomes. Raises PictureError for a size that is not to be had, or that no file of the
    job's format holds."""
    target = target_of(size, picture.width, picture.height, up.spec, max_pixels=max_pixels)
    name = "standard output" if job.target == "-" else str(job.target)
    check_sides(job.format, target.width, target.height, name=name)
    return target


def bytes_needed(picture: Picture, up: Upscaler, target: Target) -> int:
    """While it is enlarged, about."""
    bytes_a_pixel = (picture.channels + (picture.alpha is not None)) * picture.bits // 8
    return bytes_a_pixel * up.working_pixels(target, picture.width, picture.height)


def _memory_budget() -> int:
    return memory_bytes() // 4

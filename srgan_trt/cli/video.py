"""`srgan-trt upscale` for films: one after the other, each said as pictures are."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__
from .options import already_done, open_manifest, open_model, open_upscaler, wanted_size

if TYPE_CHECKING:
    from ..imaging.encode import Quality
    from ..imaging.sources import Job, Source
    from ..scheduler import Outcome
    from ..sizes import Size
    from ..upscaler import Upscaler
    from ..video.options import VideoOptions
    from .console import Console
    from .dry_run import Totals


def run_films(sources: Sequence[Source], args: Namespace, console: Console, totals: Totals | None) -> int:
    """Upscales the films among `sources`; with `totals`, reckons them. Returns 0 if all came out, else 1."""
    from ..errors import MissingPackageError
    from ..imaging.sources import plan_outputs
    from ..manifest import with_row
    from ..sizes import result_label
    from ..video.library import library
    from ..video.options import VideoOptions

    begin = time.perf_counter()
    size = wanted_size(args)
    options = VideoOptions(
        codec=args.codec,
        crf=args.crf,
        preset=args.preset,
        start=args.start,
        end=args.end,
        deinterlace=args.deinterlace,
        hdr=args.hdr,
        audio=not args.no_audio,
        resume=not args.no_resume,
        size=size,
        steady=args.steady,
    )
    try:
        library()
    except MissingPackageError as error:
        console.error(str(error))
        return 1
    plan = open_model(args)
    label = result_label(size, plan.spec)
    manifest = open_manifest(args, plan, label, console, films=True, told=any(not source.film for source in sources))
    where = {"output": args.output, "format": args.format, "label": label}
    # A target that exists is looked at later: it may be one that a killed run had just finished.
    jobs = plan_outputs(sources, overwrite=True, done=already_done(args, manifest), **where)
    films = [job for job in jobs if job.source.film and not job.skipped]
    skipped = [job for job in jobs if job.source.film and job.skipped]
    model = {"model": plan.spec.name, "scale": plan.spec.scale}
    console.event("start", version=__version__, **model, films=len(films) + len(skipped), skipped=len(skipped))
    for job in skipped:
        console.event("done", input=job.source.name, output=str(job.target), skipped=True)
        console.result(f"{job.target} is there already")
    if not films:
        if totals is None:
            _summary(console, begin, done=0, skipped=len(skipped), failed=0, opening=0.0, device=None)
        return 0
    good = 0
    with open_upscaler(plan, args, console) as up:
        opening = time.perf_counter() - begin
        if totals is not None:
            from .dry_run import reckon_films

            totals.seconds += opening
            reckon_films(films, up, console, totals, options, overwrite=args.overwrite)
            return 1 if totals.failed else 0
        for job in films:
            outcome = with_row(manifest, _film(job, up, options, args.overwrite, console))
            if outcome.error is not None:
                console.error(outcome.error, source=job.source.name)
            good += outcome.error is None
        device = str(up.info["device"])
    failed = len(films) - good
    _summary(console, begin, done=good, skipped=len(skipped), failed=failed, opening=opening, device=device)
    return 1 if failed else 0


def _summary(console: Console, begin: float, *, opening: float, device: str | None, **counts: int) -> None:
    seconds = {"seconds": round(time.perf_counter() - begin, 3), "opening": round(opening, 3)}
    console.event("summary", **counts, **seconds, device=device)


def run_moving(
    jobs: Sequence[Job],
    up: Upscaler,
    *,
    size: Size | None,
    quality: Quality | None,
    overwrite: bool,
    max_pixels: int,
    progress: Callable[[Job, float], None],
    before: int,
) -> Iterator[Outcome]:
    """Upscales moving pictures. before: pictures that are through, for `progress`."""
    from ..errors import SrganTrtError
    from ..scheduler import Outcome, error_line
    from ..video.animation import upscale_animation

    for number, job in enumerate(jobs, before):
        begin = time.perf_counter()
        assert isinstance(job.target, Path)
        try:
            made = upscale_animation(
                up,
                Path(job.source.location),
                job.target,
                format=job.format,
                size=size,
                quality=quality,
                max_pixels=max_pixels,
                overwrite=overwrite,
                progress=partial(_moved, progress, job, number),
            )
        except SrganTrtError as error:
            yield Outcome(job=job, error=error_line(error, job))
            continue
        yield Outcome(
            job=job,
            notes=(f"{made.frames} frames, {made.repeats} of them repeats",),
            size=made.size,
            enlarged=made.enlarged,
            precision=str(up.info["precision"]),
            network=time.perf_counter() - begin,
        )


def _moved(progress: Callable[[Job, float], None], job: Job, number: int, done: int, total: int) -> None:
    progress(job, number + done / total)


def is_moving(job: Job) -> bool:
    """Whether the job's picture is an animation, and its result can be one."""
    from ..video.animation import FORMATS, is_animated

    named = job.source.kind == "file" and isinstance(job.target, Path)
    return named and job.format in FORMATS and is_animated(Path(job.source.location))


def _film(job: Job, up: Upscaler, options: VideoOptions, overwrite: bool, console: Console) -> Outcome:
    """Upscales a film and says so if it came out."""
    from ..errors import SrganTrtError
    from ..scheduler import Outcome, error_line
    from ..video.convert import convert

    name, begin = job.source.name, time.perf_counter()
    first: list[int] = []

    def progress(done: int, total: int) -> None:
        if console.as_events:
            console.progress(name, done, max(total, done), work="film")
            return
        first[:] = first or [done - 1]
        rate = (done - first[0]) / (time.perf_counter() - begin)
        console.progress(f"{name}, {rate:.2f} frames/s", done - first[0], max(total, done) - first[0], work=name)

    try:
        if job.error is not None:
            raise SrganTrtError(job.error)
        assert isinstance(job.target, Path)
        result = convert(
            up,
            Path(job.source.location),
            job.target,
            options,
            overwrite=overwrite,
            progress=progress,
            say=lambda note: console.note(note, source=name),
        )
    except SrganTrtError as error:
        console.end_progress()
        console.traceback()
        return Outcome(job=job, error=error_line(error, job))
    console.end_progress()
    seconds = time.perf_counter() - begin
    rate = (result.frames - result.resumed) / seconds
    (width, height), (wide, high) = result.size, result.enlarged
    sizes = {"size": list(result.size), "enlarged": list(result.enlarged)}
    facts = {"precision": up.info["precision"], "frames": result.frames, "repeats": result.repeats}
    facts |= {"resumed": result.resumed, "seconds": round(seconds, 3)}
    console.event("done", input=name, output=str(job.target), skipped=False, **sizes, **facts)
    console.result(
        f"{name} ({width} x {height}) -> {job.target} ({wide} x {high}), {result.frames} frames in {seconds:.2f} s "
        f"({rate:.2f} a second, network {result.busy:.0%} of the time), {up.info['device']}, {up.info['precision']}"
    )
    return Outcome(job=job, size=result.size, enlarged=result.enlarged, network=seconds)

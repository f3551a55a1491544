"""`srgan-trt upscale`: pictures named on the command line -> pictures written, each problem told."""

from __future__ import annotations

import itertools
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .argument_types import gigabytes, positive, whole
from .options import (
    add_checksum,
    add_denoise,
    add_device,
    add_film_options,
    add_opening,
    add_precision,
    add_quiet,
    opening,
)

if TYPE_CHECKING:
    from ..imaging.sources import Job, Source
    from .console import Console
    from .scheduler import Outcome

FORMATS = ("png", "jpg", "webp", "tiff")
"""Those of imaging/encode.py, not imported for it: help should come at once."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="a picture or a film, a folder (with the folders in it), a pattern, an http(s) address, or - for standard "
        "input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUTPUT",
        help="file or folder to write to, or - for standard output (default: photo_x4.png beside photo.jpg)",
    )
    parser.add_argument(
        "--model",
        metavar="FILE",
        help="a plan, a Keras, ONNX or ncnn file (its plan is built once and cached), the address of one (fetched once "
        "and cached), or a name that 'srgan-trt models' lists",
    )
    add_checksum(parser)
    parser.add_argument("--format", choices=FORMATS, help="output format (default: from OUTPUT's suffix, else png)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    add_device(parser)
    parser.add_argument(
        "--max-vram",
        type=gigabytes,
        metavar="GB",
        help="limit on memory used per GPU, in GB (default: what is free)",
    )
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads that compute on the CPU (default: the cores that this process or its container may use)",
    )
    add_precision(
        parser,
        "fp16 on a GPU; on a CPU int8 if the model has a faster plan in it, else bf16 if the CPU has it; 16-bit "
        "pictures fp32",
    )
    parser.add_argument(
        "--tile",
        type=positive,
        metavar="N",
        help="largest side of a tile, in pixels (default: what is fast and fits)",
    )
    parser.add_argument(
        "--halo",
        type=whole,
        metavar="N",
        help="pixels of context around a tile (default: what keeps the result within half a level)",
    )
    parser.add_argument("--exact", action="store_true", help="the whole receptive field as halo, in fp32")
    add_denoise(parser)
    parser.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="pictures processed concurrently (default: those that the device takes at once, and two to read and "
        "write; 1 takes least memory)",
    )
    parser.add_argument(
        "--max-pixels", type=positive, metavar="N", help="pixels of the largest picture accepted (default: 200 million)"
    )
    add_quiet(parser, "print errors and warnings only")
    add_film_options(parser.add_argument_group("for films and moving pictures"))
    add_opening(parser.add_argument_group("for a --model that is not a plan yet"))


def run(args: Namespace, console: Console) -> int:
    """Upscales every picture that the inputs name (see imaging/sources.py) and says what came of it. Returns 0 if every
    input came out; raises SrganTrtError where none can."""
    if args.output == "-":
        if sys.stdout is None or sys.stdout.isatty():
            console.error("standard output is a terminal or closed: pipe it on, or name a file with -o")
            return 2
        console.results_to = sys.stderr
    from ..imaging.sources import expand, plan_outputs

    begin = time.perf_counter()
    sources = expand(args.inputs, films=True)
    # Whatever is wrong with the names is found before the model is opened, which may take minutes.
    plan_outputs(sources, output=args.output, format=args.format, scale=1, overwrite=True)
    status = 0
    if not all(source.film for source in sources):
        status = _run_pictures(sources, args, console, begin)
    if any(source.film for source in sources):
        from .video import run_films

        status = max(status, run_films(sources, args, console))
    return status


def _run_pictures(sources: Sequence[Source], args: Namespace, console: Console, begin: float) -> int:
    """Upscales those of `sources` that are no films. begin: when the command began."""
    from ..imaging.decode import MAX_PIXELS
    from ..imaging.sources import plan_outputs
    from ..resolve import resolve
    from ..upscaler import Upscaler
    from .console import one_line_of
    from .scheduler import run_jobs
    from .video import is_moving, run_moving

    if all(source.film or source.error is not None for source in sources):
        for source in sources:
            if source.error is not None:
                console.error(source.error)
        return 1
    plan = resolve(args.model, sha256=args.sha256).plan(**opening(args))
    jobs = plan_outputs(
        sources, output=args.output, format=args.format, scale=plan.spec.scale, overwrite=args.overwrite
    )
    jobs = [job for job in jobs if not job.source.film]
    for job in jobs:
        if job.error is not None:
            console.error(job.error)
    good = [job for job in jobs if job.error is None]
    if not good:
        return 1
    moving = [] if args.first_frame else [job for job in good if is_moving(job)]
    still = [job for job in good if job not in moving]
    done: list[Outcome] = []
    with Upscaler(
        plan,
        device=args.device,
        precision=args.precision,
        tile=args.tile,
        halo=args.halo,
        exact=args.exact,
        max_vram=args.max_vram,
        threads=args.threads,
        denoise=args.denoise,
        build_progress=console.build_progress,
    ) as up:
        opened = time.perf_counter() - begin

        def progress(job: Job, through: float) -> None:
            console.progress(job.source.name, through, len(good))

        max_pixels = args.max_pixels or MAX_PIXELS
        for outcome in itertools.chain(
            run_jobs(
                still,
                up,
                overwrite=args.overwrite,
                max_pixels=max_pixels,
                max_concurrency=args.jobs,
                progress=progress,
            ),
            run_moving(
                moving, up, overwrite=args.overwrite, max_pixels=max_pixels, progress=progress, before=len(still)
            ),
        ):
            for note in outcome.notes:
                console.note(f"{outcome.job.source.name}: {note}")
            if outcome.error is not None:
                console.error(outcome.error)
            else:
                done.append(outcome)
        console.end_progress()
        device = str(up.info["device"])
    if done:
        seconds = time.perf_counter() - begin
        console.result(one_line_of(summary(done, asked=len(jobs), seconds=seconds, opening=opened, device=device)))
    return 0 if len(done) == len(jobs) else 1


def summary(done: Sequence[Outcome], *, asked: int, seconds: float, opening: float, device: str) -> str:
    """One line: how many pictures of those asked for, their pixels, the time each part took, device and precision.

    The parts of several pictures overlap, so their seconds may add up to more than the whole.
    """
    if len(done) == asked == 1:
        [one] = done
        target = "standard output" if one.job.target == "-" else one.job.target
        what = f"{one.job.source.name} ({_size(one.size)}) -> {target} ({_size(one.enlarged)})"
    else:
        count = f"{len(done)} pictures" if len(done) == asked else f"{len(done)} of {asked} pictures"
        before, after = _megapixels(one.size for one in done), _megapixels(one.enlarged for one in done)
        what = f"{count}, {before} -> {after} megapixels"
    reading, network, writing = (
        sum(getattr(outcome, part) for outcome in done) for part in ("reading", "network", "writing")
    )
    parts = f"model {opening:.2f}, reading {reading:.2f}, network {network:.2f}, writing {writing:.2f}"
    precisions = " and ".join(sorted({outcome.precision for outcome in done}))
    return f"{what} in {seconds:.2f} s ({parts}), {device}, {precisions}{_denoised(done)}"


def _denoised(done: Sequence[Outcome]) -> str:
    """At which levels noise was taken away, and of how many pictures where it was not all."""
    levels = Counter(outcome.denoised for outcome in done if outcome.denoised is not None)
    if not levels:
        return ""
    if levels.total() == len(done) and len(levels) == 1:
        return f", denoised at level {next(iter(levels))}"
    return ", denoised " + " and ".join(f"{count} at level {level}" for level, count in sorted(levels.items()))


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _megapixels(sizes: Iterable[tuple[int, int]]) -> str:
    return f"{sum(width * height for width, height in sizes) / 1e6:.2f}"

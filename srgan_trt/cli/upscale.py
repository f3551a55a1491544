"""`srgan-trt upscale`: pictures named on the command line -> pictures written, each problem told."""

from __future__ import annotations

import itertools
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from .argument_types import gigabytes, positive, whole
from .options import (
    add_after,
    add_checksum,
    add_denoise,
    add_device,
    add_film_options,
    add_opening,
    add_precision,
    add_quiet,
    add_ray,
    add_size,
    add_texture,
    already_done,
    given,
    open_manifest,
    open_model,
    open_upscaler,
    option_names,
    wanted_size,
)
from .summary import facts, pictures, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..imaging.picture import Picture
    from ..imaging.sources import Job, Source
    from ..manifest import Manifest
    from ..scheduler import Outcome
    from ..sizes import Size
    from ..upscaler import Upscaler
    from .comparisons import Comparisons
    from .console import Console
    from .dry_run import Totals

FORMATS = ("png", "jpg", "webp", "tiff", "avif", "jxl")
"""Those of imaging/encode.py, not imported for it: help should come at once."""
_OF_PICTURES = ("quality", "compare")
"""Those that films do not know."""


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
        help="a plan, a Keras, PyTorch, ONNX or ncnn file (its plan is built once and cached), the http(s) or hf: "
        "address of one (fetched once and cached), or a name that 'srgan-trt models' lists",
    )
    add_checksum(parser)
    parser.add_argument("--format", choices=FORMATS, help="output format (default: from OUTPUT's suffix, else png)")
    loss = parser.add_mutually_exclusive_group()
    loss.add_argument(
        "--quality",
        type=positive,
        metavar="N",
        help="1 to 100, for jpg (default: 95), webp (90), avif (85) and jxl (95)",
    )
    loss.add_argument(
        "--lossless",
        dest="quality",
        action="store_const",
        const="lossless",
        help="every pixel as it was computed, in webp and jxl too; png and tiff are so always",
    )
    exists = parser.add_mutually_exclusive_group()
    exists.add_argument("--overwrite", action="store_true", help="replace files that exist")
    exists.add_argument("--skip-existing", action="store_true", help="leave out inputs whose result exists")
    parser.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE.jsonl",
        help="write a line an input; what it says is done is not done again: an interrupted run goes on",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what it would make and take: sizes, tiles, seconds, memory, disk; write nothing",
    )
    parser.add_argument(
        "--json", action="store_true", help="say everything as events for programs, a line of JSON each (see docs)"
    )
    parser.add_argument(
        "--compare",
        nargs="?",
        const="",
        metavar="DIR",
        help="show each picture beside its result: photo_x4.compare.png and .html, in DIR (default: beside the result)",
    )
    add_size(parser)
    add_device(parser)
    parser.add_argument(
        "--engine",
        metavar="tensorrt|torch",
        help="what runs the network on a GPU: tensorrt, tensorrt-rtx or torch (PyTorch; default: the TensorRT that is "
        "installed)",
    )
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
    add_texture(parser)
    add_after(parser)
    parser.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="pictures processed concurrently (default: those that the device takes at once, and two to read and "
        "write; 1 takes least memory)",
    )
    parser.add_argument(
        "--max-pixels",
        type=positive,
        metavar="N",
        help="pixels of the largest picture accepted, and of the largest size asked for (default: 200 million)",
    )
    add_quiet(parser, "print errors and warnings only")
    add_ray(parser.add_argument_group("for more than one machine"))
    add_film_options(parser.add_argument_group("for films and moving pictures"))
    add_opening(parser.add_argument_group("for a --model that is not a plan yet"))


def run(args: Namespace, console: Console) -> int:
    """Upscales every picture that the inputs name (see imaging/sources.py) and says what came of it. Returns 0 if every
    input came out; raises SrganTrtError where none can."""
    console.as_events = args.json
    if args.output == "-":
        if args.json:
            console.error("--json and the picture cannot both go to standard output: name a file with -o")
            return 2
        if sys.stdout is None or sys.stdout.isatty():
            console.error("standard output is a terminal or closed: pipe it on, or name a file with -o")
            return 2
        console.results_to = sys.stderr
    from ..imaging.decode import MAX_PIXELS
    from ..imaging.encode import check_format
    from ..imaging.sources import expand, plan_outputs

    begin = time.perf_counter()
    args.max_pixels = args.max_pixels or MAX_PIXELS
    if args.ray is not None:
        from .on_ray import run_on_ray

        return run_on_ray(args, console, begin)
    if others := given(args, "actors", "cpus_per_actor", "gpus_per_actor"):
        console.error(f"{option_names(list(others)[:1])} goes with --ray only: give that, too")
        return 2
    sources = expand(args.inputs, films=True)
    # Whatever is wrong with the names is found before the model is opened, which may take minutes.
    for job in plan_outputs(sources, output=args.output, format=args.format, label="x1", overwrite=True):
        if not job.source.film:
            check_format(job.format, args.quality)
    films = [source for source in sources if source.film]
    if films and (others := given(args, *_OF_PICTURES)):
        console.error(
            f"{option_names(others)}: for pictures only, and {films[0].name} is a film: leave films out, or that"
        )
        return 2
    status = 0
    totals = None
    if args.dry_run:
        from .dry_run import Totals

        totals = Totals()
    if len(films) < len(sources):
        status = _run_pictures(sources, args, console, begin, totals)
    if films:
        from .video import run_films

        status = max(status, run_films(sources, args, console, totals))
    if totals is not None:
        totals.say(console)
    return status


def _run_pictures(
    sources: Sequence[Source], args: Namespace, console: Console, begin: float, totals: Totals | None
) -> int:
    """Upscales those of `sources` that are no films; with `totals`, reckons them. begin: when the command began."""
    from ..imaging.sources import plan_outputs
    from ..manifest import failed, with_row
    from ..sizes import result_label
    from .console import one_line_of

    size = wanted_size(args)
    comparisons = None
    if args.compare is not None:
        from .comparisons import Comparisons

        comparisons = Comparisons(args.compare, output=args.output, overwrite=args.overwrite)
    if all(source.film or source.error is not None for source in sources):
        for source in sources:
            if source.error is not None:
                console.error(source.error, source=source.name)
                if totals is not None:
                    totals.failed += 1
        return 1
    plan = open_model(args)
    label = result_label(size, plan.spec)
    manifest = open_manifest(args, plan, label, console)

    is_done = already_done(args, manifest)
    where = {"output": args.output, "format": args.format}
    jobs = plan_outputs(sources, label=label, overwrite=args.overwrite, done=is_done, **where)
    jobs = [job for job in jobs if not job.source.film]
    if comparisons is not None:
        jobs = [comparisons.checked(job) for job in jobs]
    if args.dry_run:
        manifest = None
    good = [job for job in jobs if job.error is None and not job.skipped]
    skipped = [job for job in jobs if job.skipped]
    model = {"model": plan.spec.name, "scale": plan.spec.scale}
    console.event("start", version=__version__, **model, pictures=len(jobs), skipped=len(skipped))
    for job in skipped:
        console.event("done", input=job.source.name, output=str(job.target), skipped=True)
    for job in jobs:
        if job.error is not None:
            console.error(job.error, source=job.source.name)
            with_row(manifest, failed(job))
    if totals is not None:
        totals.failed += len(jobs) - len(good) - len(skipped)
    done: list[Outcome] = []
    device = None
    opened = 0.0
    if good:
        with open_upscaler(plan, args, console) as up:
            opened = time.perf_counter() - begin
            if totals is not None:
                _reckon(good, up, args, console, totals, size=size)
                totals.seconds += opened
                return 1 if totals.failed else 0
            done = _upscaled(good, up, args, console, size=size, manifest=manifest, comparisons=comparisons)
            device = str(up.info["device"])
    seconds = time.perf_counter() - begin
    missing = len(jobs) - len(done) - len(skipped)
    counts = {"done": len(done), "skipped": len(skipped), "failed": missing}
    if totals is None:
        console.event("summary", **counts, seconds=round(seconds, 3), opening=round(opened, 3), device=device)
    there = len(skipped)
    if done:
        said = summary(done, asked=len(jobs) - there, seconds=seconds, opening=opened, device=str(device))
        said += f", {there} {'was' if there == 1 else 'were'} there already" if there else ""
        console.result(one_line_of(said))
    elif there and not good:
        console.result(f"nothing to do: {pictures(there)} {'is' if there == 1 else 'are'} there already")
    return 1 if missing else 0


def _reckon(
    jobs: Sequence[Job], up: Upscaler, args: Namespace, console: Console, totals: Totals, *, size: Size | None
) -> None:
    from .dry_run import reckon_pictures
    from .video import is_moving

    for job in jobs if not args.first_frame else []:
        if is_moving(job):
            console.note("moves, of which the first frame is reckoned", source=job.source.name)
    options = {"size": size, "quality": args.quality, "max_pixels": args.max_pixels}
    reckon_pictures(jobs, up, console, totals, **options)


def _upscaled(
    jobs: Sequence[Job],
    up: Upscaler,
    args: Namespace,
    console: Console,
    *,
    size: Size | None,
    manifest: Manifest | None,
    comparisons: Comparisons | None,
) -> list[Outcome]:
    """What came out; what did not is said."""
    from ..manifest import with_row
    from ..scheduler import run_jobs
    from .video import is_moving, run_moving

    moving = [] if args.first_frame else [job for job in jobs if is_moving(job)]
    still = [job for job in jobs if job not in moving]
    if comparisons is not None:
        for job in moving:
            console.note("is not compared, as it moves", source=job.source.name)

    def written(outcome: Outcome, small: Picture, large: Picture) -> Outcome:
        if comparisons is not None:
            outcome = comparisons.save(outcome, small, large)
        return with_row(manifest, outcome)

    def progress(job: Job, through: float) -> None:
        console.progress(job.source.name, through, len(jobs))

    how: dict[str, Any] = {"overwrite": args.overwrite, "quality": args.quality, "max_pixels": args.max_pixels}
    how |= {"size": size, "progress": progress}
    moved = (
        outcome if outcome.error else with_row(manifest, outcome)
        for outcome in run_moving(moving, up, before=len(still), **how)
    )
    done = []
    for outcome in itertools.chain(run_jobs(still, up, written=written, max_concurrency=args.jobs, **how), moved):
        name = outcome.job.source.name
        for note in outcome.notes:
            console.note(note, source=name)
        if outcome.error is not None:
            console.error(outcome.error, source=name)
            with_row(manifest, outcome)
        else:
            console.event("done", input=name, output=str(outcome.job.target), skipped=False, **facts(outcome))
            done.append(outcome)
    console.end_progress()
    return done

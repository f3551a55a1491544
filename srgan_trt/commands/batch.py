"""What `srgan-trt upscale` does: pictures named on the command line -> pictures written, each problem told."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..imaging.decode import MAX_PIXELS
from ..imaging.sources import Job, expand, plan_outputs
from ..resolve import resolve
from ..upscaler import Upscaler
from .conveyor import Outcome, run_jobs

if TYPE_CHECKING:
    from .console import Console


def upscale_files(
    inputs: Sequence[str],
    *,
    console: Console,
    output: str | None = None,
    format: str | None = None,
    overwrite: bool = False,
    model: str | None = None,
    sha256: str | None = None,
    build: dict[str, Any] | None = None,
    device: str = "auto",
    precision: str | None = None,
    tile: int | None = None,
    halo: int | None = None,
    exact: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_vram: int | None = None,
    threads: int | None = None,
    denoise: str | None = None,
    max_concurrency: int | None = None,
) -> bool:
    """Upscales every picture that `inputs` name (see imaging/sources.py) and says what came of it on `console`.

    build: settings of `srgan_trt.build` for a `model` that is not a plan yet. The other options are those of
    `Upscaler`, `plan_outputs` and `run_jobs`. Returns whether every input came out; raises SrganTrtError
    where none can.
    """
    begin = time.perf_counter()
    sources = expand(inputs)
    # Whatever is wrong with the names is found before the model is opened, which may take minutes.
    plan_outputs(sources, output=output, format=format, scale=1, overwrite=True)
    if all(source.error is not None for source in sources):
        for source in sources:
            console.error(str(source.error))
        return False
    plan = resolve(model, sha256=sha256).plan(**(build or {}))
    jobs = plan_outputs(sources, output=output, format=format, scale=plan.spec.scale, overwrite=overwrite)
    failed = [job for job in jobs if job.error is not None]
    for job in failed:
        console.error(str(job.error))
    good = [job for job in jobs if job.error is None]
    if not good:
        return False
    outcomes: list[Outcome] = []
    with Upscaler(
        plan,
        device=device,
        precision=precision,
        tile=tile,
        halo=halo,
        exact=exact,
        max_vram=max_vram,
        threads=threads,
        denoise=denoise,
        build_progress=console.build_progress,
    ) as up:
        opening = time.perf_counter() - begin

        def progress(job: Job, through: float) -> None:
            console.progress(job.source.name, through, len(good))

        for outcome in run_jobs(
            good, up, overwrite=overwrite, max_pixels=max_pixels, max_concurrency=max_concurrency, progress=progress
        ):
            for note in outcome.notes:
                console.note(f"{outcome.job.source.name}: {note}")
            if outcome.error is not None:
                console.error(outcome.error)
            outcomes.append(outcome)
        console.end_progress()
        device_name = str(up.info["device"])
    done = [outcome for outcome in outcomes if outcome.error is None]
    if done:
        seconds = time.perf_counter() - begin
        console.result(summary(done, asked=len(jobs), seconds=seconds, opening=opening, device=device_name))
    return len(done) == len(jobs)


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

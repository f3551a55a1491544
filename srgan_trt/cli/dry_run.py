"""`--dry-run`: what a run would make and take, from parts of pictures and films that are made in memory."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SrganTrtError
from ..imaging.decode import decode
from ..imaging.encode import Quality, encode_to
from ..imaging.picture import Picture
from ..imaging.sources import Job
from ..machine import memory_peak
from ..scheduler import bytes_needed, checked_target, error_line
from ..sizes import Size, network_inputs, tried_part
from .console import one_line_of

if TYPE_CHECKING:
    from ..upscaler import Upscaler
    from ..video.options import VideoOptions
    from .console import Console


@dataclass(frozen=True, slots=True)
class Rates:
    """Of pictures of one kind."""

    network: float
    """Seconds a pixel that the network is given."""
    writing: float
    """Seconds a pixel of the result."""
    bytes: float
    """Of a file, a pixel of the result."""


@dataclass(slots=True)
class Totals:
    """Of a dry run: pictures and films."""

    seconds: float = 0.0
    """Those of opening models, too."""
    pictures: int = 0
    films: int = 0
    failed: int = 0
    tiles: int = 0
    frames: int = 0
    memory_bytes: int = 0
    """The most at a time."""
    disk_bytes: int = 0

    def add(self, facts: dict[str, Any]) -> None:
        for key in ("seconds", "tiles", "frames", "disk_bytes"):
            setattr(self, key, getattr(self, key) + facts.get(key, 0))
        self.memory_bytes = max(self.memory_bytes, facts["memory_bytes"])

    def say(self, console: Console) -> None:
        facts = dataclasses.asdict(self)
        console.event("summary", dry_run=True, **{**facts, "seconds": round(self.seconds, 3)})
        counts = [f"{n} {what}{'' if n == 1 else 's'}" for what in ("picture", "film") if (n := facts[what + "s"])]
        if counts:
            console.result(f"{', '.join(counts)}, one after the other: {_told(facts)}; nothing was done")


def reckon_pictures(
    jobs: Iterable[Job],
    up: Upscaler,
    console: Console,
    totals: Totals,
    *,
    size: Size | None,
    quality: Quality | None,
    max_pixels: int,
) -> None:
    """Says of each job what its result would be, its tiles, seconds, memory and bytes on the disk; adds to `totals`.

    Pictures are read, so that damaged ones are found; nothing is written. Seconds are those of a part of the first
    picture of each kind.
    """
    rates: dict[tuple[Any, ...], Rates] = {}
    for job in jobs:
        begin = time.perf_counter()
        try:
            picture = decode(job.source.read(), name=job.source.name, max_pixels=max_pixels)
            reading = time.perf_counter() - begin
            target = checked_target(picture, job, up, size, max_pixels)
            kind = (picture.bits, picture.channels, picture.alpha is None, picture.compression, job.format)
            if kind not in rates:
                rates[kind] = _measured(picture, up, job.format, quality)
        except SrganTrtError as error:
            _failed(error, job, console, totals)
            continue
        rate = rates[kind]
        inputs = network_inputs(target, picture.height, picture.width, up.spec, up.info["halo"])
        pixels = target.width * target.height
        network = rate.network * sum(height * width for height, width in inputs)
        kind_of: dict[str, Any] = {"channels": picture.channels, "dtype": picture.pixels.dtype}
        made = [up.schedules(height, width, **kind_of) for height, width in inputs]
        computed = sum(
            each.work * height * width for times, (height, width) in zip(made, inputs, strict=True) for each in times
        )
        facts = {
            "tiles": sum(len(each.tiles.tiles) for times in made for each in times),
            "work": round(computed / sum(height * width for height, width in inputs), 3),
            "seconds": round(reading + network + rate.writing * pixels, 3),
            "memory_bytes": memory_peak() + bytes_needed(picture, up, target),
            "disk_bytes": round(rate.bytes * pixels),
        }
        totals.pictures += 1
        _tell(job, (picture.width, picture.height), (target.width, target.height), facts, console, totals)


def reckon_films(
    jobs: Iterable[Job], up: Upscaler, console: Console, totals: Totals, options: VideoOptions, *, overwrite: bool
) -> None:
    """Says of each job what its film would be and take, and adds to `totals`; nothing is written."""
    from ..video.estimate import estimate
    from ..video.prepare import prepare

    for job in jobs:
        try:
            if job.error is not None:
                raise SrganTrtError(job.error)
            assert isinstance(job.target, Path)
            film = prepare(up, Path(job.source.location), job.target, options, overwrite=overwrite)
            found = estimate(up, film)
        except SrganTrtError as error:
            _failed(error, job, console, totals)
            continue
        for note in (*film.notes, *found.notes):
            console.note(note, source=job.source.name)
        facts = {
            "frames": found.frames,
            "counted": film.counted,
            "resumed": found.resumed,
            "seconds": round(found.seconds, 3),
            "memory_bytes": memory_peak() + found.memory_bytes,
            "disk_bytes": found.disk_bytes,
            "room_bytes": found.room_bytes,
        }
        totals.films += 1
        _tell(job, film.facts.upright, (film.settings.width, film.settings.height), facts, console, totals)


def _failed(error: SrganTrtError, job: Job, console: Console, totals: Totals) -> None:
    totals.failed += 1
    console.error(error_line(error, job), source=job.source.name)


def _tell(
    job: Job,
    size: tuple[int, int],
    enlarged: tuple[int, int],
    facts: dict[str, Any],
    console: Console,
    totals: Totals,
) -> None:
    totals.add(facts)
    where = "standard output" if job.target == "-" else str(job.target)
    sizes = {"size": list(size), "enlarged": list(enlarged)}
    console.event("estimate", input=job.source.name, output=where, **sizes, **facts)
    before, after = (f"{width} x {height}" for width, height in (size, enlarged))
    console.result(one_line_of(f"{job.source.name} ({before}) -> {where} ({after}): {_told(facts)}"))


def _measured(picture: Picture, up: Upscaler, format: str, quality: Quality | None) -> Rates:
    """By the middle of the picture."""
    rows, columns = tried_part(picture.height, picture.width)
    part = dataclasses.replace(
        picture,
        pixels=picture.pixels[rows, columns].copy(),
        alpha=None if picture.alpha is None else picture.alpha[rows, columns].copy(),
    )
    up.upscale_picture(part)  # compiles the network for this size
    begin = time.perf_counter()
    large = up.upscale_picture(part)
    network = time.perf_counter() - begin
    stream = io.BytesIO()
    begin = time.perf_counter()
    encode_to(large, stream, format=format, quality=quality)
    writing = time.perf_counter() - begin
    pixels = large.width * large.height
    return Rates(network / (part.width * part.height), writing / pixels, len(stream.getvalue()) / pixels)


def _told(facts: dict[str, Any]) -> str:
    parts = [f"{n} {what}{'' if n == 1 else 's'}" for what in ("tile", "frame") if (n := facts.get(what + "s"))]
    if facts.get("counted") is False:
        parts[0] = f"about {parts[0]}"
    if facts.get("resumed"):
        parts.append(f"{facts['resumed']} of them made before")
    if "work" in facts:
        parts.append(f"{facts['work']:.2f} of the picture's work")
    memory, disk = (f"{facts[key] / 1e6:.1f} MB" for key in ("memory_bytes", "disk_bytes"))
    parts += [f"{facts['seconds']:.1f} s", f"{memory} of memory", f"{disk} on the disk"]
    if "room_bytes" in facts:
        parts.append(f"{facts['room_bytes'] / 1e6:.1f} MB free for it")
    return ", ".join(parts)

"""`--dry-run`: what a run would make and take, from parts of the pictures that are enlarged and written to memory."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SrganTrtError
from ..imaging.decode import decode
from ..imaging.encode import Quality, encode_to
from ..imaging.picture import Picture
from ..imaging.sources import Job
from ..machine import memory_peak
from ..scheduler import bytes_needed
from ..sizes import Size, network_inputs, target_of
from .console import one_line_of

if TYPE_CHECKING:
    from ..upscaler import Upscaler
    from .console import Console

_PART = (320, 480)
"""(height, width) of the part that is tried, at most."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of pictures of one kind."""

    network: float
    """Seconds a pixel that the network is given."""
    writing: float
    """Seconds a pixel of the result."""
    bytes: float
    """Of a file, a pixel of the result."""


def dry_run(
    jobs: Iterable[Job],
    up: Upscaler,
    console: Console,
    *,
    size: Size | None,
    quality: Quality | None,
    max_pixels: int,
    opening: float,
) -> int:
    """Says of each job what its result would be, its tiles, seconds, memory and bytes on the disk, and their totals.

    Pictures are read, so that damaged ones are found; nothing is written. Seconds are those of a part of the first
    picture of each kind. Returns how many pictures could not be had. opening: seconds that it took.
    """
    rates: dict[tuple[Any, ...], Rates] = {}
    total = {"pictures": 0, "tiles": 0, "seconds": opening, "disk_bytes": 0, "memory_bytes": 0}
    failed = 0
    for job in jobs:
        begin = time.perf_counter()
        try:
            picture = decode(job.source.read(), name=job.source.name, max_pixels=max_pixels)
            reading = time.perf_counter() - begin
            target = target_of(size, picture.width, picture.height, up.spec, max_pixels=max_pixels)
            kind = (picture.bits, picture.channels, picture.alpha is None, picture.compression, job.format)
            if kind not in rates:
                rates[kind] = _measured(picture, up, job.format, quality)
        except SrganTrtError as error:
            failed += 1
            text = str(error)
            console.error(text if job.source.name in text else f"{job.source.name}: {text}", source=job.source.name)
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
            "memory_bytes": memory_peak() + bytes_needed(picture, up, size, max_pixels),
            "disk_bytes": round(rate.bytes * pixels),
        }
        for key in ("tiles", "seconds", "disk_bytes"):
            total[key] += facts[key]
        total["memory_bytes"] = max(total["memory_bytes"], facts["memory_bytes"])
        total["pictures"] += 1
        where = "standard output" if job.target == "-" else str(job.target)
        sizes = {"size": [picture.width, picture.height], "enlarged": [target.width, target.height]}
        console.event("estimate", input=job.source.name, output=where, **sizes, **facts)
        before, after = (f"{width} x {height}" for width, height in sizes.values())
        console.result(one_line_of(f"{job.source.name} ({before}) -> {where} ({after}): {_told(facts)}"))
    console.event("summary", dry_run=True, failed=failed, **{**total, "seconds": round(total["seconds"], 3)})
    count = total["pictures"]
    console.result(f"{count} picture{'' if count == 1 else 's'}, one after the other: {_told(total)}; nothing was done")
    return failed


def _measured(picture: Picture, up: Upscaler, format: str, quality: Quality | None) -> Rates:
    """By the middle of the picture."""
    height, width = min(picture.height, _PART[0]), min(picture.width, _PART[1])
    top, left = (picture.height - height) // 2, (picture.width - width) // 2
    rows, columns = slice(top, top + height), slice(left, left + width)
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
    return Rates(network / (width * height), writing / pixels, len(stream.getvalue()) / pixels)


def _told(facts: dict[str, Any]) -> str:
    tiles = f"{facts['tiles']} tile{'' if facts['tiles'] == 1 else 's'}"
    work = f", {facts['work']:.2f} of the picture's work" if "work" in facts else ""
    memory, disk = (f"{facts[key] / 1e6:.1f} MB" for key in ("memory_bytes", "disk_bytes"))
    return f"{tiles}{work}, {facts['seconds']:.1f} s, {memory} of memory, {disk} on the disk"

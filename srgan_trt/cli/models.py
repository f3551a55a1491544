"""`srgan-trt models`: the generators that have a name, what they are worth, and how fast they are here.

The list itself opens no model and loads no engine: speeds are measured when asked for, and kept in the cache.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import textwrap
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..cache import cache_folder, key_of, read_record, write_record
from ..errors import SrganTrtError
from ..models.files import files_of, hash_files
from ..models.registry import DEFAULT_MODEL, PackagedModel, int8_beside, packaged_models

if TYPE_CHECKING:
    from .console import Console

_RUNS = 5
_SETS = ("Set5", "BSD100")
_BICUBIC = {"Set5": 28.43, "BSD100": 25.96}
"""PSNR of bicubic at x4 as the SRGAN paper's table 2 has it, for comparison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long a model took for a picture, on this machine."""

    milliseconds: float
    """Median of the runs after the first, pixels in to pixels out."""
    width: int
    height: int
    """Of the picture before, in pixels."""
    device: str
    precision: str
    date: str
    """YYYY-MM-DD."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list. `path` is None for a model that is not installed, `speed` where none was measured."""

    model: PackagedModel
    path: Path | None
    speed: Speed | None


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--measure", action="store_true", help="measure the speed of the installed ones first, on this machine"
    )
    parser.add_argument("--json", action="store_true", help="print all that is known of them, as JSON")


def run(args: Namespace, console: Console) -> int:
    """Prints the list, as a table or as JSON. Returns 1 where one cannot be measured, which is said."""
    status = 0
    for model in packaged_models().values() if args.measure else ():
        try:
            if (path := model.find()) is not None:
                console.note(f"measuring {model.name}")
                measure_speed(path)
        except SrganTrtError as error:
            console.error(f"{model.name} cannot be measured: {error}")
            status = 1
    found = entries()
    console.result(json.dumps([_facts(entry) for entry in found], indent=1) if args.json else _table(found))
    return status


def entries() -> list[Entry]:
    """All named models, with the speeds that were measured on this machine before."""
    found = []
    for model in packaged_models().values():
        path = model.find()
        found.append(Entry(model, path, None if path is None else read_record(_speed_file(path), Speed)))
    return found


def measure_speed(path: Path) -> Speed:
    """Times a model file on a photo of 128 x 128 pixels, and keeps the result in the cache.

    Raises what `Upscaler` raises.
    """
    from ..upscaler import Upscaler
    from .sample_image import photo

    image = photo()
    with Upscaler(path) as up:
        up(image)
        times = []
        for _ in range(_RUNS):
            begin = time.perf_counter()
            up(image)
            times.append(time.perf_counter() - begin)
        info = up.info
    speed = Speed(
        milliseconds=round(statistics.median(times) * 1e3, 2),
        width=image.shape[1],
        height=image.shape[0],
        device=str(info["name"]),
        precision=str(info["precision"]),
        date=datetime.date.today().isoformat(),
    )
    write_record(_speed_file(path), speed)
    return speed


def _speed_file(path: Path) -> Path:
    """Other model files, another machine, engine or version of this package have another one.

    The model file stands for its plan: with the version it determines it, and need not be built to be listed.
    """
    int8_plan = int8_beside(path)
    facts = [
        hash_files([*files_of(path), *([] if int8_plan is None else [int8_plan])]),
        __version__,
        importlib.metadata.version("openvino"),
        *_machine(),
    ]
    return cache_folder() / "speeds" / f"{key_of(facts)}.json"


def _machine() -> list[str | int | None]:
    """What the speed depends on, found without loading the engine."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass  # other systems name the processor in platform.processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return [platform.system(), platform.machine(), name, cores]


def _facts(entry: Entry) -> dict[str, Any]:
    model = entry.model
    return {
        "name": model.name,
        "what": model.what,
        "default": model.name == DEFAULT_MODEL,
        "bytes": model.size,
        "int8_bytes": model.int8_size,
        "speed": None if entry.speed is None else dataclasses.asdict(entry.speed),
        "scores": {name: dataclasses.asdict(scores) for name, scores in model.scores.items()},
        "licence": model.licence,
        "licence_note": model.licence_note,
        "path": None if entry.path is None else str(entry.path),
        "pip": model.pip if entry.path is None else None,
    }


def _table(found: Sequence[Entry]) -> str:
    rows = [("model", "size", "speed", *_SETS, "licence", "installed"), *map(_cells, found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    whats = ["the default: " * (entry.model.name == DEFAULT_MODEL) + entry.model.what for entry in found]
    listed = [f"{line}\n  {what}" for line, what in zip(lines[1:], whats, strict=True)]
    return "\n".join([lines[0], *listed, "", *_legend(found)])


def _cells(entry: Entry) -> tuple[str, ...]:
    model, speed = entry.model, entry.speed
    return (
        model.name,
        _size(model),
        "-" if speed is None else f"{speed.milliseconds:.0f} ms, {speed.precision}, {speed.date}",
        *(f"{model.scores[name].psnr:.2f}" if name in model.scores else "-" for name in _SETS),
        model.licence + "*" * (model.licence_note is not None),
        "yes" if entry.path is not None else f"no: {model.pip}",
    )


def _size(model: PackagedModel) -> str:
    plan = f"{model.size / 1e6:.1f} MB"
    return plan if model.int8_size is None else f"{plan} + {model.int8_size / 1e6:.1f}"


def _legend(found: Sequence[Entry]) -> list[str]:
    bicubic = " and ".join(f"{value:.2f}" for value in _BICUBIC.values())
    lines = [f"{', '.join(_SETS)}: PSNR in dB of the luma, x4; bicubic has {bicubic}"]
    notes = dict.fromkeys(entry.model.licence_note for entry in found)
    for note in notes:
        lines += [] if note is None else textwrap.wrap(f"* {note}", 118, subsequent_indent="  ")
    speeds = [entry.speed for entry in found if entry.speed is not None]
    if speeds:
        one = speeds[0]
        lines.append(f"speed: of a picture of {one.width} x {one.height} pixels, on {one.device}")
    if any(entry.model.int8_size is not None for entry in found):
        lines.append("size + that of the plan in int8, which runs where that is faster")
    if any(entry.speed is None and entry.path is not None for entry in found):
        lines.append("speeds that are missing are measured by: srgan-trt models --measure")
    return lines

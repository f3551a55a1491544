"""Rivals that are measured in the same rounds, in a process of their own: what they allocate goes with it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from timing import interleaved, timed

_WARM_SECONDS = 1.0


@dataclass
class Measured:
    """What one rival of a group did."""

    name: str
    precision: str
    first: float
    """Seconds of the first call."""
    picture: Any
    seconds: list[float]
    peak_memory: int
    """Bytes, of the whole group."""


def measure_group(
    network: str, folder: Path, plan_file: Path, image: Any, names: list[str], *, rounds: int, budget: float
) -> list[Measured]:
    """Opens the rivals of these names, warms them up and times them in interleaved rounds, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        work = partial(_measure, network, folder, plan_file, image, names, rounds=rounds, budget=budget)
        return pool.submit(work).result()


def _measure(
    network: str, folder: Path, plan_file: Path, image: Any, names: list[str], *, rounds: int, budget: float
) -> list[Measured]:
    from generators import GENERATORS
    from rivals import all_entrants

    height, width, _ = image.shape
    generator = GENERATORS[network](folder)
    entrants = [
        entrant for entrant in all_entrants(generator, plan_file, height=height, width=width) if entrant.name in names
    ]
    rivals = [entrant.open() for entrant in entrants]
    warm = [_warm_up(entrant.name, rival, image) for entrant, rival in zip(entrants, rivals, strict=True)]
    times = interleaved([partial(rival, image) for rival in rivals], rounds=rounds, budget=budget)
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return [
        Measured(entrant.name, entrant.precision, first, picture, seconds, peak)
        for entrant, (first, picture), seconds in zip(entrants, warm, times, strict=True)
    ]


def _warm_up(name: str, rival: Any, image: Any) -> tuple[float, Any]:
    """Seconds of the first call, and its picture; calls again until a second is over."""
    print(f"  warming up {name} ...", end="", file=sys.stderr, flush=True)
    first, picture = timed(partial(rival, image))
    print(f" {first:.2f} s", file=sys.stderr, flush=True)
    spent = first
    while spent < _WARM_SECONDS:
        spent += timed(partial(rival, image))[0]
    return first, picture

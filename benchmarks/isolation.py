"""Rivals that are measured in the same rounds, in a process of their own: what they allocate goes with it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from timing import interleaved, timed

if TYPE_CHECKING:
    from baselines import Entrant, Plans, Rival
    from peak_rate import Chain

_WARM_SECONDS = 1.0


@dataclass
class Measured:
    """What one rival of a group did."""

    name: str
    precision: str
    opening: float
    """Seconds to open it: reading, converting, compiling."""
    first: float
    """Seconds of the first call."""
    picture: Any
    seconds: list[float]
    peak_memory: int
    """Bytes, of the whole group."""


@dataclass
class Group:
    measured: list[Measured] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Rivals that could not be opened or run, each with what it said."""
    chains: dict[Chain, list[float]] = field(default_factory=dict)
    """Seconds of what the practical limit is of, in the same rounds."""


def in_fresh_process(work: Callable[[], Any]) -> Any:
    """The result of `work`, whose memory is gone afterwards."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work).result()


def open_entrants(entrants: list[Entrant], failed: dict[str, str]) -> dict[str, tuple[float, Rival]]:
    """Seconds and rival by name; those that fail go to `failed` with what they said."""
    opened = {}
    for entrant in entrants:
        try:
            opened[entrant.name] = timed(entrant.open)
        except Exception as error:  # rivals fail as they like; each is named with its reason, none is left out silently
            failed[entrant.name] = _said(error)
    return opened


def measure_group(
    network: str,
    folder: Path,
    plans: Plans,
    image: Any,
    names: list[str],
    *,
    chains: list[Chain],
    rounds: int,
    budget: float,
) -> Group:
    """Opens the rivals of these names, warms them up and times them in interleaved rounds; it must be a fresh process.

    chains: Timed once in every round, too.
    """
    from baselines import all_entrants
    from generators import GENERATORS

    height, width, _ = image.shape
    generator = GENERATORS[network](folder)
    listed = all_entrants(generator, plans, height=height, width=width)
    entrants = {entrant.name: entrant for entrant in listed if entrant.name in names}
    group = Group()
    opened = open_entrants(list(entrants.values()), group.failed)
    warm: dict[str, tuple[float, Any]] = {}
    for name, (_, rival) in opened.items():
        try:
            warm[name] = _warm_up(name, rival, image)
        except Exception as error:  # as above
            group.failed[name] = _said(error)
    steps = [chain.open() for chain in chains]
    for step in steps:
        step()
    jobs = [partial(opened[name][1], image) for name in warm]
    times = interleaved([*jobs, *steps], rounds=rounds, budget=budget)
    group.chains = dict(zip(chains, times[len(jobs) :], strict=True))
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    group.measured = [
        Measured(name, entrants[name].precision, opened[name][0], *warm[name], seconds, peak)
        for name, seconds in zip(warm, times[: len(jobs)], strict=True)
    ]
    return group


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"


def _warm_up(name: str, rival: Any, image: Any) -> tuple[float, Any]:
    """Seconds of the first call, and its picture; calls again until a second is over."""
    print(f"  warming up {name} ...", end="", file=sys.stderr, flush=True)
    first, picture = timed(partial(rival, image))
    print(f" {first:.2f} s", file=sys.stderr, flush=True)
    spent = first
    while spent < _WARM_SECONDS:
        spent += timed(partial(rival, image))[0]
    return first, picture

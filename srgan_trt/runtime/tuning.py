"""How a picture is best cut on this machine, found by trying: the largest window, and streams side by side.

Counting (runtime/cpu/schedule.py) knows halos, cores and memory, but not caches: where a network's activations fall out
of them, smaller windows win although their halos cost more. What was found is kept in the user's cache.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..cache import cache_folder, read_sealed, write_sealed

FINALISTS = 3
"""Cuts that are measured again, in turns with the default."""
NEEDED_GAIN = 1.03
"""A cut must be this much faster than the default to be taken: less is noise."""
_ROUNDS = (3, 15)


@dataclass(frozen=True, slots=True)
class Cut:
    """Windows of at most ``side x side`` input pixels, `streams` of them at once."""

    side: int
    streams: int


@dataclass(frozen=True, slots=True)
class Trial:
    """One cut (None: the default) and how many milliseconds the picture took, the median of `rounds`."""

    cut: Cut | None
    milliseconds: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was found for one plan, precision and machine."""

    cut: Cut | None
    """The winner; None where nothing beat the default by `NEEDED_GAIN`."""
    gain: float
    """The default's time over the winner's, median of rounds in which they took turns; 1.0 without a winner."""
    size: tuple[int, int]
    """(height, width) of the picture that was measured."""
    trials: tuple[Trial, ...]
    date: str
    """As YYYY-MM-DD."""


def search(
    candidates: Sequence[Cut],
    seconds_of: Callable[[Cut | None], float],
    *,
    size: tuple[int, int],
    budget: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Tuning:
    """Tries `candidates` in order, as many as half of the budget allows; then the best of them against the default.

    seconds_of: cuts the same picture so and gives the seconds it took. budget: seconds for all of it; the finals take
    at least three rounds, however long those are.
    """
    start = clock()
    seconds_of(None)  # warms up: allocations and the first shapes
    first: dict[Cut, float] = {}
    for cut in candidates:
        if clock() - start > budget / 2:
            break
        first[cut] = seconds_of(cut)
    finalists: list[Cut | None] = [None, *sorted(first, key=first.__getitem__)[:FINALISTS]]
    times: dict[Cut | None, list[float]] = {cut: [] for cut in finalists}
    for number in range(_ROUNDS[1]):
        if number >= _ROUNDS[0] and clock() - start > budget:
            break
        for finalist in finalists:
            times[finalist].append(seconds_of(finalist))
    gains = {
        cut: statistics.median(base / own for base, own in zip(times[None], times[cut], strict=True))
        for cut in finalists
        if cut is not None
    }
    best = max(gains, key=gains.__getitem__, default=None)
    if best is not None and gains[best] < NEEDED_GAIN:
        best = None
    trials = [Trial(cut, _milliseconds(values), len(values)) for cut, values in times.items()]
    trials += [Trial(cut, _milliseconds([value]), 1) for cut, value in first.items() if cut not in times]
    return Tuning(
        cut=best,
        gain=1.0 if best is None else round(gains[best], 3),
        size=size,
        trials=tuple(trials),
        date=datetime.date.today().isoformat(),
    )


def tuning_file(facts: Sequence[Any]) -> Path:
    """Where the tuning for these facts (plan, precision, machine; plain values) is kept."""
    text = json.dumps([__version__, *facts], sort_keys=True)
    return cache_folder() / "tuning" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def write_tuning(path: Path, tuning: Tuning) -> None:
    """Keeps it; a cache that cannot be written is logged."""
    write_sealed(path, json.dumps(dataclasses.asdict(tuning)).encode())


def read_tuning(path: Path) -> Tuning | None:
    """What `write_tuning` kept there; None if there is nothing, or (logged) it is damaged."""
    data = read_sealed(path)
    if data is None:
        return None
    fields = json.loads(data)
    trials = tuple(Trial(_cut(trial["cut"]), trial["milliseconds"], trial["rounds"]) for trial in fields["trials"])
    return Tuning(
        cut=_cut(fields["cut"]),
        gain=fields["gain"],
        size=(fields["size"][0], fields["size"][1]),
        trials=trials,
        date=fields["date"],
    )


def _cut(fields: dict[str, int] | None) -> Cut | None:
    return None if fields is None else Cut(**fields)


def _milliseconds(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds) * 1e3, 3)

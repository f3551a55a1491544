"""How a network runs best on this machine, found by trying: tiles, streams, batches, lowering of convolutions.

Counting (runtime/cpu/tiling.py, runtime/gpu/tiling.py) knows halos, cores and memory, but not caches: where a
network's activations fall out of them, smaller tiles win although their halos cost more. Nor does anyone know
beforehand which lowering (compiler/lowerings.py, concat_conv.py) a processor is best at, or where a GPU had better do
PReLUs. What was found is kept in the user's cache.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._version import __version__
from ..cache import cache_folder, key_of
from ..codec import Count
from ..spec import Prelu

FINALISTS = 3
"""Settings that are measured again, in turns with the default."""
NEEDED_GAIN = 1.03
"""A setting must be this much faster than the default to be taken: less is noise."""
_ROUNDS = (3, 15)
_FORMAT = 4
"""Of what is kept."""
_TILINGS_UNTIL, _FORMS_UNTIL = 0.4, 0.6
"""Parts of the budget."""


@dataclass(frozen=True, slots=True)
class TilingConfig:
    """Tiles of at most ``max_tile x max_tile`` input pixels, `batch` of them in one run of the network, `streams` such
    runs at once."""

    max_tile: Count
    streams: Count
    batch: Count = 1


@dataclass(frozen=True, slots=True)
class Setting:
    """All that is tuned; as it stands, the default."""

    tiling: TilingConfig | None = None
    """None: by counting."""
    lowering: str | None = None
    """On a CPU, of its convolutions (compiler/conversion.py); None: as the plan has them."""
    prelu: Prelu | None = None
    """On a GPU, where PReLUs are done; None: where they are by default."""


DEFAULT = Setting()


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting and how many milliseconds the picture took, the median of `rounds`."""

    setting: Setting
    milliseconds: float
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was found for one plan, precision and machine."""

    best: Setting
    """The winner; the default where nothing beat it by `NEEDED_GAIN`."""
    gain: float
    """The default's time over the winner's, median of rounds in which they took turns; 1.0 without a winner."""
    size: tuple[int, int]
    """(height, width) of the picture that was measured."""
    trials: tuple[Trial, ...]
    date: str
    """As YYYY-MM-DD."""


def search(
    tilings: Sequence[TilingConfig],
    seconds_of: Callable[[Setting], float],
    *,
    size: tuple[int, int],
    budget: float,
    forms: Sequence[Setting] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> Tuning:
    """Tries `tilings` in order, then `forms` (settings without a tiling) with the best of them; then the best of all
    and the default in turns.

    seconds_of: runs the same picture so and gives the seconds it took; infinity for a setting that cannot be had.
    budget: seconds for all of it, so not all may be tried; the finals take at least three rounds, however long those
    are.
    """
    start = clock()
    first: dict[Setting, float] = {}

    def attempt(settings: Iterable[Setting], until: float) -> None:
        for setting in settings:
            if clock() - start > budget * until:
                break
            first[setting] = seconds_of(setting)

    seconds_of(DEFAULT)  # warms up: allocations and the first shapes
    base = seconds_of(DEFAULT)
    attempt(map(Setting, tilings), _TILINGS_UNTIL)
    fastest = min(first, key=first.__getitem__, default=DEFAULT)
    if fastest in first and first[fastest] > base:
        fastest = DEFAULT
    attempt((dataclasses.replace(form, tiling=fastest.tiling) for form in forms), _FORMS_UNTIL)
    left = budget - (clock() - start)
    count = max(1, min(FINALISTS, int(left / (_ROUNDS[0] * base)) - 1))
    possible = [setting for setting in sorted(first, key=first.__getitem__) if first[setting] < math.inf]
    finalists = [DEFAULT, *possible[:count]]
    times: dict[Setting, list[float]] = {setting: [] for setting in finalists}
    for number in range(_ROUNDS[1]):
        if number >= _ROUNDS[0] and clock() - start > budget:
            break
        for finalist in finalists:
            times[finalist].append(seconds_of(finalist))
    gains = {
        setting: statistics.median(base / own for base, own in zip(times[DEFAULT], times[setting], strict=True))
        for setting in finalists[1:]
    }
    best = max(gains, key=gains.__getitem__, default=DEFAULT)
    if gains.get(best, 0.0) < NEEDED_GAIN:
        best = DEFAULT
    trials = [Trial(setting, _milliseconds(values), len(values)) for setting, values in times.items()]
    trials += [Trial(setting, _milliseconds([first[setting]]), 1) for setting in possible if setting not in times]
    return Tuning(
        best=best,
        gain=round(gains.get(best, 1.0), 3),
        size=size,
        trials=tuple(trials),
        date=datetime.date.today().isoformat(),
    )


def tuning_file(facts: Sequence[Any]) -> Path:
    """Where the tuning for these facts (plan, precision, machine; plain values) is kept."""
    return cache_folder() / "tuning" / f"{key_of([__version__, _FORMAT, *facts])}.json"


def _milliseconds(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds) * 1e3, 3)

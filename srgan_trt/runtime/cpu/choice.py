"""What pictures run in on this CPU: which plan of a network, and which arithmetic beside it.

A model may have a plan in int8 beside the one in fp32. It is the default where it was measured to be faster: on this
kind of CPU (measured.py), or by a trial on this one. The trial waits for the second start, when the network that runs
otherwise comes from the cache: a first picture is not delayed. What it found is kept in the user's cache, as is that
a plan in int8 fails its self-test here.
"""

from __future__ import annotations

import datetime
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..._version import __version__
from ...cache import cache_folder, key_of, read_record, write_record
from .measured import KINDS, MEASURED, NEEDED_GAIN
from .processor import choose_precision

if TYPE_CHECKING:
    from ...compiler.plan import Plan
    from .processor import Cpu

TRIAL_SECONDS = 5.0
"""For all of a trial; a measurement that has begun is finished."""
_ROUNDS = 5
_FORMAT = 1
"""Of what is kept."""


@dataclass(frozen=True, slots=True)
class Way:
    """A plan, and the arithmetic of what the plan does not have in int8: "fp32" or "bf16"."""

    plan: Plan
    arithmetic: str

    @property
    def name(self) -> str:
        """In words, as `info` shows it."""
        return f"int8 and {self.arithmetic}" if self.plan.spec.precision == "int8" else self.arithmetic


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What pictures run in."""

    narrow: Way
    """8-bit ones."""
    wide: Way
    """16-bit ones."""
    notes: tuple[str, ...]
    """What is to be said about it."""
    otherwise: Way | None = None
    """What 8-bit pictures run in if `narrow` cannot be had; None where that is an error, because it was asked for."""
    candidate: Way | None = None
    """May be faster than `narrow`: that is to be tried."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether int8 is the default for a plan, and why, in words."""

    int8: bool
    why: str


_LEFT_OUT = "int8 is left out: {}"


def choose(asked: str | None, plan: Plan, cpu: Cpu, *, verdict: Verdict | None = None) -> Choice:
    """asked: "fp32", "bf16", "int8", or None for the fastest that passes here.
    verdict: on int8, if it is known better than by `judge`.

    Raises DeviceError if that is not to be had of this plan on this CPU.
    """
    int8_plan = plan.int8
    if int8_plan is None or asked not in (None, "int8"):
        same = asked == plan.spec.precision == "int8"
        narrow, wide, notes = choose_precision(None if same else asked, cpu.has_bf16)
        if plan.spec.precision == "int8" and asked in ("fp32", "bf16"):
            notes = [*notes, f"the plan's convolutions in int8 stay so: {asked} is what the others run in"]
        return Choice(narrow=Way(plan, narrow), wide=Way(plan, wide), notes=tuple(notes))
    high, wide, notes = choose_precision(None, cpu.has_bf16)
    exact, usual, fast = Way(plan, wide), Way(plan, high), Way(int8_plan, high)
    split = f"8-bit pictures run in {fast.name}, 16-bit pictures in {exact.name}"
    if asked == "int8":
        return Choice(narrow=fast, wide=exact, notes=(split,))
    verdict = verdict or judge(plan, int8_plan, cpu)
    if verdict is None:
        return Choice(
            narrow=usual,
            wide=exact,
            notes=(*notes, f"int8 is tried against {usual.name} at the next start"),
            candidate=fast,
        )
    if verdict.int8:
        return Choice(narrow=fast, wide=exact, notes=(split, verdict.why), otherwise=usual)
    return Choice(narrow=usual, wide=exact, notes=(*notes, verdict.why))


def judge(plan: Plan, int8_plan: Plan, cpu: Cpu) -> Verdict | None:
    """Whether `int8_plan` is the default: what is kept of this CPU comes before the table; None where it must be
    tried."""
    if (kept := read_record(kept_verdict(plan, int8_plan, cpu), Verdict)) is not None:
        return kept
    if cpu.kind is None:
        return Verdict(False, _LEFT_OUT.format(f"this CPU has, or tells of, none of {', '.join(KINDS)}"))
    row = MEASURED.get(cpu.kind)
    if row is None:
        return None
    told = f"{row.gain:.2f} times as fast as the next best on CPUs with {cpu.kind} ({row.source})"
    if row.gain < NEEDED_GAIN:
        return Verdict(False, _LEFT_OUT.format(f"it is {told}"))
    return Verdict(True, f"int8 is at least {told}")


def failed(error: Exception) -> Verdict:
    """The verdict on a plan in int8 that does not run here, or not as it should."""
    return Verdict(False, _LEFT_OUT.format(error))


def compared(seconds: Mapping[str, float]) -> Verdict:
    """The verdict of a trial.

    seconds: by the names of two ways, the usual and then the one in int8; none where time did not suffice.
    """
    today = datetime.date.today().isoformat()
    if len(seconds) < 2:
        return Verdict(False, _LEFT_OUT.format(f"a trial of {today} took longer than {TRIAL_SECONDS:g} s"))
    usual, _ = seconds
    first, second = seconds.values()
    told = f"{first / second:.2f} times as fast as {usual} on this CPU (trial of {today})"
    if first / second < NEEDED_GAIN:
        return Verdict(False, _LEFT_OUT.format(f"it is {told}"))
    return Verdict(True, f"int8 is {told}")


def keep(verdict: Verdict, plan: Plan, int8_plan: Plan, cpu: Cpu) -> None:
    """For the next `judge`; a cache that cannot be written is logged."""
    write_record(kept_verdict(plan, int8_plan, cpu), verdict)


def kept_verdict(plan: Plan, int8_plan: Plan, cpu: Cpu) -> Path:
    """Where the verdict on these plans on this CPU is kept."""
    key = key_of([__version__, _FORMAT, plan.body_hash, int8_plan.body_hash, cpu.key(), cpu.kind])
    return cache_folder() / "precisions" / f"{key}.json"


def race(
    runs: Mapping[str, Callable[[], float]],
    *,
    until: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median seconds of each, in turns; empty if not one round was over when the clock said `until`.

    runs: each does the same work and gives the seconds it took; called once more before, to warm up.
    """
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        if clock() >= until:
            break
        for name, run in runs.items():
            times[name].append(run())
    return {name: statistics.median(values) for name, values in times.items() if values}

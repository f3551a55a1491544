"""Rounds of all rivals in turn, within a time budget, and what the times say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_FEWEST_ROUNDS = 3


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that `work` took, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def interleaved(jobs: Sequence[Callable[[], Any]], *, rounds: int, budget: float) -> list[list[float]]:
    """Seconds of each job in each round: A B C, A B C, ..., so that a slow minute of the machine hits all alike.

    Stops after `rounds`, or when another round would exceed `budget` seconds, but not before the third.
    """
    times: list[list[float]] = [[] for _ in jobs]
    spent = longest = 0.0
    for number in range(rounds):
        if number >= _FEWEST_ROUNDS and spent + longest > budget:
            break
        for job, seconds in zip(jobs, times, strict=True):
            seconds.append(timed(job)[0])
        took = sum(seconds[-1] for seconds in times)
        spent, longest = spent + took, max(longest, took)
    return times


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median, quartiles, least and all values in milliseconds."""
    milliseconds = [round(value * 1e3, 3) for value in seconds]
    low, median, high = np.percentile(milliseconds, (25, 50, 75))
    return {
        "median_ms": float(median),
        "quartiles_ms": [float(low), float(high)],
        "least_ms": min(milliseconds),
        "times_ms": milliseconds,
    }

"""Bands are worked on by all cores and come back in order."""

from __future__ import annotations

import threading
import time

import pytest

from srgan_trt.imaging.workers import in_order


def test_results_come_in_order_whichever_is_done_first() -> None:
    def work(part: int) -> int:
        time.sleep(0.002 * (part % 3))
        return part * part

    assert list(in_order(work, range(40))) == [part * part for part in range(40)]
    assert list(in_order(work, [3])) == [9]
    assert list(in_order(work, [])) == []


def test_few_are_under_way_at_a_time() -> None:
    begun: list[int] = []
    results = in_order(begun.append, range(10_000))
    next(results)
    time.sleep(0.05)
    assert len(begun) <= 2 * 16 + 1
    results.close()  # type: ignore[attr-defined]


def test_errors_reach_the_caller_and_end_the_work() -> None:
    def work(part: int) -> int:
        if part == 5:
            raise OSError("no")
        return part

    with pytest.raises(OSError, match="no"):
        list(in_order(work, range(1000)))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("srgan-trt-bands")]

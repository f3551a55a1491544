"""Work on the bands of a picture by all cores, results in order, with few in memory at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_order(work: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
    """``work(part)`` of each part, in order; at most two parts a core are under way. Work should release the GIL."""
    cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 16)
    if cores == 1 or len(parts) <= 1:
        yield from map(work, parts)
        return
    pool = ThreadPoolExecutor(min(cores, len(parts)), thread_name_prefix="srgan-trt-bands")
    try:
        under_way: deque[Future[Result]] = deque()
        for part in parts:
            if len(under_way) == 2 * cores:
                yield under_way.popleft().result()
            under_way.append(pool.submit(work, part))
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

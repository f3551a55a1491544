"""Three stages at the same time: a thread reads, the caller's runs the network, a thread writes; in order.

The queues between them are short: they hold memory flat; the network waits for neither side while it is the slowest.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from numpy.typing import NDArray

from ..threads import result_of
from .read import Frame

DEPTH = 4
"""Frames in a queue between two stages, at most."""
_WAIT = 0.1
"""Seconds after which a stage looks whether another one has failed."""
Pixels = NDArray[Any]


class _Stopped(Exception):
    """Another stage has failed, and says so itself."""


class _Link:
    """A queue of the stages that raises _Stopped in each as soon as one has failed."""

    def __init__(self, failed: threading.Event) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(DEPTH)
        self._failed = failed

    def put(self, item: Any) -> None:
        while not self._failed.is_set():
            try:
                return self._queue.put(item, timeout=_WAIT)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[Any]:
        """Items to the None that ends them."""
        while True:
            try:
                item = self._queue.get(timeout=_WAIT)
            except queue.Empty:
                if self._failed.is_set():
                    raise _Stopped from None
                continue
            if item is None:
                return
            yield item


def convey(
    frames: Generator[Frame],
    enlarge: Callable[[Pixels], Pixels],
    write: Callable[[Frame, Pixels], None],
    *,
    at_once: int,
) -> float:
    """Reads all frames, enlarges `at_once` of them at a time, each repeat only once, and writes them in order.

    Returns the share of the time that the network was at work, 0..1. Raises what a stage raised first; then no thread
    is left.
    """
    failed = threading.Event()
    errors: list[BaseException] = []
    read, made = _Link(failed), _Link(failed)

    def stage(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except _Stopped:
                pass
            except BaseException as error:
                errors.append(error)
                failed.set()

        return run

    def reading() -> None:
        with closing(frames):  # its file, too, when another stage fails
            for frame in frames:
                read.put(frame)
        read.put(None)

    def writing() -> None:
        for frame, large in made:
            write(frame, large.result())

    threads = [
        threading.Thread(target=stage(work), name=f"srgan-trt-{work.__name__}", daemon=True)
        for work in (reading, writing)
    ]
    begin, busy = time.perf_counter(), 0.0
    for thread in threads:
        thread.start()

    def network() -> None:
        nonlocal busy
        running: deque[tuple[Frame, Future[Pixels]]] = deque()
        with ThreadPoolExecutor(at_once, thread_name_prefix="srgan-trt-network") as pool:
            last: Future[Pixels] | None = None
            for frame in read:
                if not frame.repeat or last is None:
                    last = pool.submit(enlarge, frame.pixels)
                running.append((frame, last))
                while len(running) >= at_once:
                    waiting = time.perf_counter()
                    result_of(running[0][1])
                    busy += time.perf_counter() - waiting
                    made.put(running.popleft())
            while running:
                result_of(running[0][1])
                made.put(running.popleft())
        made.put(None)

    try:
        stage(network)()
    finally:
        if errors:
            failed.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return busy / max(1e-9, time.perf_counter() - begin)

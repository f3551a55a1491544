"""Workers for the threads that run pictures at the same time: made when needed, lent to one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ...errors import DeviceError
from .worker import PictureWorker

MAX_WORKERS = 2
"""One picture goes up or down while another one computes."""


class WorkerPool:
    """At most `limit` workers; a thread that finds none free waits."""

    def __init__(self, make: Callable[[], PictureWorker]) -> None:
        self._make = make
        self._idle: list[PictureWorker] = []
        self._lent = 0
        self._closed = False
        self._changed = threading.Condition()
        self.limit = MAX_WORKERS

    @contextmanager
    def borrow(self) -> Iterator[PictureWorker]:
        """A worker for the calling thread, in which the GPU's context is current.

        Raises DeviceError if `close` was called, before or while waiting, or a worker cannot be made.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lent < self.limit)
            if self._closed:
                raise closed()
            self._lent += 1
            worker = self._idle.pop() if self._idle else None
        try:
            if worker is None:
                worker = self._make()
            yield worker
        finally:
            with self._changed:
                self._lent -= 1
                keep = worker is not None and self._lent + len(self._idle) < self.limit
                if worker is not None and keep:
                    self._idle.append(worker)
            if worker is not None and not keep:
                worker.close()
            with self._changed:
                self._changed.notify_all()

    def shrink(self) -> bool:
        """Frees idle workers; one that is lent is the only one from now on. False if that changes nothing."""
        with self._changed:
            idle, self._idle = self._idle, []
            fewer = self.limit > 1 and self._lent > 0
            if fewer:
                self.limit = 1
        held = [worker.release() for worker in idle]
        for worker in idle:
            worker.close()
        return fewer or any(held)

    def drain(self) -> None:
        """Lends no more workers and waits for those that are lent. Calling it again does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lent == 0)

    def close(self) -> None:
        """Frees all workers, each whatever becomes of the others; `drain` must have returned."""
        with self._changed:
            idle, self._idle = self._idle, []
        with ExitStack() as stack:
            for worker in idle:
                stack.callback(worker.close)
                stack.callback(worker.synchronize)


def closed() -> DeviceError:
    return DeviceError("this pipeline was closed: open another one")

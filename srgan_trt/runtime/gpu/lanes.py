"""Lanes for the threads that run pictures at the same time: made when they are needed, lent to one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from ...errors import DeviceError
from .lane import Lane

MOST_LANES = 2
"""One picture goes up or down while another one computes."""


class Lanes:
    """At most `limit` lanes; a thread that finds none free waits."""

    def __init__(self, make: Callable[[], Lane]) -> None:
        self._make = make
        self._idle: list[Lane] = []
        self._lent = 0
        self._closed = False
        self._changed = threading.Condition()
        self.limit = MOST_LANES

    @contextmanager
    def borrow(self) -> Iterator[Lane]:
        """A lane for the calling thread, in which the GPU's context is current.

        Raises DeviceError if `close` was called, before or while waiting, or a lane cannot be made.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lent < self.limit)
            if self._closed:
                raise closed()
            self._lent += 1
            lane = self._idle.pop() if self._idle else None
        try:
            if lane is None:
                lane = self._make()
            yield lane
        finally:
            with self._changed:
                self._lent -= 1
                keep = lane is not None and self._lent + len(self._idle) < self.limit
                if lane is not None and keep:
                    self._idle.append(lane)
            if lane is not None and not keep:
                lane.close()
            with self._changed:
                self._changed.notify_all()

    def give_way(self) -> bool:
        """Frees what idle lanes hold; if one is lent, it is the only one from now on. False if that changes nothing."""
        with self._changed:
            idle, self._idle = self._idle, []
            fewer = self.limit > 1 and self._lent > 0
            if fewer:
                self.limit = 1
        held = [lane.release() for lane in idle]
        for lane in idle:
            lane.close()
        return fewer or any(held)

    def shut(self) -> None:
        """Lends no lane any more and waits for those that are lent. Calling it again does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lent == 0)

    def close(self) -> None:
        """Frees all lanes, each whatever becomes of the others; `shut` must have returned."""
        with self._changed:
            idle, self._idle = self._idle, []
        with ExitStack() as stack:
            for lane in idle:
                stack.callback(lane.close)
                stack.callback(lane.settle)


def closed() -> DeviceError:
    return DeviceError("this pipeline was closed: open another one")

"""Waiting for threads so that Ctrl-C gets through."""

from __future__ import annotations

from concurrent.futures import Future, wait
from typing import TypeVar

Result = TypeVar("Result")

_GLANCE = 0.02
"""Seconds."""


def result_of(future: Future[Result]) -> Result:
    """What `future` comes to; raises what it raises.

    It is waited for in short pieces: Python's handlers run in the main thread, and a signal that another thread was
    given, or one that a program gives itself (`_thread.interrupt_main`), does not wake that from a long wait.
    """
    while not future.done():
        wait([future], timeout=_GLANCE)
    return future.result()

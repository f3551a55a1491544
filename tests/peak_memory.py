"""Memory and time: of a process of its own, as code for its last line, and of a block in this one.

VmHWM begins anew with the program; ru_maxrss would begin with the size of the process that started it.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

PRINT_PEAK_BYTES = """
status = open("/proc/self/status").read()
print(int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


@contextmanager
def little(*, megabytes: float, seconds: float) -> Iterator[None]:
    """What is done inside takes less memory, and time of a processor."""
    tracemalloc.start()
    begin = time.process_time()
    try:
        yield
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < megabytes * 1e6
    assert time.process_time() - begin < seconds

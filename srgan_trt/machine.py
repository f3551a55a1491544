"""Processor cores and memory that this process may use: of the machine, or of the container that it runs in."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import SrganTrtError

THREADS = "SRGAN_TRT_THREADS"
"""Environment variable: the most threads that compute."""
_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Bytes from which a limit of memory is none: cgroup v1 tells of no limit by the largest multiple of a page."""


def usable_cores() -> int:
    """Cores for computing: those of the process's affinity, hardware threads of one core counted once; no more than a
    container's share of processor time allows (cgroup v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``) or ``THREADS`` says.

    At least 1. Raises SrganTrtError if ``THREADS`` is not a number from 1 on.
    """
    limits = [_affinity_cores(), *_quota_cores()]
    if text := os.environ.get(THREADS):
        if not text.isdecimal() or int(text) < 1:
            raise SrganTrtError(f"{THREADS} is {text!r}: set it to a number of threads from 1 on, or unset it")
        limits.append(int(text))
    return max(1, min(limits))


def memory_bytes() -> int:
    """Bytes of memory: the machine's, or the container's limit if that is less; 16 GB where neither is told."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        physical = 16_000_000_000
    return min([physical, *_memory_limits()])


def memory_peak() -> int:
    """The most bytes of memory that this process has held; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return 0


def _affinity_cores() -> int:
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = set()
    for cpu in os.sched_getaffinity(0):
        try:
            siblings.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)


def _quota_cores() -> Iterator[int]:
    """Whole cores of each quota of processor time; a part of a core counts as one."""
    for text in _read("cpu.max"):
        quota, _, period = text.partition(" ")
        if quota.isdecimal() and period.strip().isdecimal():
            yield math.ceil(int(quota) / max(1, int(period)))
    quotas, periods = list(_read("cpu/cpu.cfs_quota_us")), list(_read("cpu/cpu.cfs_period_us"))
    for quota, period in zip(quotas, periods, strict=False):
        if quota.isdecimal() and period.isdecimal():
            yield math.ceil(int(quota) / max(1, int(period)))


def _memory_limits() -> Iterator[int]:
    for text in (*_read("memory.max"), *_read("memory/memory.limit_in_bytes")):
        if text.isdecimal() and int(text) < _UNLIMITED:
            yield int(text)


def _read(name: str) -> Iterator[str]:
    """The control file `name` of this process's group and of those above it, as far as they are there."""
    for folder in _groups(name):
        try:
            yield (folder / name.rpartition("/")[2]).read_text().strip()
        except OSError:
            continue


def _groups(name: str) -> Iterator[Path]:
    controller = name.rpartition("/")[0]
    base = _CGROUPS / controller
    own = ""
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(",") or (not controller and not controllers):
                own = path.lstrip("/")
    except (OSError, ValueError):
        pass
    # Inside a container its own group is mounted as the root, so that the path may not be there.
    folder = base / own
    while True:
        yield folder
        if folder == base or base not in folder.parents:
            return
        folder = folder.parent

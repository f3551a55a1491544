"""The NVIDIA driver's own version, which CUDA's driver API does not tell: it tells the newest CUDA that it speaks."""

from __future__ import annotations

import ctypes
import functools
import os
import re
from pathlib import Path

_MODULE = Path("/proc/driver/nvidia/version")
_VERSION = re.compile(r"Kernel Module\s+(?:for \S+\s+)?(\d+(?:\.\d+)+)")
_LONGEST = 96


@functools.cache
def driver_version() -> str:
    """ "580.65.06"; empty where the machine does not tell. Needs no package of NVIDIA's."""
    try:
        found = _VERSION.search(_MODULE.read_text("utf-8", "replace"))
    except OSError:  # no such file on Windows, under WSL and in some containers
        found = None
    return found.group(1) if found else _told_by_nvml()


def _told_by_nvml() -> str:
    try:
        nvml = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
    except OSError:
        return ""
    version = ctypes.create_string_buffer(_LONGEST)
    if nvml.nvmlInit_v2() != 0:
        return ""
    try:
        if nvml.nvmlSystemGetDriverVersion(version, _LONGEST) != 0:
            return ""
    finally:
        nvml.nvmlShutdown()
    return version.value.decode("utf-8", "replace")

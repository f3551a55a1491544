"""TensorRT's measurements of its kernels, kept between builds: one file for each GPU and TensorRT."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache import cache_folder, read_checksummed, write_checksummed
from .driver import driver_version

if TYPE_CHECKING:
    from ..gpu.device import Gpu
    from .library import Library


def machine_key(library: Library, gpu: Gpu) -> str:
    """Of a GPU and a TensorRT: what measurements and compiled kernels are of."""
    facts = repr([library.flavour, library.version, gpu.name, gpu.compute_capability, gpu.driver, driver_version()])
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


def known_timings(library: Library, gpu: Gpu) -> bytes | None:
    """What was measured here before; None if nothing was, or a damaged file (logged) holds it."""
    return read_checksummed(_path(library, gpu))


def keep_timings(library: Library, gpu: Gpu, timings: bytes) -> None:
    """For the next build. A cache that cannot be written is logged, not raised."""
    write_checksummed(_path(library, gpu), timings)


def _path(library: Library, gpu: Gpu) -> Path:
    return cache_folder() / "engines" / f"{machine_key(library, gpu)}.timing"

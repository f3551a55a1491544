"""Noise and JPEG blocks taken away before a network that was trained on clean pictures: how much, and by what."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ._version import __version__
from .errors import SrganTrtError
from .models.denoisers import LEVELS, denoiser_file, denoisers_installed, open_denoiser
from .models.files import files_of, hash_files

if TYPE_CHECKING:
    from .compiler.plan import Plan
    from .imaging.compression import Compression
    from .spec import NetworkSpec

AUTO, OFF = "auto", "off"
_JPEG_BOUNDS = ((94, None), (90, 0), (63, 2), (1, 3))
"""From which quality on which level is best: the PSNR of the luma after two networks that were trained on clean
pictures, both together, on 22 training pictures (BSDS500 train and public-domain photos) at 17 qualities
(docs/pictures.md)."""
_WEBP_LEVEL = 0
"""The same for lossy WebP, which does not tell its quality, at those that programs write by default, 75 and 80."""


def checked(setting: str | int | None) -> str | int:
    """`setting` as "auto", "off" or a level; None is "auto". Raises SrganTrtError for anything else."""
    value: str | int = AUTO if setting is None else setting
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value not in (AUTO, OFF, *LEVELS) or isinstance(value, bool):
        raise SrganTrtError(f"denoise is {AUTO}, {OFF} or a level from {LEVELS[0]} to {LEVELS[-1]}, not {setting!r}")
    return value


def level_for(setting: str | int, compression: Compression | None, spec: NetworkSpec) -> int | None:
    """The level for a picture that was saved with this loss, before the network of `spec`; None: leave it as it is.

    "auto" is for networks that were trained on clean pictures, where the denoisers are installed.
    """
    if isinstance(setting, int):
        return setting
    if setting == OFF or compression is None or spec.restores or not denoisers_installed():
        return None
    if compression.quality is None:
        return _WEBP_LEVEL
    return next(level for bound, level in _JPEG_BOUNDS if compression.quality >= bound)


def denoiser_plan(level: int) -> Plan:
    """The plan, of scale 1, that takes away noise of this level: built once, then cached.

    Raises what ``denoiser_file``, ``open_denoiser`` and the compiler raise.
    """
    from .compiler.plan import FORMAT
    from .plan_cache import plan_built_once

    path, name = denoiser_file(level), f"waifu2x-photo, denoise {level}"
    content = hash_files(files_of(path))
    key = hashlib.sha256(f"denoiser {level} {content} {__version__} {FORMAT}".encode()).hexdigest()[:32]

    def build(out: Path) -> Plan:
        from .compiler.build import compile_network

        return compile_network(open_denoiser(path, name=name), out=out)

    return plan_built_once(key, build, of=name)

"""The pixel kernels, pack and unpack: in C++ where the extension is installed, else in NumPy. Everybody imports here.

What they do is described in _pixels.pyi. Both give the same results bit for bit; NumPy takes several times as long.
"""

from __future__ import annotations

import logging

from .errors import pip_command

__all__ = ["EXTENSION_ERROR", "NOTES", "instruction_sets", "mend_extension", "pack", "unpack"]

_log = logging.getLogger(__name__)

EXTENSION_ERROR: ImportError | None = None
"""Why the C++ extension could not be loaded; None if it was."""
NOTES: tuple[str, ...] = ()
"""What a pipeline that uses these kernels says of them in its `info`."""


def mend_extension() -> str:
    """What to do to have the C++ extension."""
    install = pip_command(options="--force-reinstall --no-deps --no-cache-dir")
    return f"install a C++ compiler and Python's headers (apt-get install g++ python3-dev), then {install}"


try:
    from ._pixels import instruction_sets, pack, unpack
except ImportError as error:
    from ._pixels_numpy import instruction_sets, pack, unpack

    EXTENSION_ERROR = error
    NOTES = ("NumPy packs and unpacks the pixels: the C++ extension is not installed",)
    _log.warning(
        "the C++ extension cannot be loaded (%s): NumPy does its work, which gives the same pictures more slowly. To "
        "mend it, %s",
        error,
        mend_extension(),
    )

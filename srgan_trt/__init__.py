"""Keras SRGAN generators as fast, seamless upscalers.

>>> import srgan_trt
>>> srgan_trt.upscale("photo.jpg", output="photo_x4.png")  # doctest: +SKIP

Each name is imported when it is first used: the package itself loads in milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import SrganTrtError

if TYPE_CHECKING:
    from .comparison import compare
    from .compat import SRGAN_predict as SRGAN_predict
    from .compat import show_image as show_image
    from .compiler.build import build
    from .compiler.mixing import mix
    from .compiler.plan import load_plan
    from .exports import export
    from .oneshot import upscale
    from .spec import NetworkSpec
    from .upscaler import Upscaler
    from .video.upscale import upscale_video

__all__ = [
    "NetworkSpec",
    "SrganTrtError",
    "Upscaler",
    "__version__",
    "build",
    "compare",
    "export",
    "load_plan",
    "mix",
    "upscale",
    "upscale_video",
]

# Of all names; those of compat are the interface of another package, for programs that were written for it.
_HOMES = {
    "NetworkSpec": "spec",
    "SRGAN_predict": "compat",
    "Upscaler": "upscaler",
    "build": "compiler.build",
    "compare": "comparison",
    "export": "exports",
    "load_plan": "compiler.plan",
    "mix": "compiler.mixing",
    "show_image": "compat",
    "upscale": "oneshot",
    "upscale_video": "video.upscale",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(_HOMES))

"""Every implementation of pack and unpack under one name each: the extension's instruction sets, and NumPy's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from srgan_trt import _pixels, _pixels_numpy

MODULES: tuple[ModuleType, ...] = (_pixels, _pixels_numpy)
_HOMES = {name: module for module in MODULES for name in module.instruction_sets()}


def names() -> tuple[str, ...]:
    """ "avx2" (where this CPU has it), "baseline", "numpy"."""
    return tuple(_HOMES)


def pack(image: Any, tensor: Any, *, implementation: str, **arguments: Any) -> None:
    _HOMES[implementation].pack(image, tensor, instruction_set=implementation, **arguments)


def unpack(tensor: Any, image: Any, *, implementation: str, **arguments: Any) -> int:
    count: int = _HOMES[implementation].unpack(tensor, image, instruction_set=implementation, **arguments)
    return count

"""Arrays inside a file of weights: where each lies. Nothing is read before it is known that the file holds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

Floats = NDArray[np.float32]

KINDS = {
    "float64": "<f8", "float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int64": "<i8", "int32": "<i4",
    "int16": "<i2", "int8": "<i1", "uint8": "<u1", "bool": "<u1",
}  # fmt: skip
"""What numbers can be, and how NumPy reads their bytes; it has no bfloat16, which is the upper half of a float32."""
_FLOATS = frozenset({"float64", "float32", "float16", "bfloat16"})
_MOST_AXES = 8
_MOST = 1 << 40
"""Of a side, a step or a place."""


def width_of(kind: str) -> int:
    """Bytes of one number."""
    return np.dtype(KINDS[kind]).itemsize


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers of one kind in a row."""

    kind: str
    """One of ``KINDS``."""
    key: str
    """What the file calls it."""
    count: int

    @property
    def width(self) -> int:
        return width_of(self.kind)


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """An array: a part of a storage, no number of which it has twice."""

    storage: Storage
    offset: int
    """Of its first number, in numbers."""
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In numbers."""

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        return self.storage.kind in _FLOATS

    @property
    def span(self) -> int:
        """Numbers of the storage from its first to its last, both counted."""
        return self.count and 1 + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))

    def values(self, data: bytes) -> Floats:
        """A copy in float32 of what ``data``, the bytes of its span, hold."""
        if self.count == 0:
            return np.zeros(self.shape, np.float32)
        flat = np.frombuffer(data, KINDS[self.storage.kind], self.span)
        steps = [step * self.storage.width for step in self.strides]
        view = np.lib.stride_tricks.as_strided(flat, self.shape, steps, writeable=False)
        if self.storage.kind == "bfloat16":
            return np.asarray(view.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # whoever builds with them names weights that are not finite
            return view.astype(np.float32)


def stored_tensor(storage: Any, offset: Any, shape: Any, strides: Any = None) -> StoredTensor:
    """The array that a file describes so; strides None: of an array whose last axis comes first.

    Raises ModelError, without the file's name, unless it lies in ``storage`` and has each number once.
    """
    if not (isinstance(storage, Storage) and are_whole([offset]) and are_whole(shape) and len(shape) <= _MOST_AXES):
        raise ModelError("the place or the shape of an array in it is none")
    if strides is None:
        strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if not (are_whole(strides) and len(strides) == len(shape)):
        raise ModelError(f"an array in it, {_shown(shape)}, has steps that do not fit")
    found = StoredTensor(storage, offset, tuple(shape), tuple(strides))
    if offset + found.span > storage.count:
        raise ModelError(f"an array in it, {_shown(shape)}, is larger than the {storage.count:,} numbers stored for it")
    beyond = 1
    for step, side in sorted((step, side) for step, side in zip(strides, shape, strict=True) if side > 1):
        if found.count and step < beyond:
            raise ModelError(f"an array in it, {_shown(shape)}, has numbers more than once (steps {_shown(strides)})")
        beyond += step * (side - 1)
    return found


def are_whole(values: Any) -> bool:
    """Whether it is a list or tuple of whole numbers that can be sides, steps or places."""
    return type(values) in (list, tuple) and all(type(value) is int and 0 <= value < _MOST for value in values)


def _shown(values: Sequence[int]) -> str:
    return "x".join(str(value) for value in values)

"""Dataclasses as JSON. What is read is checked against the types of the fields, by msgspec."""

from __future__ import annotations

import dataclasses
import math
import zlib
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
Count = Annotated[int, msgspec.Meta(ge=1, lt=1 << 31)]
"""At least 1, and small enough for any library."""
_LARGEST_ARRAY = 1 << 26


class _Packed(msgspec.Struct):
    """A uint8 array."""

    shape: tuple[Count, ...]
    zlib: bytes


def encode(value: Any, *, indent: int = 0) -> bytes:
    """A dataclass, or anything else that JSON can hold, as JSON in UTF-8; uint8 arrays are packed, and infinities, that
    JSON does not know, become null.

    indent: spaces of each level; 0 is one line.
    """
    data = msgspec.json.encode(value, enc_hook=_pack)
    return msgspec.json.format(data, indent=indent) if indent else data


def decode(data: bytes | str, kind: type[T]) -> T:
    """The value of type `kind` that `encode` wrote.

    Raises ValueError, one line that names the field, for anything else; so what a dataclass refuses must be one, too.
    """
    try:
        value = msgspec.json.decode(data, type=kind, dec_hook=_unpack)
        if dataclasses.is_dataclass(kind):
            known = {field.name for field in dataclasses.fields(kind)}
            if unknown := sorted(set(msgspec.json.decode(data, type=dict[str, msgspec.Raw])) - known):
                raise ValueError(f"Object contains unknown field `{unknown[0]}`")
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _pack(array: Any) -> _Packed:
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise NotImplementedError(f"JSON cannot hold a {type(array).__name__}")
    return _Packed(array.shape, zlib.compress(array.tobytes(), 9))


def _unpack(_: type, content: Any) -> NDArray[np.uint8]:
    import numpy as np

    packed = msgspec.convert(content, _Packed)
    size = math.prod(packed.shape)
    if size > _LARGEST_ARRAY:
        raise ValueError(f"an array of {size} values is too large")
    try:
        data = zlib.decompressobj().decompress(packed.zlib, size + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    return np.frombuffer(data, np.uint8).reshape(packed.shape)

"""Dataclasses as JSON: what is written comes back, and anything else is a ValueError of one line."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.codec import Count, decode, encode


@dataclass(frozen=True, kw_only=True)
class Record:
    name: str
    sides: tuple[Count, Count] | None
    share: float
    array: NDArray[np.uint8] | None = None


RECORD = Record(name="größe", sides=(3, 4), share=0.5)


def test_what_is_written_comes_back() -> None:
    assert decode(encode(RECORD), Record) == RECORD
    assert decode(encode(RECORD, indent=2), Record) == RECORD
    assert json.loads(encode(RECORD))["name"] == "größe"


def test_arrays_come_back() -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    read = decode(encode(Record(name="", sides=None, share=1, array=array)), Record)
    np.testing.assert_array_equal(read.array, array)


def packed(shape: list[int], data: bytes) -> dict[str, object]:
    return {"shape": shape, "zlib": base64.b64encode(data).decode()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, r"`\$\.name`"),
        ({"sides": [0, 4]}, r"`\$\.sides\[0\]`"),
        ({"sides": [1 << 31, 4]}, r"`\$\.sides\[0\]`"),
        ({"share": "half"}, r"`\$\.share`"),
        ({"other": 1}, "unknown field `other`"),
        ({"array": packed([2, 2], zlib.compress(bytes(5)))}, "reshape"),
        ({"array": packed([2, 2], zlib.compress(bytes(1 << 20)))}, "reshape"),
        ({"array": packed([1 << 20, 1 << 20], zlib.compress(b""))}, "too large"),
        ({"array": packed([2], b"no zlib")}, "header"),
    ],
)
def test_what_is_not_of_the_type_is_said(changes: dict[str, object], message: str) -> None:
    text = json.dumps(json.loads(encode(RECORD)) | changes)
    with pytest.raises(ValueError, match=message) as raised:
        decode(text, Record)
    assert "\n" not in str(raised.value)


def test_infinities_become_null() -> None:
    assert encode({"a": float("inf"), "b": float("nan")}) == b'{"a":null,"b":null}'


def test_endless_nesting_is_an_error_too() -> None:
    with pytest.raises(ValueError, match="nested too deep"):
        decode('{"other":' + "[" * 100_000 + "]" * 100_000 + "}", Record)

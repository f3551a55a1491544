"""Files of ncnn (github.com/Tencent/ncnn): a text ``.param`` that names the layers, a ``.bin`` with their weights.

As ncnn's wiki has them ("param and model file structure"): the magic 7767517; counts of layers and blobs; then a line
for each layer, ``kind name inputs outputs BLOB... key=value...``, where the key -23300 - k is array k. The ``.bin`` has
each layer's weights in that order: those of convolutions behind a tag that tells how they are stored, the rest float32.

Both are data: nothing in them is run, and nothing is read before it is known that the file holds it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .files import NCNN_MAGIC

MAX_PARAM_BYTES = 8 << 20
"""Of a ``.param``: that of Real-ESRGAN x4plus, 1014 layers, has 117,030."""
_MAX_INTEGER = (1 << 31) - 1
_MAX_WORD = 255
"""ncnn reads names into 256 bytes."""
_FP16, _INT8 = 0x01306B47, 0x000D4B38
_FP32 = (0, 0x0002C056)
_FIRST_ARRAY = -23300
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

Number = int | float
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NcnnLayer:
    """One line of a ``.param``."""

    kind: str
    name: str
    line: int
    """In the file, from 1."""
    inputs: tuple[str, ...]
    """Blobs that it reads, each made by a layer before it."""
    outputs: tuple[str, ...]
    values: Mapping[int, Number | tuple[Number, ...]]
    """What stands behind its keys; of an array its values."""

    @property
    def shown(self) -> str:
        """For messages: its kind, name and line."""
        return f"{self.kind} {self.name} (line {self.line})"


@dataclass(frozen=True, slots=True)
class Stored:
    """An array that a layer has in the ``.bin``."""

    name: str
    count: int
    tagged: bool
    """Whether a tag before it tells how it is stored; without one it is float32."""


def read_param(path: Path) -> list[NcnnLayer]:
    """The layers of a ``.param`` in order.

    Raises ModelError if it cannot be read, is no such file, or a layer reads what none before it has made or another
    reads, too.
    """
    lines = [(number, line.split()) for number, line in enumerate(_text(path).splitlines(), 1) if line.strip()]
    for number, words in lines:
        if not all(word.isprintable() and len(word) <= _MAX_WORD for word in words):
            raise ModelError(f"{path}, line {number}: this is not a line of an ncnn .param: is the file damaged?")
    if len(lines) < 2 or [len(words) for _, words in lines[:2]] != [1, 2] or lines[0][1] != [NCNN_MAGIC.decode()]:
        raise ModelError(f"{path} is a truncated or damaged ncnn .param: it does not begin with 7767517 and two counts")
    layer_count, blob_count = (_integer(path, lines[1][0], word) for word in lines[1][1])
    layers = [_layer(path, number, words) for number, words in lines[2:]]
    if len(layers) != layer_count:
        raise ModelError(f"{path} is a truncated or damaged ncnn .param: {len(layers)} layers, not {layer_count}")
    made: set[str] = set()
    readers: dict[str, NcnnLayer] = {}
    for layer in layers:
        for blob in layer.inputs:
            if blob not in made:
                raise ModelError(f"{path}: {layer.shown} reads {blob}, which no layer before it makes")
            if (other := readers.setdefault(blob, layer)) is not layer:
                # ncnn lets layers write over what they read, and computes something else or crashes
                raise ModelError(f"{path}: {layer.shown} reads {blob}, as {other.shown} does, without a Split")
        for blob in layer.outputs:
            if blob in made:
                raise ModelError(f"{path}: {layer.shown} makes {blob}, which another layer made")
            made.add(blob)
    if len(made) != blob_count:
        raise ModelError(f"{path} is a truncated or damaged ncnn .param: {len(made)} blobs, not {blob_count}")
    return layers


def read_weights(path: Path, layers: Sequence[tuple[NcnnLayer, Sequence[Stored]]]) -> list[dict[str, Floats]]:
    """The arrays, float32 and flat, that each of ``layers`` has in the ``.bin`` ``path``, by name.

    layers: In order, each with what it has there. No more is allocated than the file holds.

    Raises ModelError if the file cannot be read, holds less or more, stores int8 or values that are not finite.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            source = _Weights(file, path, size)
            found = [{each.name: source.take(layer, each) for each in stored} for layer, stored in layers]
            if source.left:
                raise ModelError(
                    f"{path} is too long: {source.left} of its {size} bytes belong to no layer of the .param; is it "
                    "of another network?"
                )
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    return found


class _Weights:
    """A ``.bin``, read from its begin to its end."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._file, self._path = file, path
        self.left = size

    def take(self, layer: NcnnLayer, what: Stored) -> Floats:
        tag = int.from_bytes(self._bytes(4, layer), "little") if what.tagged else 0
        if tag == _INT8:
            raise ModelError(
                f"{self._path} stores {layer.shown} in int8: only fp32 and fp16 are supported; take the net before "
                "ncnn2int8"
            )
        if tag != _FP16 and tag not in _FP32:
            raise ModelError(f"{self._path} stores {layer.shown} in an unknown way (tag 0x{tag:08x}): is it damaged?")
        width = 2 if tag == _FP16 else 4
        data = self._bytes(-(-what.count * width // 4) * 4, layer)  # padded to whole words
        array = np.frombuffer(data, "<f2" if tag == _FP16 else "<f4", what.count).astype(np.float32)
        if not np.isfinite(array).all():
            raise ModelError(f"{self._path} is damaged: not all {what.name} of {layer.shown} are finite")
        return array

    def _bytes(self, count: int, layer: NcnnLayer) -> bytes:
        if count > self.left:
            raise ModelError(
                f"{self._path} is too short: {layer.shown} needs {count} bytes, {self.left} are left; is it truncated, "
                "or of another network?"
            )
        data = self._file.read(count)
        if len(data) != count:
            raise ModelError(f"{self._path} became shorter while it was read")
        self.left -= count
        return data


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PARAM_BYTES + 1)
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_PARAM_BYTES:
        raise ModelError(f"{path} is not an ncnn .param: it has more than {MAX_PARAM_BYTES >> 20} MB")
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is a damaged ncnn .param: byte {error.start} is not a text") from None


def _layer(path: Path, number: int, words: list[str]) -> NcnnLayer:
    if len(words) < 4:
        raise ModelError(f"{path}, line {number}: a layer has a kind, a name and two counts, not {len(words)} words")
    kind, name = words[:2]
    counts = [_integer(path, number, word) for word in words[2:4]]
    blobs = words[4 : 4 + sum(counts)]
    if len(blobs) < sum(counts) or any("=" in blob for blob in blobs):
        raise ModelError(f"{path}, line {number}: {kind} {name} names fewer than {sum(counts)} blobs")
    values = dict(_value(path, number, word) for word in words[4 + len(blobs) :])
    return NcnnLayer(kind, name, number, tuple(blobs[: counts[0]]), tuple(blobs[counts[0] :]), values)


def _value(path: Path, number: int, word: str) -> tuple[int, Number | tuple[Number, ...]]:
    key, sign, text = word.partition("=")
    if not sign or re.fullmatch(r"-?\d{1,5}", key, re.ASCII) is None:
        raise ModelError(f"{path}, line {number}: {word[:40]!r} is not a key=value")
    if int(key) > _FIRST_ARRAY:
        return int(key), _number(path, number, text)
    count, *values = _numbers(path, number, text)
    if count != len(values):
        raise ModelError(f"{path}, line {number}: {word[:40]!r} is not an array: it holds {len(values)} values")
    return _FIRST_ARRAY - int(key), tuple(values)


def _numbers(path: Path, number: int, text: str) -> Iterator[Number]:
    return (_number(path, number, part) for part in text.split(","))


def _number(path: Path, number: int, text: str) -> Number:
    """A number with a point or an exponent is a float, as in ncnn."""
    if len(text) > 40 or _NUMBER.fullmatch(text) is None:
        raise ModelError(f"{path}, line {number}: {text[:40]!r} is not a number")
    value: Number = float(text) if re.search("[.eE]", text) else int(text)
    if abs(value) > _MAX_INTEGER:
        raise ModelError(f"{path}, line {number}: {text} is absurdly large")
    return value


def _integer(path: Path, number: int, text: str) -> int:
    value = _number(path, number, text)
    if not isinstance(value, int) or value < 0:
        raise ModelError(f"{path}, line {number}: {text!r} is not a count")
    return value

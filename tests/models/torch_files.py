"""Files of weights made by hand, as PyTorch and safetensors write them; and pickles of any instructions."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.errors import ModelError
from srgan_trt.models.loader import open_network

from ..peak_memory import little

Array = NDArray[Any]

_STORAGES = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<f8": "DoubleStorage", "<i8": "LongStorage"}
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Pickle:
    """Instructions of a pickle, protocol 2, and the storages that it names."""

    def __init__(self, code: bytes = b"") -> None:
        self.code = b"\x80\x02" + code
        self.storages: list[Array] = []

    def value(self, value: Any) -> Pickle:
        """Instructions that put ``value`` on the stack; arrays as PyTorch's tensors."""
        match value:
            case None:
                self.code += b"N"
            case bool():
                self.code += b"\x88" if value else b"\x89"
            case int() if abs(value) < 1 << 31:
                self.code += b"J" + struct.pack("<i", value)
            case int():
                data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
                self.code += b"\x8a" + bytes([len(data)]) + data
            case float():
                self.code += b"G" + struct.pack(">d", value)
            case str():
                self.code += b"X" + struct.pack("<I", len(value.encode())) + value.encode()
            case tuple():
                self.values(*value, end=b"t")
            case list():
                self.code += b"]"
                self.values(*value, end=b"e")
            case dict():
                self.name("collections", "OrderedDict").code += b")R"
                self.values(*(part for item in value.items() for part in item), end=b"u")
            case np.ndarray():
                self.tensor(value)
            case _:
                raise TypeError(value)
        return self

    def values(self, *values: Any, end: bytes) -> Pickle:
        self.code += b"("
        for value in values:
            self.value(value)
        self.code += end
        return self

    def name(self, module: str, name: str) -> Pickle:
        self.code += f"c{module}\n{name}\n".encode()
        return self

    def storage(self, kind: str, key: str, count: int, *more: Any) -> Pickle:
        self.code += b"("
        self.value("storage").name("torch", kind).value(key).value("cpu").value(count)
        for value in more:
            self.value(value)
        self.code += b"tQ"
        return self

    def tensor(
        self, array: Array, *, offset: Any = 0, shape: Any = None, strides: Any = None, count: int | None = None,
        kind: str | None = None, more: tuple[Any, ...] = (),
    ) -> Pickle:  # fmt: skip
        """A tensor of a new storage; what is given stands there instead of what is true."""
        self.name("torch._utils", "_rebuild_tensor_v2").code += b"("
        key = str(len(self.storages))
        self.storages.append(array)
        flat = array.dtype.str
        self.storage(kind or _STORAGES[flat], key, array.size if count is None else count, *more)
        self.value(offset).value(array.shape if shape is None else shape)
        self.value(tuple(step // array.itemsize for step in array.strides) if strides is None else strides)
        self.value(False).value({})
        self.code += b"tR"
        return self

    def bytes(self) -> bytes:
        return self.code + b"."


def pickled(value: Any) -> Pickle:
    return Pickle().value(value)


def write_pth(path: Path, tree: Any, *, compression: int = zipfile.ZIP_STORED) -> Path:
    """As torch.save writes since 1.6. tree: a ``Pickle``, or what is to be pickled."""
    pickle = tree if isinstance(tree, Pickle) else pickled(tree)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle.bytes())
        archive.writestr("archive/byteorder", "little")
        for number, storage in enumerate(pickle.storages):
            archive.writestr(f"archive/data/{number}", storage.tobytes(order="A"))
        archive.writestr("archive/version", "3\n")
    return path


def write_legacy(path: Path, tree: Any) -> Path:
    """As torch.save wrote before 1.6."""
    pickle = tree if isinstance(tree, Pickle) else pickled(tree)
    machine = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"int": 4}}
    stream = io.BytesIO()
    keys = [str(number) for number in range(len(pickle.storages))]
    for part in (pickled(MAGIC), pickled(PROTOCOL), pickled(machine), pickle, pickled(keys)):
        stream.write(part.bytes())
    for storage in pickle.storages:
        stream.write(struct.pack("<q", storage.size) + storage.tobytes(order="A"))
    path.write_bytes(stream.getvalue())
    return path


def write_safetensors(path: Path, arrays: Mapping[str, Array], *, changed: Mapping[str, Any] | None = None) -> Path:
    """changed: entries of the table that stand there instead of the true ones."""
    table: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, array in arrays.items():
        kind = {"<f4": "F32", "<f2": "F16", "<f8": "F64", "<i8": "I64", "<u2": "BF16"}[array.dtype.str]
        table[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    table |= changed or {}
    text = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in arrays.values()))
    return path


def refused(path: Path, words: str) -> None:
    with little(megabytes=60, seconds=10), pytest.raises(ModelError, match=words) as error:
        open_network(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700
    assert path.name in str(error.value)


def in_a_line(read: Callable[[], Any]) -> None:
    said = ""
    with little(megabytes=60, seconds=10):
        try:
            read()
        except ModelError as error:
            said = str(error)
    assert "\n" not in said

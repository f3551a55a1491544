"""Files of weights: PyTorch's ``.pth`` in its two forms, and safetensors. Read as data, by nothing of theirs.

``.pth`` since PyTorch 1.6 is a zip archive: data.pkl, which describes the arrays, and data/KEY with the numbers of each
storage, neither compressed. Before, it was a row of pickles: a magic number, a version, facts about the machine, the
description, the keys of the storages; then for each key its count (8 bytes) and its numbers. safetensors is the length
of a JSON text (8 bytes), that text, and the numbers.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError, one_line
from .files import LEGACY_TORCH_MAGIC, ZIP_SIGNATURE, is_safetensors
from .pickle_data import MOST_BYTES, read_pickle
from .stored_tensor import Floats, Storage, StoredTensor, are_whole, stored_tensor, width_of

_MOST_MEMBERS = 50_000
_LEGACY_PROTOCOL = 1001
_SAFETENSORS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip

Read = Callable[[str, int, int], bytes]
"""Of the storage of that name: the bytes from the second on, as many as the third says."""


@dataclass(frozen=True, slots=True)
class TorchFile:
    """What a file of weights holds, its numbers not yet read."""

    path: Path
    kind: Literal["PyTorch .pth", "safetensors"]
    tree: Any
    """A dict of ``StoredTensor``s; or of such dicts, and of whatever else a training keeps."""
    _places: Mapping[str, int] | None
    """Where in the file each storage begins; None for members of an archive."""

    def arrays(self, tensors: Mapping[str, StoredTensor]) -> dict[str, Floats]:
        """The numbers of ``tensors``, float32. Raises ModelError if the file is damaged, or has fewer than they say."""
        held = sum(tensor.span * tensor.storage.width for tensor in tensors.values())
        if held > (size := self.path.stat().st_size):
            raise ModelError(f"{self.path} tells of {held:,} bytes of weights and has {size:,}: save it again")
        with _faults(self.path), self._open() as read:
            return {name: tensor.values(_part(read, tensor)) for name, tensor in tensors.items()}

    @contextmanager
    def _open(self) -> Iterator[Read]:
        if self._places is None:
            with zipfile.ZipFile(self.path) as archive:
                prefix = _description(archive).filename.removesuffix("data.pkl")
                yield lambda key, first, count: _member(archive, f"{prefix}data/{key}", first, count)
        else:
            places = self._places
            with self.path.open("rb") as file:

                def read(key: str, first: int, count: int) -> bytes:
                    file.seek(places[key] + first)
                    return file.read(count)

                yield read


def read_torch_file(path: Path) -> TorchFile:
    """Opens a ``.pth`` or safetensors file, whichever ``path`` is by its content.

    Raises ModelError if it is damaged, compressed, or holds more than weights.
    """
    with path.open("rb") as file:
        head = file.read(len(LEGACY_TORCH_MAGIC))
    with _faults(path):
        if head.startswith(ZIP_SIGNATURE):
            return _read_zip(path)
        if head == LEGACY_TORCH_MAGIC:
            return _read_legacy(path)
        if is_safetensors(head):
            return _read_safetensors(path)
    raise ModelError(f"{path} is no file of weights: neither torch.save nor safetensors wrote it")


@contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError) as error:
        raise ModelError(f"{path} is a truncated or damaged archive ({one_line(error)}): download it again") from None


def _part(read: Read, tensor: StoredTensor) -> bytes:
    width = tensor.storage.width
    data = read(tensor.storage.key, tensor.offset * width, tensor.span * width)
    if len(data) != tensor.span * width:
        raise ModelError("it is truncated: numbers of an array are missing; download it again")
    return data


def _read_zip(path: Path) -> TorchFile:
    with zipfile.ZipFile(path) as archive:
        if len(archive.infolist()) > _MOST_MEMBERS:
            raise ModelError(f"it is an archive of more than {_MOST_MEMBERS:,} files: save it again")
        description = _description(archive)
        prefix = description.filename.removesuffix("data.pkl")
        members = {member.filename: member for member in archive.infolist()}
        if f"{prefix}constants.pkl" in members:
            raise ModelError("it is a TorchScript program, not weights: export it to ONNX, or save its state_dict()")
        order = members.get(f"{prefix}byteorder")
        if order is not None and _member(archive, order.filename, 0, 16) != b"little":
            raise ModelError("its numbers are big-endian: save it on another machine")

        def check(storage: Storage) -> None:
            member = members.get(f"{prefix}data/{storage.key}")
            if member is None or member.file_size != storage.count * storage.width:
                held = 0 if member is None else member.file_size
                raise ModelError(
                    f"its storage {ascii(storage.key)[:40]} should have {storage.count:,} numbers, but has {held:,} "
                    "bytes"
                )

        if description.file_size > MOST_BYTES:
            raise ModelError(f"its description has {description.file_size:,} bytes: more than any weights need")
        data = _member(archive, description.filename, 0, description.file_size)
        return TorchFile(path, "PyTorch .pth", read_pickle(io.BytesIO(data), check), None)


def _description(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    found = [member for member in archive.infolist() if member.filename.rpartition("/")[2] == "data.pkl"]
    if len(found) != 1:
        raise ModelError(f"it is an archive with {len(found)} descriptions (data.pkl): one belongs there")
    return found[0]


def _member(archive: zipfile.ZipFile, name: str, first: int, count: int) -> bytes:
    """Bytes of a member, which must not be compressed: nothing comes out that is not in the file."""
    member = archive.getinfo(name)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ModelError(f"its part {ascii(name)[:60]} is compressed, as PyTorch never does: save it again")
    with archive.open(member) as file:
        file.seek(first)
        return file.read(count)


def _read_legacy(path: Path) -> TorchFile:
    storages: dict[str, Storage] = {}

    def check(storage: Storage) -> None:
        if storages.setdefault(storage.key, storage) != storage:
            raise ModelError("it describes one storage in two ways")

    size = path.stat().st_size
    with path.open("rb") as file:
        stream = io.BytesIO(file.read(MOST_BYTES))  # longer pickles end in it, and are told as damaged
        _, protocol, machine = (read_pickle(stream) for _ in range(3))
        if protocol != _LEGACY_PROTOCOL or not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ModelError("it is of another PyTorch, or of a big-endian machine: save it again")
        tree = read_pickle(stream, check)
        keys = read_pickle(stream)
        if not (isinstance(keys, list) and all(type(key) is str for key in keys) and set(keys) == set(storages)):
            raise ModelError("its list of storages does not fit its description")
        places: dict[str, int] = {}
        at = stream.tell()
        for key in dict.fromkeys(keys):
            storage = storages[key]
            file.seek(at)
            if int.from_bytes(file.read(8), "little") != storage.count:
                raise ModelError("it is damaged: a storage has another size than its description says")
            places[key] = at + 8
            at += 8 + storage.count * storage.width
            if at > size:
                raise ModelError("it is truncated: numbers of an array are missing; download it again")
    return TorchFile(path, "PyTorch .pth", tree, places)


def _read_safetensors(path: Path) -> TorchFile:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(size - 8, MOST_BYTES):
            raise ModelError("it is no safetensors file, or a truncated one: download it again")
        try:
            table = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelError(f"its table is not JSON ({one_line(error)}): download it again") from None
    if not isinstance(table, dict):
        raise ModelError("its table names no arrays: save it again")
    tree: dict[str, StoredTensor] = {}
    places: dict[str, int] = {}
    for name, entry in table.items():
        if name == "__metadata__":
            continue
        shown = ascii(name)[:60]
        try:
            kind, shape, ends = _SAFETENSORS[entry["dtype"]], entry["shape"], entry["data_offsets"]
        except (KeyError, TypeError):
            raise ModelError(f"its table is wrong, or of numbers that are not read here, at {shown}") from None
        if not are_whole(ends) or len(ends) != 2 or not ends[0] <= ends[1] <= size - 8 - length:
            raise ModelError(f"it is truncated or damaged: {shown} is not in it whole; download it again")
        count, odd = divmod(ends[1] - ends[0], width_of(kind))
        tree[name] = stored_tensor(Storage(kind, name, count), 0, shape)
        places[name] = 8 + length + ends[0]
        if odd or count != tree[name].count:
            raise ModelError(f"it is damaged: {shown} has another size than its table says; download it again")
    return TorchFile(path, "safetensors", tree, places)

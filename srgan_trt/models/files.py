"""Which files a model consists of, and their hash. Imports nothing heavy: lists of models ask it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import ModelError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
NCNN_MAGIC = b"7767517"
"""How ncnn's text ``.param`` begins."""
NCNN_BINARY_MAGIC = (7767517).to_bytes(4, "little")
"""How a ``.param.bin`` begins, its binary form."""
LEGACY_TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a ``.pth`` of PyTorch before 1.6 begins: a number, pickled."""
_TORCH_NAMES = frozenset({".pth", ".pt", ".ckpt", ".safetensors"})


_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer, not the file: fetch that with 'git lfs pull'",
    b"<!doctype": "a web page, not the file: download that itself",
    b"<html": "a web page, not the file: download that itself",
    b"srgan-trt engine": "an engine: name it where a model is run, and the file that it was built from here",
    b"ftrt": "an engine of TensorRT's own tools: build one from the network's .onnx file",
    b"ptrt": "an engine of TensorRT's own tools: build one from the network's .onnx file",
}


def check_known(path: Path) -> None:
    """Raises ModelError, by name, for what is often saved or named in a model's place. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, what in _FOREIGN.items():
        if head.startswith(start):
            raise ModelError(f"{path} is {what}")


def is_torch(path: Path) -> bool:
    """Whether ``path`` is a file of PyTorch's or of safetensors, or is called one. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(len(LEGACY_TORCH_MAGIC))
    if path.suffix.lower() in _TORCH_NAMES or head == LEGACY_TORCH_MAGIC or is_safetensors(head):
        return True
    if not head.startswith(ZIP_SIGNATURE):
        return False
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            return "config.json" not in names and any(name.endswith("/data.pkl") for name in names)
    except zipfile.BadZipFile:
        return False


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins so is one of safetensors: the length of a JSON text, and that text."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def files_of(path: Path) -> list[Path]:
    """The files that the model file ``path`` consists of, itself first: an ncnn ``.param`` has its weights beside it,
    an ONNX file perhaps its larger tensors.

    Raises OSError if it cannot be read, ModelError if one that belongs to it is not there.
    """
    with path.open("rb") as file:
        head = file.read(len(HDF5_SIGNATURE))
    if head.startswith(NCNN_MAGIC):
        return [path, ncnn_weights(path)]
    if head == HDF5_SIGNATURE or head.startswith(ZIP_SIGNATURE) or is_torch(path):
        return [path]
    return [path, *_external_files(path)]


def _external_files(path: Path) -> list[Path]:
    data = path.read_bytes()
    if b"location" not in data:  # the key of every reference to another file: onnx takes long to import
        return []
    import onnx
    from google.protobuf.message import DecodeError

    from .onnx_graph import external_locations

    try:
        model = onnx.ModelProto.FromString(data)
    except (DecodeError, ValueError):
        return []  # whoever opens it says what is wrong with it
    return [path.parent / location for location in external_locations(model)]


def ncnn_weights(path: Path) -> Path:
    """Where the weights of the ``.param`` ``path`` are: the same name, ``.bin`` instead of ``.param``.

    Raises ModelError if there is no such file.
    """
    weights = path.with_suffix(".bin")
    if not weights.is_file():
        raise ModelError(f"{weights} is missing: {path.name} needs the file with its weights beside it")
    return weights


def hash_files(paths: list[Path], root: Path | None = None) -> str:
    """sha256 over the bytes of ``paths`` in order; with ``root``, over their names relative to it as well."""
    digest = hashlib.sha256()
    for path in paths:
        if root is not None:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()

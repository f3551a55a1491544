"""A Keras file as data: its config, its versions and the shapes of its weights. Nothing in it is run."""

from __future__ import annotations

import io
import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError, one_line
from .files import ZIP_SIGNATURE
from .hdf5 import WEIGHTS, checked_hash, most_bytes

Config = dict[str, Any]

_MOST_MEMBERS = 1000
"""Files in an archive: Keras writes three, and those of its assets."""
_MOST_TEXT = 32 << 20
"""Bytes of a config: a layer takes some 1,000."""


@dataclass(frozen=True, slots=True)
class KerasFile:
    """What an HDF5 model or a ``.keras`` archive says of itself."""

    path: Path
    container: Literal[".h5", ".keras"]
    keras_version: str | None
    """As recorded by the library that wrote the file, "2.3.1" or "3.8.0"; None if it did not say."""
    config: Config | None
    """The model's config, JSON read; None for a file that holds weights only."""
    source_hash: str
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of the weights by their path in the HDF5 ("conv2d/conv2d/kernel:0", Keras 3: "layers/conv2d/vars/0")."""

    @property
    def elements(self) -> int:
        """Numbers that the weights are, all together."""
        return sum(math.prod(shape) for shape in self.weights.values())

    @property
    def generation(self) -> int:
        """2 or 3: the Keras whose format this is."""
        return 3 if (self.keras_version or "2").startswith("3") else 2

    @property
    def kind(self) -> str:
        return f"Keras {self.generation} {self.container}"


def read_keras_file(path: Path) -> KerasFile:
    """Reads ``path``, an HDF5 file or a zip archive. Raises ModelError if it is damaged or no Keras model."""
    with path.open("rb") as file:
        archive = file.read(4) == ZIP_SIGNATURE
    return _read_archive(path) if archive else _read_hdf5(path)


def with_config(file: KerasFile, config: Config, folder: Path) -> Path:
    """Writes a copy of ``file`` with another config into ``folder`` and returns its path."""
    import shutil

    copy = folder / f"model{file.container}"
    if file.container == ".keras":
        with zipfile.ZipFile(file.path) as source, zipfile.ZipFile(copy, "w") as target:
            for member in source.namelist():
                data = json.dumps(config).encode() if member == "config.json" else source.read(member)
                target.writestr(member, data)
        return copy
    import h5py

    shutil.copyfile(file.path, copy)
    with h5py.File(copy, "r+") as hdf5:
        del hdf5.attrs["model_config"]
        hdf5.attrs["model_config"] = json.dumps(config)
    return copy


def _read_hdf5(path: Path) -> KerasFile:
    import h5py

    source_hash = checked_hash(path)
    try:
        with h5py.File(path, "r") as file:
            config = _json_attribute(path, file.attrs.get("model_config"))
            version = _text(file.attrs.get("keras_version"))
            root = file.get("model_weights", file)
            weights = _shapes(root)
            if config is None and "layer_names" not in root.attrs and not _is_weights_file(file):
                raise ModelError(
                    f"{path} is an HDF5 file but no Keras model: it has neither a model config nor layer weights"
                )
            version = version or _text(root.attrs.get("keras_version"))
    except (OSError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"{path} is a truncated or damaged HDF5 file ({one_line(error)}): download or save it again"
        ) from None
    return KerasFile(path, ".h5", version, config, source_hash, weights)


def _is_weights_file(file: Any) -> bool:
    """Keras 3's ``.weights.h5``: a group per layer, its variables numbered in "vars"."""
    return any(name in file for name in ("layers", "_layer_checkpoint_dependencies"))


def _read_archive(path: Path) -> KerasFile:
    import h5py

    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if "config.json" not in members:
                raise ModelError(f"{path} is a zip archive but no .keras file: it has no config.json")
            if WEIGHTS not in members:
                raise ModelError(f"{path} is a .keras file without weights (no {WEIGHTS}): save it again")
            _check_members(path, archive.infolist())
            config = _json_attribute(path, archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in members else {}
            source_hash = checked_hash(path)
            with h5py.File(io.BytesIO(archive.read(WEIGHTS)), "r") as file:
                weights = _shapes(file)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, KeyError, RuntimeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"{path} is a truncated or damaged .keras archive ({one_line(error)}): download or save it again"
        ) from None
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    return KerasFile(path, ".keras", _text(version), config, source_hash, weights)


def _shapes(root: Any) -> dict[str, tuple[int, ...]]:
    import h5py

    found: dict[str, tuple[int, ...]] = {}
    if isinstance(root, h5py.Group):
        root.visititems(lambda name, item: found.update({name: item.shape}) if isinstance(item, h5py.Dataset) else None)
    return found


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Raises ModelError if more would be unpacked than a model's archive holds, as its table of contents says."""
    if len(members) > _MOST_MEMBERS:
        raise ModelError(f"{path} is an archive of {len(members):,} files: a .keras file has three; save it again")
    size = path.stat().st_size
    for member in members:
        most = _MOST_TEXT if member.filename.endswith(".json") else most_bytes(size)
        if member.file_size > most:
            raise ModelError(
                f"{path} unpacks to too much ({member.filename}: {member.file_size:,} bytes): save it again"
            )


def _json_attribute(path: Path, value: Any) -> Config | None:
    if value is None:
        return None
    try:
        config = json.loads(_text(value) or "")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its model config is not JSON ({one_line(error)}): save the model again") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise ModelError(f"{path}: its model config names no model class: save the model again")
    return config


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)

"""HDF5 files with weights only: their layers in order, as arrays."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .hdf5 import checked_hash

Array = NDArray[np.float32]
LayerKind = Literal["conv", "batch_norm", "prelu", "other"]
_BATCH_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True, slots=True)
class WeightLayer:
    """One layer's weights."""

    name: str
    kind: LayerKind
    arrays: tuple[Array, ...]
    """conv: kernel (kh, kw, in, out) and bias, if any; batch_norm: gamma, beta, mean, variance; prelu: alpha."""

    @property
    def shapes(self) -> str:
        return " ".join(str(tuple(array.shape)).replace(" ", "") for array in self.arrays)


def read_weights(path: Path) -> list[WeightLayer]:
    """The layers with weights in ``path``, in the order in which they were made.

    Keras 1 and 2's format (``layer_names``) records that order; Keras 3's ``.weights.h5`` counts within each
    class of layers, so there the order holds only among layers of one kind. Raises ModelError on a damaged file.
    """
    import h5py

    try:
        checked_hash(path)
        with h5py.File(path, "r") as file:
            root = file.get("model_weights", file)
            read = _in_order(root) if "layer_names" in root.attrs else _numbered(root)
            return [_layer(name, arrays) for name, arrays in read if arrays]
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{path} is a truncated or damaged HDF5 file ({error}): download or save it again") from None


def _in_order(root: Any) -> Iterator[tuple[str, dict[str, Array]]]:
    for raw in root.attrs["layer_names"]:
        name = raw.decode() if isinstance(raw, bytes) else str(raw)
        group = root[name]
        weights = [raw.decode() if isinstance(raw, bytes) else str(raw) for raw in group.attrs["weight_names"]]
        folders = list(dict.fromkeys(weight.rpartition("/")[0] for weight in weights))
        for folder in folders:  # a nested model keeps all its layers in one group
            arrays = {
                weight.rpartition("/")[2].partition(":")[0]: np.asarray(group[weight], np.float32)
                for weight in weights
                if weight.rpartition("/")[0] == folder
            }
            yield (name if len(folders) == 1 else folder), arrays


def _numbered(root: Any) -> Iterator[tuple[str, dict[str, Array]]]:
    import h5py

    found: list[tuple[str, dict[str, Array]]] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and name.endswith("/vars") and len(item):
            arrays = {key: np.asarray(item[key], np.float32) for key in sorted(item, key=int)}
            found.append((name.removesuffix("/vars").rpartition("/")[2], arrays))

    root.visititems(visit)
    if "layers" not in root and "_layer_checkpoint_dependencies" not in root:
        raise ValueError("no layers in it")
    yield from sorted(
        (pair for pair in found if not pair[0].startswith("optimizer")), key=lambda pair: _natural(pair[0])
    )


def _natural(name: str) -> tuple[str, int]:
    """conv2d, conv2d_1, ..., conv2d_10: the class, then the number as a number."""
    found = re.fullmatch(r"(.*?)(?:_(\d+))?", name)
    assert found is not None
    return found.group(1), int(found.group(2) or 0)


def _layer(name: str, arrays: dict[str, Array]) -> WeightLayer:
    if set(_BATCH_NORM) <= set(arrays):
        return WeightLayer(name, "batch_norm", tuple(arrays[key] for key in _BATCH_NORM))
    if "kernel" in arrays:
        arrays = {key: arrays[key] for key in ("kernel", "bias") if key in arrays}
    values = tuple(arrays.values())
    shapes = [value.shape for value in values]
    kind: LayerKind = "other"
    if len(shapes[0]) == 4 and len(shapes) <= 2:
        kind = "conv"
    elif len(shapes) == 4 and all(len(shape) == 1 for shape in shapes):
        kind = "batch_norm"
    elif len(shapes) == 1 and shapes[0][:2] == (1, 1):
        kind = "prelu"
    return WeightLayer(name, kind, values)

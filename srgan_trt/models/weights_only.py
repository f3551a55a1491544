"""Files with weights and no architecture: the paper's generator by its shapes, others as ``--arch`` says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .files import hash_files
from .generator import ARCHITECTURES
from .keras_source import KerasNetwork
from .paper_onnx import PaperWeights, paper_onnx, recognise_paper
from .source import SourceNetwork
from .weights_file import LayerKind, WeightLayer, read_weights

if TYPE_CHECKING:
    import onnx

_RGB = 3
_KINDS: tuple[LayerKind, ...] = ("conv", "batch_norm", "prelu")


class PaperNetwork:
    """A ``SourceNetwork`` of the paper's generator, written to ONNX without TensorFlow."""

    kind = "weights of the paper's generator"
    channels = 3
    fixed_shape: tuple[int, int] | None = None
    input_range: tuple[float, float] | None = (0.0, 1.0)
    output_range: tuple[float, float] | None = (-1.0, 1.0)
    stripped: frozenset[str] = frozenset()

    def __init__(self, weights: PaperWeights, *, name: str, source_hash: str) -> None:
        self.name, self.source_hash = name, source_hash
        self.notes = [
            f"weights only: by its shapes the SRGAN paper's generator, x{weights.scale}, {weights.blocks} blocks of "
            f"{weights.filters} channels, 0..1 in, -1..1 out"
        ]
        self._weights = weights

    def export(self, height: int, width: int) -> onnx.ModelProto:
        return paper_onnx(self._weights, height, width)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """None: starting TensorFlow would cost the first picture ten seconds to prove what the tests do."""
        return None

    def rebuild(self) -> Any:
        """The same generator as a Keras 3 model, float32 NHWC. Raises MissingPackageError without Keras."""
        weights = self._weights
        return _built("paper", [*weights.convs, *weights.norms, *weights.prelus], self.name)


def open_weights(path: Path, *, arch: str | None = None) -> SourceNetwork:
    """Opens a weights-only HDF5 file.

    Raises ModelError if the architecture is neither recognised nor given, or does not fit the weights.
    """
    if arch is not None and arch not in ARCHITECTURES:
        raise ModelError(f"there is no architecture {arch!r}: --arch takes {' or '.join(ARCHITECTURES)}")
    layers, name, source_hash = read_weights(path), path.name, hash_files([path])
    if not layers:
        raise ModelError(f"{path} is an HDF5 file of Keras without any weights in it")
    paper = recognise_paper(layers) if arch != "superresolution-gans" else None
    if paper is not None:
        return PaperNetwork(paper, name=name, source_hash=source_hash)
    if any(array.ndim == 2 for array in layers[-1].arrays):
        raise ModelError(f"{path} holds the weights of a classifier or discriminator (it ends in a dense layer)")
    if arch is None:
        convs = sum(layer.kind == "conv" for layer in layers)
        raise ModelError(
            f"{path} holds the weights of {len(layers)} layers ({convs} convolutions) but not how they are connected, "
            "and they are not the SRGAN paper's generator: save the whole model (model.save), or pass --arch "
            f"{' or '.join(ARCHITECTURES)} if it is one of these"
        )
    return KerasNetwork(
        _built(arch, layers, name),
        name=name,
        kind=f"weights, architecture {arch}",
        source_hash=source_hash,
        notes=[f"weights only: built as the architecture {arch}, as --arch says"],
        input_range=ARCHITECTURES[arch].input_range,
        output_range=ARCHITECTURES[arch].output_range,
    )


@dataclass(frozen=True, slots=True)
class KnownGenerator:
    """What an HDF5 file of a generator of ours says: the architecture, its sizes, and the layers' weights."""

    arch: str
    sizes: dict[str, Any]
    """Keyword arguments of the architecture's ``make``."""
    layers: Sequence[WeightLayer]
    name: str

    def build(self, *, precision: str = "fp32") -> Any:
        """A Keras 3 model with these weights. Raises ModelError if they do not fit the architecture."""
        model = ARCHITECTURES[self.arch].make(**self.sizes, precision=precision)
        _fill(model, self.layers, self.name, self.arch)
        return model


def known_generator(path: Path) -> KnownGenerator:
    """Reads a generator of any of our architectures, whole or weights only, to go on training with it.

    Raises ModelError for any other network, or a file that is not an HDF5 file of Keras.
    """
    layers = read_weights(path)
    if not layers:
        raise ModelError(f"{path} is an HDF5 file of Keras without any weights in it")
    arch = _architecture(layers)
    return KnownGenerator(arch, _sizes(arch, layers, path.name), layers, path.name)


def _architecture(layers: Sequence[WeightLayer]) -> str:
    if any(layer.kind == "prelu" for layer in layers):
        return "paper"
    last = [layer for layer in layers if layer.kind == "conv"][-1:]
    return "compact" if last and last[0].arrays[0].shape[3] > _RGB else "superresolution-gans"


def _built(arch: str, layers: Sequence[WeightLayer], name: str) -> Any:
    """A Keras 3 model of ``arch`` with the weights of ``layers``, sized by them."""
    return KnownGenerator(arch, _sizes(arch, layers, name), layers, name).build()


def _sizes(arch: str, layers: Sequence[WeightLayer], name: str) -> dict[str, Any]:
    """What the shapes of the weights say about the sizes of the architecture."""
    counts = {kind: [layer for layer in layers if layer.kind == kind] for kind in _KINDS}
    convs, norms = counts["conv"], counts["batch_norm"]
    others = [layer for layer in layers if layer.kind == "other"]
    if others:
        raise _mismatch(name, arch, f"its layer {others[0].name} ({others[0].shapes}) has no place in it")
    if len(convs) < 4:
        raise _mismatch(name, arch, f"it has {len(convs)} convolutions")
    filters = convs[0].arrays[0].shape[3]
    if arch == "compact":
        return _compact_sizes(convs, filters, name)
    grown = [conv for conv in convs[1:-1] if conv.arrays[0].shape[3] != filters]
    doublings = len(grown)
    blocks, odd = divmod(len(convs) - 3 - doublings, 2)
    if odd or blocks < 0:
        raise _mismatch(name, arch, f"{len(convs)} convolutions with {doublings} for upsampling leave half a block")
    sizes: dict[str, Any] = {
        "blocks": blocks,
        "filters": filters,
        "tail_kernel": convs[-1].arrays[0].shape[0],
        "batch_norm": bool(norms),
        "scale": 1 << doublings,
    }
    if arch == "superresolution-gans" and grown:
        sizes["upsampling_filters"] = grown[0].arrays[0].shape[3]
    return sizes


def _compact_sizes(convs: Sequence[WeightLayer], filters: int, name: str) -> dict[str, Any]:
    blocks, odd = divmod(len(convs) - 3, 2)
    phases = convs[-1].arrays[0].shape[3] / _RGB
    scale = math.isqrt(int(phases))
    if odd or scale**2 != phases:
        raise _mismatch(name, "compact", f"{len(convs)} convolutions end in {int(phases * _RGB)} channels")
    return {"blocks": blocks, "filters": filters, "scale": scale}


def _fill(model: Any, layers: Sequence[WeightLayer], name: str, arch: str) -> None:
    """Puts the weights into the model, layer by layer of each kind."""
    counts = {kind: [layer for layer in layers if layer.kind == kind] for kind in _KINDS}
    targets: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    for layer in model.layers:
        kind = {"Conv2D": "conv", "BatchNormalization": "batch_norm", "PReLU": "prelu"}.get(type(layer).__name__)
        if kind is not None:
            targets[kind].append(layer)
    for kind in _KINDS:
        given, wanted = counts[kind], targets[kind]
        if len(given) != len(wanted):
            raise _mismatch(name, arch, f"it has {len(given)} layers of kind {kind}, the architecture {len(wanted)}")
        for layer, target in zip(given, wanted, strict=True):
            shapes = [tuple(variable.shape) for variable in target.weights]
            if [array.shape for array in layer.arrays] != shapes:
                shown = " ".join(str(shape).replace(" ", "") for shape in shapes)
                raise _mismatch(name, arch, f"its layer {layer.name} is {layer.shapes}, the architecture's {shown}")
            target.set_weights(list(layer.arrays))


def _mismatch(name: str, arch: str, reason: str) -> ModelError:
    return ModelError(f"{name} does not fit --arch {arch}: {reason}")

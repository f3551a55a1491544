"""ncnn's networks: super-resolvers of one picture (RGB, luma), such as Real-ESRGAN's and waifu2x's upconv7, as ONNX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from .files import hash_files, ncnn_weights
from .graph_writer import Blob, NodeWriter
from .ncnn_file import Floats, NcnnLayer, read_param, read_weights
from .ncnn_layers import emit, padded, stored
from .source import check_input, check_output, check_scale

if TYPE_CHECKING:
    import onnx

_INEXACT = ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_packed", "bf16_storage", "vulkan_compute")
"""Options of the ncnn package that would not compute in float32 on the CPU."""
_SIZES = ((192, 256), (384, 320))
"""Sizes at which a network is looked at: larger than what unpadded convolutions take off, and multiples of 64."""


class NcnnNetwork:
    """A ``SourceNetwork`` around the layers of a ``.param`` and their weights.

    Where its convolutions are not padded, so that its result lacks a margin, the margin is repeated around the picture
    first: as who runs such networks does.
    """

    kind = "ncnn .param"
    fixed_shape: tuple[int, int] | None = None
    input_range: tuple[float, float] | None = None
    output_range: tuple[float, float] | None = None
    stripped: frozenset[str] = frozenset()

    def __init__(
        self, layers: Sequence[NcnnLayer], arrays: Sequence[dict[str, Floats]], *, path: Path, source_hash: str
    ) -> None:
        """Raises ModelError unless the layers take one picture, RGB or luma, and enlarge it, and all are supported."""
        self.name, self.source_hash = path.name, source_hash
        self.notes: list[str] = []
        self.layers = layers
        self._path, self._arrays = path, arrays
        self.channels = 3
        self.io_blobs = self._io_blobs()
        """The blobs that the picture comes in by and goes out by."""
        self._margins = (0, 0)
        self._margins = self._find_margins()

    def export(self, height: int, width: int) -> onnx.ModelProto:
        writer = NodeWriter()
        return writer.model(self._write(writer, height, width), height, width, name="ncnn", channels=self.channels)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """By the ncnn package, in float32 on the CPU; None where it is not installed.

        Raises ModelError if ncnn does not take the files.
        """
        try:
            import ncnn
        except ModuleNotFoundError as error:
            if error.name != "ncnn":
                raise
            return None
        net = ncnn.Net()
        net.opt.num_threads = 1  # on a busy machine its threads wait for each other 30 times as long as they compute
        for option in _INEXACT:
            setattr(net.opt, f"use_{option}", False)
        if net.load_param(str(self._path)) or net.load_model(str(ncnn_weights(self._path))):
            raise ModelError(f"{self._path}: the ncnn package does not take this network")
        top, left = self._margins
        wide = np.pad(batch, ((0, 0), (top, top), (left, left), (0, 0)), mode="edge").transpose(0, 3, 1, 2)
        return np.stack([self._predict_one(ncnn, net, picture) for picture in wide]).transpose(0, 2, 3, 1)

    def _predict_one(self, ncnn: Any, net: Any, picture: Floats) -> Floats:
        extractor = net.create_extractor()
        held = np.ascontiguousarray(picture)  # ncnn.Mat does not keep it alive
        # and a copy in ncnn's own memory: its layers that work in place crash on NumPy's
        failed = extractor.input(self.io_blobs[0], ncnn.Mat(held).clone())
        status, result = extractor.extract(self.io_blobs[1])
        if failed or status:
            raise ModelError(f"{self._path}: the ncnn package cannot run this network (status {failed or status})")
        return np.array(result, np.float32)

    def _io_blobs(self) -> tuple[str, str]:
        """The blobs that the picture comes in by and goes out by."""
        sources = [layer for layer in self.layers if layer.kind == "Input"]
        if len(sources) != 1 or len(sources[0].outputs) != 1:
            raise ModelError(f"{self.name} has {len(sources)} inputs: a generator takes one picture")
        width, height, channels, depth = (sources[0].values.get(key, 0) for key in (0, 1, 2, 11))
        if depth not in (0, 1):
            raise ModelError(f"{self.name} takes volumes, not pictures: it is not a super-resolver")
        if channels != 0:
            shape = (None, None, None, channels if isinstance(channels, int) else None)
            self.channels = check_input(self.name, shape)
        elif self._reads_luma(sources[0].outputs[0]):
            self.channels = 1
        if width or height:
            self.notes.append(f"its Input layer names {width}x{height} pixels: a hint, as in ncnn; it takes any")
        read = {blob for layer in self.layers for blob in layer.inputs}
        results = [blob for layer in self.layers for blob in layer.outputs if blob not in read]
        if len(results) != 1:
            raise ModelError(f"{self.name} has {len(results)} outputs: a generator gives one picture")
        return sources[0].outputs[0], results[0]

    def _reads_luma(self, picture: str) -> bool:
        """Whether a convolution of the picture has weights for one channel: the Input layer need not say."""
        copies = {picture}
        for layer, arrays in zip(self.layers, self._arrays, strict=True):
            if not copies.intersection(layer.inputs):
                continue
            if layer.kind == "Split":
                copies.update(layer.outputs)
            elif layer.kind == "Convolution" and "weights" in arrays:
                filters, wide = layer.values.get(0), layer.values.get(1)
                sides = [side for side in (filters, wide, layer.values.get(11, wide)) if isinstance(side, int)]
                return len(sides) == 3 and arrays["weights"].size == math.prod(sides)
        return False

    def _find_margins(self) -> tuple[int, int]:
        """(rows, columns) that its result lacks at each side, in pixels of the picture."""
        results = [self._write(NodeWriter(shapes_only=True), *size) for size in _SIZES]
        check_output(self.name, (None, None, None, results[0].channels), channels=self.channels)
        margins, after = [], []
        for axis, side in enumerate(("height", "width")):
            first, second = ((blob.height, blob.width)[axis] for blob in results)
            length = _SIZES[0][axis]
            scale = Fraction(second - first, _SIZES[1][axis] - length)
            missing = length - first / scale if scale else Fraction(0)
            if missing < 0 or missing.denominator != 1 or missing % 2:
                raise ModelError(f"{self.name} makes {first} pixels of {length} ({side}): that is not a whole scale")
            margins.append(int(missing) // 2)
            after.append(int(length * scale))
        check_scale(self.name, _SIZES[0], (after[0], after[1]))
        if any(margins):
            self.notes.append(
                f"its convolutions take {margins[1]} pixels off each side: the picture's border is repeated so often "
                "first, as ncnn's programs do"
            )
        return margins[0], margins[1]

    def _write(self, writer: NodeWriter, height: int, width: int) -> Blob:
        """Writes all nodes for a picture of that size; returns the output, under its name in the graph."""
        top, left = self._margins
        source = Blob("input", self.channels, height, width)
        if top or left:
            source = padded(writer, source, (top, left, top, left))
        blobs = {self.io_blobs[0]: source}
        try:
            for layer, arrays in zip(self.layers, self._arrays, strict=True):
                if layer.kind == "Input":
                    continue
                results = emit(layer, arrays, writer, [blobs[blob] for blob in layer.inputs])
                blobs |= zip(layer.outputs, results, strict=True)
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from None
        return blobs[self.io_blobs[1]]


def open_ncnn(path: Path) -> NcnnNetwork:
    """Opens a text ``.param``, whose ``.bin`` lies beside it.

    Raises ModelError if either is damaged or missing, has layers of an unsupported kind, or is not a super-resolver.
    """
    layers = read_param(path)
    weights = ncnn_weights(path)
    arrays = read_weights(weights, [(layer, stored(path, layer)) for layer in layers])
    return NcnnNetwork(layers, arrays, path=path, source_hash=hash_files([path, weights]))

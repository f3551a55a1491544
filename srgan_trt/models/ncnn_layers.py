"""The layers of ncnn that super-resolvers are made of: what each stores, and what it computes, as ONNX.

The meaning of every parameter is that of ncnn's operators page (github.com/Tencent/ncnn, docs/developer-guide) and is
held to the ncnn package by tests/models/test_ncnn_source.py. A parameter that is not known here, or has a value that
would compute something else, is refused: nothing is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import ModelError
from .graph_writer import Blob, NodeWriter
from .ncnn_file import Floats, NcnnLayer, Number, Stored

_MOST_CHANNELS = 1 << 14
_LARGEST = 1 << 16
"""Most pixels along a side of a blob: of the small pictures that networks are exported at, far more than any needs."""
_MOST_TAPS = 64
"""Along a side of a kernel."""
_WHAT_IS_LEFT = -233
"""ncnn's size of a crop that depends on what is cut off alone."""
_HINTS = frozenset({30, 31})
"""Shapes and features that ncnn's tools note down for its allocator, of any layer."""
_RESIZE: dict[int, dict[str, Any]] = {
    1: {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    2: {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    3: {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.75},
}
"""What ncnn's kinds of Interp are in ONNX."""


Emit: TypeAlias = "Callable[[_Layer, NodeWriter, list[Blob]], Blob]"


def stored(path: Path, layer: NcnnLayer) -> list[Stored]:
    """What ``layer`` of the ``.param`` ``path`` has in the ``.bin``, in order.

    Raises ModelError for a kind of layer that is not known, which is told with its line, and for absurd counts.
    """
    read = _Layer(layer, {})
    if layer.kind in ("Convolution", "Deconvolution"):
        arrays = [Stored("weights", read.whole(6, 0), True)]
        if read.whole(5, 0, most=1):
            arrays.append(Stored("bias", read.whole(0, 0), False))
        return arrays
    if layer.kind == "PReLU":
        return [Stored("slopes", read.whole(0, 0), False)]
    if layer.kind not in KINDS:
        raise ModelError(
            f"{path}, line {layer.line}: layers of the kind {layer.kind} ({layer.name}) are not supported; those that "
            f"are: {', '.join(KINDS)}"
        )
    return []


def emit(layer: NcnnLayer, arrays: Mapping[str, Floats], writer: NodeWriter, blobs: list[Blob]) -> list[Blob]:
    """Writes the nodes that compute ``layer`` from ``blobs``; returns what it gives.

    Raises ModelError, which begins with the layer, if it has parameters that are not supported, or does not fit.
    """
    read = _Layer(layer, arrays)
    counts, known, write = KINDS[layer.kind]
    if unknown := sorted(set(layer.values) - known - _HINTS):
        raise read.error(f"has the parameter {unknown[0]}, which is not supported")
    many_outputs = layer.kind == "Split"
    if len(blobs) not in counts or (len(layer.outputs) != 1 and not many_outputs):
        raise read.error(f"has {len(blobs)} inputs and {len(layer.outputs)} outputs")
    blob = write(read, writer, blobs)
    if not 1 <= blob.channels <= _MOST_CHANNELS or not (1 <= blob.height <= _LARGEST and 1 <= blob.width <= _LARGEST):
        raise read.error(f"gives {blob.shown}")
    return [blob] * len(layer.outputs)


class _Layer:
    """A layer's parameters, checked as they are asked for."""

    def __init__(self, layer: NcnnLayer, arrays: Mapping[str, Floats]) -> None:
        self._layer, self.arrays = layer, arrays

    def error(self, what: str) -> ModelError:
        return ModelError(f"{self._layer.shown} {what}")

    def whole(self, key: int, default: int, *, least: int = 0, most: int = (1 << 31) - 1) -> int:
        value = self._layer.values.get(key, default)
        if not isinstance(value, int) or not least <= value <= most:
            raise self.error(f"has {key}={value}, which is not supported")
        return value

    def number(self, key: int, default: float) -> float:
        value = self._layer.values.get(key, default)
        if isinstance(value, tuple):
            raise self.error(f"has an array as {key}")
        return float(value)

    def array(self, key: int) -> tuple[Number, ...]:
        value = self._layer.values.get(key, ())
        if not isinstance(value, tuple):
            raise self.error(f"has {key}={value} where an array belongs")
        return value

    def pair(self, vertical: int, horizontal: int, default: int, *, least: int, most: int) -> tuple[int, int]:
        """(vertical, horizontal): the first is the second where it is not named."""
        second = self.whole(horizontal, default, least=least, most=most)
        return self.whole(vertical, second, least=least, most=most), second

    def pads(self, left: int, right: int, top: int, bottom: int) -> list[int]:
        """Top, left, bottom, right; what is not named is as its counterpart, and that as the left one."""
        first = self.whole(left, 0, most=_MOST_TAPS)
        above = self.whole(top, first, most=_MOST_TAPS)
        return [above, first, self.whole(bottom, above, most=_MOST_TAPS), self.whole(right, first, most=_MOST_TAPS)]

    def must_be(self, key: int, value: float) -> None:
        found = self._layer.values.get(key, value)
        if found != value:
            raise self.error(f"has {key}={found}, which is not supported")


def _input(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    raise layer.error("is not a layer in the middle")


def _split(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    return blobs[0]


def _convolution(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    for key in (8, 18, 19):  # levels of int8, padding with a value, weights that are computed
        layer.must_be(key, 0)
    (blob,) = blobs
    filters = layer.whole(0, 0, least=1, most=_MOST_CHANNELS)
    size, dilations, strides, pads, weight = _window(layer, blob.channels, filters)
    weight = weight.reshape(filters, blob.channels, *size)
    height, width = (
        (length + pads[axis] + pads[axis + 2] - (size[axis] - 1) * dilations[axis] - 1) // strides[axis] + 1
        for axis, length in enumerate((blob.height, blob.width))
    )
    result = writer.node(
        "Conv", blob.tensor, writer.constant(weight), *_bias(layer, writer),
        kernel_shape=size, dilations=dilations, strides=strides, pads=pads,
    )  # fmt: skip
    return Blob(_activated(layer, writer, result), filters, height, width)


def _deconvolution(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    for key in (18, 19, 20, 21, 28):  # padding of the output, its size, weights that are computed
        layer.must_be(key, 0)
    (blob,) = blobs
    filters = layer.whole(0, 0, least=1, most=_MOST_CHANNELS)
    size, dilations, strides, pads, weight = _window(layer, blob.channels, filters)
    weight = weight.reshape(filters, blob.channels, *size).transpose(1, 0, 2, 3)  # ONNX has the inputs first
    height, width = (
        (length - 1) * strides[axis] + (size[axis] - 1) * dilations[axis] + 1 - pads[axis] - pads[axis + 2]
        for axis, length in enumerate((blob.height, blob.width))
    )
    result = writer.node(
        "ConvTranspose", blob.tensor, writer.constant(weight), *_bias(layer, writer),
        kernel_shape=size, dilations=dilations, strides=strides, pads=pads,
    )  # fmt: skip
    return Blob(_activated(layer, writer, result), filters, height, width)


def _window(
    layer: _Layer, channels: int, filters: int
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], list[int], Floats]:
    """Size, dilations, strides and pads of a convolution of either kind, and its weights, still flat."""
    size = layer.pair(11, 1, 0, least=1, most=_MOST_TAPS)
    dilations = layer.pair(12, 2, 1, least=1, most=_MOST_TAPS)
    strides = layer.pair(13, 3, 1, least=1, most=_MOST_TAPS)
    pads = layer.pads(4, 15, 14, 16)
    weight, needed = layer.arrays["weights"], filters * channels * size[0] * size[1]
    if weight.size != needed:
        raise layer.error(f"has {weight.size} weights; for {channels} channels it needs {needed}")
    return size, dilations, strides, pads, weight


def _bias(layer: _Layer, writer: NodeWriter) -> list[str]:
    return [writer.constant(layer.arrays["bias"])] if "bias" in layer.arrays else []


def _activated(layer: _Layer, writer: NodeWriter, x: str) -> str:
    """What a convolution does with its sums: 0 nothing, 1 relu, 2 leaky relu."""
    kind, parameters = layer.whole(9, 0, most=2), layer.array(10)
    if kind == 2 and len(parameters) != 1:
        raise layer.error(f"has a leaky relu with {len(parameters)} slopes")
    if kind == 0:
        return x
    return writer.node("Relu", x) if kind == 1 else writer.node("LeakyRelu", x, alpha=float(parameters[0]))


def _prelu(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    (blob,) = blobs
    slopes = layer.arrays["slopes"]
    if slopes.size not in (1, blob.channels):
        raise layer.error(f"has {slopes.size} slopes for {blob.channels} channels")
    return _with_tensor(blob, writer.node("PRelu", blob.tensor, writer.constant(slopes.reshape(-1, 1, 1))))


def _relu(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    slope = layer.number(0, 0.0)
    (blob,) = blobs
    if slope == 0:
        return _with_tensor(blob, writer.node("Relu", blob.tensor))
    return _with_tensor(blob, writer.node("LeakyRelu", blob.tensor, alpha=slope))


def _concat(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    if layer.whole(0, 0, least=-3) not in (0, -3):
        raise layer.error("joins along another axis than the channels'")
    first = blobs[0]
    _check_alike(layer, [_with_channels(blob, first.channels) for blob in blobs])
    tensor = writer.node("Concat", *(blob.tensor for blob in blobs), axis=1)
    return Blob(tensor, sum(blob.channels for blob in blobs), first.height, first.width)


def _eltwise(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    if layer.whole(0, 0) != 1:
        raise layer.error("is no sum: products and maxima are not supported")
    factors = layer.array(1) or (1,) * len(blobs)
    if len(factors) != len(blobs):
        raise layer.error(f"has {len(factors)} coefficients for {len(blobs)} inputs")
    _check_alike(layer, blobs)
    terms = [_scaled(writer, blob.tensor, float(factor)) for blob, factor in zip(blobs, factors, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = writer.node("Add", total, term)
    return _with_tensor(blobs[0], total)


def _binary(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    operators = {0: "Add", 2: "Mul"}
    kind = layer.whole(0, 0)
    if kind not in operators:
        raise layer.error(f"computes operation {kind}: only 0 (add) and 2 (mul) are supported")
    scalar = layer.whole(1, 0, most=1) == 1
    if len(blobs) != 2 - scalar:
        raise layer.error(f"has {len(blobs)} inputs")
    if scalar:
        other = writer.constant(np.array(layer.number(2, 0.0), np.float32))
    else:
        _check_alike(layer, blobs)  # ncnn would repeat the smaller one; no super-resolver needs it
        other = blobs[1].tensor
    return _with_tensor(blobs[0], writer.node(operators[kind], blobs[0].tensor, other))


def _interp(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    for key in (3, 4, 5, 6):  # a fixed size, one that another blob has, corners aligned
        layer.must_be(key, 0)
    kind = layer.whole(0, 0, least=1, most=3)
    vertical, horizontal = layer.number(1, 1.0), layer.number(2, 1.0)
    factor = round(vertical) if vertical >= 1 else 1
    parts = round(1 / vertical) if 0 < vertical < 1 else 1
    if vertical != horizontal or vertical not in (factor, 1 / parts) or max(factor, parts) > _MOST_TAPS:
        raise layer.error(f"changes the size by {vertical:g} and {horizontal:g}: only whole factors are supported")
    if parts > 1 and kind == 1:
        raise layer.error("makes smaller by leaving out pixels, which is not supported")
    (blob,) = blobs
    scales = writer.constant(np.array([1, 1, vertical, horizontal], np.float32))
    tensor = writer.node("Resize", blob.tensor, "", scales, **_RESIZE[kind])
    height, width = (length * factor // parts for length in (blob.height, blob.width))
    return Blob(tensor, blob.channels, height, width)


def _pixel_shuffle(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    factor, mode = layer.whole(0, 1, least=1, most=_MOST_TAPS), layer.whole(1, 0, most=1)
    (blob,) = blobs
    if blob.channels % factor**2:
        raise layer.error(f"shuffles {blob.channels} channels by {factor}")
    tensor = writer.node("DepthToSpace", blob.tensor, blocksize=factor, mode=("CRD", "DCR")[mode])
    return Blob(tensor, blob.channels // factor**2, blob.height * factor, blob.width * factor)


def _padding(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    for key in (6, 7, 8):  # a value for each channel, more channels
        layer.must_be(key, 0)
    mode = ("constant", "edge")[layer.whole(4, 0, most=1)]  # reflected ones end where pictures are smaller
    top, bottom, left, right = (layer.whole(key, 0, most=_MOST_TAPS) for key in range(4))
    value = writer.constant(np.array(layer.number(5, 0.0), np.float32)) if mode == "constant" else ""
    return padded(writer, blobs[0], (top, left, bottom, right), mode=mode, value=value)


def _crop(layer: _Layer, writer: NodeWriter, blobs: list[Blob]) -> Blob:
    for key in (2, 8):  # channels left out
        layer.must_be(key, 0)
    for key in (3, 4, 5):  # any other size, 0 among them, is a given one
        layer.whole(key, 0, least=_WHAT_IS_LEFT, most=_WHAT_IS_LEFT)
    left, top, right, bottom = (layer.whole(key, 0, most=_LARGEST) for key in (0, 1, 6, 7))
    (blob,) = blobs
    if top + bottom >= blob.height or left + right >= blob.width:
        raise layer.error(f"takes all of {blob.shown} away")
    return padded(writer, blob, (-top, -left, -bottom, -right), mode="constant", value="")


def padded(
    writer: NodeWriter, blob: Blob, pads: tuple[int, int, int, int], *, mode: str = "edge", value: str = ""
) -> Blob:
    """``blob`` with more pixels around it; pads: top, left, bottom, right, negative ones cut off."""
    top, left, bottom, right = pads
    amounts = writer.constant(np.array([0, 0, top, left, 0, 0, bottom, right], np.int64))
    tensor = writer.node("Pad", blob.tensor, amounts, *([value] if value else []), mode=mode)
    return Blob(tensor, blob.channels, blob.height + top + bottom, blob.width + left + right)


def _scaled(writer: NodeWriter, tensor: str, factor: float) -> str:
    return tensor if factor == 1 else writer.node("Mul", tensor, writer.constant(np.array(factor, np.float32)))


def _check_alike(layer: _Layer, blobs: list[Blob]) -> None:
    for blob in blobs[1:]:
        if blob.shown != blobs[0].shown:
            raise layer.error(f"takes blobs of different shapes: {blobs[0].shown} and {blob.shown}")


def _with_tensor(blob: Blob, tensor: str) -> Blob:
    return Blob(tensor, blob.channels, blob.height, blob.width)


def _with_channels(blob: Blob, channels: int) -> Blob:
    return Blob(blob.tensor, channels, blob.height, blob.width)


_ONE, _SEVERAL = range(1, 2), range(1, 1 << 10)
_WINDOW = frozenset({0, 1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19})

KINDS: dict[str, tuple[range, frozenset[int], Emit]] = {
    "Input": (range(0), frozenset({0, 1, 2, 11}), _input),
    "Split": (_ONE, frozenset(), _split),
    "Convolution": (_ONE, _WINDOW | {8}, _convolution),
    "Deconvolution": (_ONE, _WINDOW | {20, 21, 28}, _deconvolution),
    "PReLU": (_ONE, frozenset({0}), _prelu),
    "ReLU": (_ONE, frozenset({0}), _relu),
    "Concat": (_SEVERAL, frozenset({0}), _concat),
    "Eltwise": (_SEVERAL, frozenset({0, 1}), _eltwise),
    "BinaryOp": (range(1, 3), frozenset({0, 1, 2}), _binary),
    "Interp": (_ONE, frozenset(range(7)), _interp),
    "PixelShuffle": (_ONE, frozenset({0, 1}), _pixel_shuffle),
    "Padding": (_ONE, frozenset(range(9)), _padding),
    "Crop": (_ONE, frozenset(range(9)), _crop),
}
"""By kind: how many blobs it takes, the parameters that are known, and what writes it."""

"""Facts read off a graph: scale, receptive field, work per pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir

_GLOBAL = frozenset(
    "GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin InstanceNormalization MatMul Gemm "
    "Softmax LogSoftmax LayerNormalization Reshape".split()
)

_CHANNELS_LAST = (0, 2, 3, 1)


@dataclass(frozen=True, slots=True)
class Field:
    """How far a network looks.

    ``halo``: whole input pixels beyond a tile's side that its output depends on, exactly, whatever its phase.
    ``radius``: from a pixel's centre, as the literature counts. Both None where it is the whole picture.
    ``multiple``: what the input's sides must be multiples of.
    """

    scale: Fraction
    halo: int | None
    radius: float | None
    multiple: int


Interval = tuple[int, int]


def receptive_field(model: ir.Model) -> Field:
    """Walks back from the output pixels that one input pixel becomes, in whole pixels, to the input."""
    scales = node_scales(model)
    before, after = graph.dims(model.graph.inputs[0]), graph.dims(model.graph.outputs[0])
    scale = scales[model.graph.outputs[0]]
    if before and after and before[2] and after[2]:
        scale = Fraction(after[2], before[2])  # a static graph says it, whatever its nodes are
    multiple = math.lcm(*(value.denominator for value in scales.values()))
    whole = max(1, int(scale)) * multiple
    # rows and columns alike; the block is as many output pixels as `multiple` input pixels become
    needs: dict[ir.Value, list[Interval]] = {model.graph.outputs[0]: [(0, whole - 1), (0, whole - 1)]}
    radii: dict[ir.Value, Fraction] = {model.graph.outputs[0]: Fraction(0)}
    unbounded = False
    for node in reversed(list(model.graph)):
        outputs = [value for value in node.outputs if value in needs]
        if not outputs:
            continue
        unbounded |= node.op_type in _GLOBAL and not _acts_per_pixel(node)
        below = needs[outputs[0]]
        for value in outputs[1:]:
            below = [_union(a, b) for a, b in zip(below, needs[value], strict=True)]
        radius = max(radii[value] for value in outputs)
        for source in node.inputs:
            if source is None or source not in scales:
                continue  # a constant, or computed from constants alone
            above = [_source(node, axis, below[axis]) for axis in (0, 1)]
            known = needs.get(source, above)
            needs[source] = [_union(a, b) for a, b in zip(known, above, strict=True)]
            grown = radius + _reach(node) / scales[source]
            radii[source] = max(radii.get(source, Fraction(0)), grown)
    start = model.graph.inputs[0]
    if unbounded or start not in needs:
        return Field(scale, None, None, multiple)
    halo = max(max(-first, last - (multiple - 1)) for first, last in needs[start])
    return Field(scale, halo, float(radii[start]), multiple)


def _union(a: Interval, b: Interval) -> Interval:
    return min(a[0], b[0]), max(a[1], b[1])


def _acts_per_pixel(node: ir.Node) -> bool:
    """A MatMul or Softmax over channels of a channels-last tensor sees one pixel at a time."""
    if node.op_type == "MatMul":
        return graph.constant(node.inputs[1]) is not None
    if node.op_type in ("Softmax", "LogSoftmax"):
        source = node.inputs[0]
        shape, maker = graph.dims(source), None if source is None else source.producer()
        perm = maker.attributes.get_ints("perm", ()) if maker is not None and maker.op_type == "Transpose" else ()
        last = tuple(perm) == _CHANNELS_LAST
        return shape is not None and len(shape) == 4 and node.attributes.get_int("axis", -1) % 4 == (3 if last else 1)
    if node.op_type in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin") and len(node.inputs) > 1:
        axes = graph.constant(node.inputs[1])
        return axes is not None and list(axes.reshape(-1)) == [1]
    return False


def node_scales(model: ir.Model) -> dict[ir.Value, Fraction]:
    """Pixels of each tensor per input pixel, along a side."""
    scales = {model.graph.inputs[0]: Fraction(1)}
    for node in model.graph:
        sources = [scales[value] for value in node.inputs if value in scales]
        if not sources:
            continue
        factor = _growth(node)
        for value in node.outputs:
            scales[value] = max(sources) * factor
    return scales


def _growth(node: ir.Node) -> Fraction:
    match node.op_type:
        case "DepthToSpace":
            return Fraction(node.attributes["blocksize"].as_int())
        case "SpaceToDepth":
            return Fraction(1, node.attributes["blocksize"].as_int())
        case "Resize":
            scales = graph.constant(node.inputs[2]) if len(node.inputs) > 2 else None
            if scales is not None and scales.size == 4:
                return Fraction(float(scales[2])).limit_denominator(64)
            before, after = (graph.dims(value) for value in (node.inputs[0], node.outputs[0]))
            if before and after and len(before) == 4 and before[2] and after[2]:
                return Fraction(after[2], before[2])
            return Fraction(1)
        case "Conv" | "MaxPool" | "AveragePool":
            return Fraction(1, node.attributes.get_ints("strides", (1, 1))[0])
        case "ConvTranspose":
            return Fraction(node.attributes.get_ints("strides", (1, 1))[0])
    return Fraction(1)


def _window(node: ir.Node, axis: int) -> tuple[int, int, int, int]:
    """(size, stride, pad before, dilation) of a convolution or pooling along ``axis``."""
    attributes = node.attributes
    if node.op_type in ("Conv", "ConvTranspose"):
        weight = graph.constant(node.inputs[1])
        assert weight is not None
        size = weight.shape[2 + axis]
    else:
        size = attributes["kernel_shape"].as_ints()[axis]
    stride = attributes.get_ints("strides", (1, 1))[axis]
    before = attributes.get_ints("pads", (0, 0, 0, 0))[axis]
    return size, stride, before, attributes.get_ints("dilations", (1, 1))[axis]


def _source(node: ir.Node, axis: int, interval: Interval) -> Interval:
    """The input pixels that the output pixels ``interval`` read, along ``axis`` (0 rows, 1 columns)."""
    first, last = interval
    match node.op_type:
        case "Conv" | "MaxPool" | "AveragePool":
            size, stride, before, dilation = _window(node, axis)
            return first * stride - before, last * stride - before + (size - 1) * dilation
        case "ConvTranspose":
            size, stride, before, dilation = _window(node, axis)
            return -((-(first + before - (size - 1) * dilation)) // stride), (last + before) // stride
        case "DepthToSpace":
            factor = node.attributes["blocksize"].as_int()
            return first // factor, last // factor
        case "SpaceToDepth":
            factor = node.attributes["blocksize"].as_int()
            return first * factor, last * factor + factor - 1
        case "Resize":
            return _resize_source(node, first, last)
        case "Pad":
            pads = graph.constant(node.inputs[1])
            before = 0 if pads is None or pads.size != 8 else int(pads[2 + axis])
            return first - before, last - before
    return interval


def _resize_source(node: ir.Node, first: int, last: int) -> Interval:
    factor = float(_growth(node))
    mode = node.attributes.get_string("mode", "nearest")
    half = "half_pixel" in node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    low, high = (((x + 0.5) / factor - 0.5) if half else x / factor for x in (first, last))
    if mode == "nearest":
        return (first // int(factor), last // int(factor)) if factor >= 1 else (math.floor(low), math.ceil(high))
    beyond = {"linear": 0, "cubic": 1}[mode]
    return math.floor(low) - beyond, math.floor(high) + 1 + beyond


def _reach(node: ir.Node) -> Fraction:
    """Half the window minus one, in pixels of the node's input: what the literature adds up."""
    match node.op_type:
        case "Conv" | "MaxPool" | "AveragePool":
            size, _, _, dilation = _window(node, 0)
            return Fraction((size - 1) * dilation, 2)
        case "ConvTranspose":
            size, stride, _, dilation = _window(node, 0)
            return Fraction((size - 1) * dilation, 2 * stride)
        case "Resize":
            beyond = {"nearest": 0, "linear": 1, "cubic": 2}[node.attributes.get_string("mode", "nearest")]
            return Fraction(beyond, 2)
    return Fraction(0)


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or matrix product with constant weights."""

    kind: str
    """Its ONNX operator."""
    weight: tuple[int, ...]
    """Of a Conv (out, in / group, height, width), of a ConvTranspose (in, out / group, height, width)."""
    scale: Fraction
    """Pixels of its output per input pixel of the network, along a side."""
    macs: Fraction
    """Multiply-accumulates per input pixel of the network."""


def work(model: ir.Model) -> dict[ir.Node, Layer]:
    """Every convolution and matrix product, in order, by the node that does it."""
    scales = node_scales(model)
    found = {}
    for node in model.graph:
        if node.op_type not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        weight = graph.constant(_levels(node.inputs[1]))
        if weight is None:
            continue
        # a transposed convolution spends its taps once per input pixel, the others once per output pixel
        where = node.inputs[0] if node.op_type == "ConvTranspose" else node.outputs[0]
        if where is not None and where in scales:
            macs = int(np.prod(weight.shape)) * scales[where] ** 2
            found[node] = Layer(node.op_type, weight.shape, scales[node.outputs[0]], macs)
    return found


def _levels(value: ir.Value | None) -> ir.Value | None:
    """The integers behind weights that are dequantised where they are read; other values as they are."""
    maker = None if value is None else value.producer()
    return maker.inputs[0] if maker is not None and maker.op_type == "DequantizeLinear" else value


def layers(model: ir.Model) -> list[Layer]:
    """Every convolution and matrix product, in order."""
    return list(work(model).values())


def macs_per_pixel(model: ir.Model) -> float:
    """Multiply-accumulates of all convolutions and matrix products, per input pixel."""
    return float(sum(layer.macs for layer in layers(model)))

"""The precision of a plan's weights and activations."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir

PRECISIONS = ("fp32", "fp16", "int8")
LARGEST = float(np.finfo(np.float16).max)
"""Of float16."""
_SINGLE = float(np.finfo(np.float32).max)


def to_fp32(model: ir.Model) -> bool:
    """Weights and activations of other float types (a mixed-precision model, a half-precision export) become float32.

    Returns whether there were any. Input and output are float32 already.
    """
    import onnx_ir as ir

    single = ir.DataType.FLOAT
    others = {ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
    graph.tidy(model)
    found = False
    for value in list(model.graph.initializers.values()):
        array = graph.constant(value)
        if array is not None and value.dtype in others:
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
            value.dtype, found = single, True
    for node in list(model.graph):
        for value in node.outputs:
            if value.dtype in others:
                value.dtype = single
        if node.op_type == "Cast" and node.attributes["to"].as_int() in {int(kind) for kind in others | {single}}:
            source = node.inputs[0]
            assert source is not None
            if source.dtype != single:
                node.attributes["to"] = ir.AttrInt64("to", int(single))
                continue
            found = found or node.attributes["to"].as_int() != int(single)
            made = node.outputs[0]
            is_output, name = made in model.graph.outputs, made.name
            made.replace_all_uses_with(source, replace_graph_outputs=True)
            model.graph.remove(node, safe=True)
            if is_output:  # which is read by its name
                source.name = name
    return found


def to_fp16(
    model: ir.Model, *, float32: Collection[ir.Node] = (), io_type: ir.DataType | None = None
) -> tuple[ir.Node, ...]:
    """Weights and activations become float16, with casts where a float32 value meets a float16 one.

    float32: nodes that stay as they are. ends: type of the network's input and output, FLOAT (None) or FLOAT16.
    Returns the nodes that compute in float32 afterwards; those that have float outputs only (a Cast from integers)
    are among them.

    Raises ModelError where a weight that is to become float16 is beyond its range.
    """
    import onnx_ir as ir

    half, single = ir.DataType.FLOAT16, ir.DataType.FLOAT
    io_type = io_type or single
    source, result = model.graph.inputs[0], model.graph.outputs[0]
    stay = [node for node in model.graph if node in set(float32) or not can_be_half(node)]
    kept = set(stay)
    nodes = list(model.graph)
    source.dtype = io_type
    for node in nodes:
        if node not in kept:
            for made in node.outputs:
                if made.dtype == single:
                    made.dtype = half
    others: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}  # a value in its other type, made when first read in it
    for node in nodes:
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype not in (half, single) or node.op_type in ("Shape", "Size"):
                continue
            wanted = single if node in kept or index in _float32_inputs(node) else half
            if value.dtype == wanted:
                continue
            if (value, wanted) not in others:
                weight = value.is_initializer()
                others[value, wanted] = (
                    _half_weight(model, value) if weight else _cast(model, value, wanted, before=node)
                )
            node.replace_input_with(index, others[value, wanted])
    if result.dtype != io_type:
        model.graph.outputs[0] = value = _cast(model, result, io_type, before=None)
        value.name, result.name = result.name, f"{result.name}.inside"
    graph.tidy(model)
    return tuple(stay)


def is_single(value: ir.Value | None) -> bool:
    """Whether `value` is a float32 tensor."""
    import onnx_ir as ir

    return value is not None and value.dtype == ir.DataType.FLOAT


def half_inputs(node: ir.Node) -> list[ir.Value]:
    """Float32 tensors that `node` reads and could as well read in float16, weights included."""
    wide = _float32_inputs(node)
    return [value for index, value in enumerate(node.inputs) if value and is_single(value) and index not in wide]


def floats(node: ir.Node) -> list[ir.Value]:
    """Float32 tensors that `node` gives, and those of `half_inputs`."""
    return [*half_inputs(node), *(value for value in node.outputs if is_single(value))]


def can_be_half(node: ir.Node) -> bool:
    """False for what makes floats of no floats, or makes none: there is nothing to be gained."""
    return bool(half_inputs(node)) and any(is_single(value) for value in node.outputs) and node.op_type != "Cast"


def _float32_inputs(node: ir.Node) -> tuple[int, ...]:
    """Inputs that ONNX wants in float32 whatever the data: roi and scales of Resize."""
    return (1, 2) if node.op_type == "Resize" else ()


def _half_weight(model: ir.Model, value: ir.Value) -> ir.Value:
    array = graph.constant(value)
    assert array is not None
    if np.abs(array).max(initial=0) > LARGEST:
        raise ModelError(f"weight {value.name} is beyond float16's {LARGEST:.0f}: build with --precision fp32")
    return graph.add_initializer(model.graph, f"{value.name}.fp16", array.astype(np.float16))


def _cast(model: ir.Model, value: ir.Value, kind: ir.DataType, *, before: ir.Node | None) -> ir.Value:
    """`value` in the other float type; `before` None puts the cast at the network's end."""
    import onnx_ir as ir

    def put(node: ir.Node) -> None:
        if before is None:
            model.graph.append(node)
        else:
            model.graph.insert_before(before, node)

    producer = value.producer()
    if kind == ir.DataType.FLOAT16 and producer is not None and producer.op_type in ("Conv", "ConvTranspose"):
        # TensorRT-RTX 1.7 turns a convolution between two casts into one in float16, weights beyond float16's range
        # included. It leaves one alone that has something else behind it: a clip to all that float32 has.
        limits = [
            graph.add_initializer(model.graph, f"{value.name}.{side}", np.float32(sign * _SINGLE))
            for side, sign in (("low", -1), ("high", 1))
        ]
        clip = ir.node("Clip", [value, *limits])
        clip.outputs[0].name = clip.name = f"{value.name}.wide"
        clip.outputs[0].dtype, clip.outputs[0].shape = ir.DataType.FLOAT, value.shape
        put(clip)
        source = clip.outputs[0]
    else:
        source = value
    cast = ir.node("Cast", [source], {"to": int(kind)})
    suffix = "fp16" if kind == ir.DataType.FLOAT16 else "fp32"
    cast.outputs[0].name = cast.name = f"{value.name}.{suffix}"
    cast.outputs[0].dtype, cast.outputs[0].shape = kind, value.shape
    put(cast)
    return cast.outputs[0]

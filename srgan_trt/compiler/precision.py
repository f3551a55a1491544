"""The precision of a plan's weights and activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir

PRECISIONS = ("fp32", "fp16")
_LARGEST = float(np.finfo(np.float16).max)


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
            node.outputs[0].replace_all_uses_with(source, replace_graph_outputs=True)
            model.graph.remove(node, safe=True)
    return found


def to_fp16(model: ir.Model) -> None:
    """Weights and activations become float16; input and output stay float32, with a cast at each end.

    Raises ModelError where a weight is beyond float16's range.
    """
    import onnx_ir as ir

    half, single = ir.DataType.FLOAT16, ir.DataType.FLOAT
    keep = {node.inputs[index] for node in model.graph for index in _float32_inputs(node) if index < len(node.inputs)}
    for value in list(model.graph.initializers.values()):
        array = graph.constant(value)
        if array is None or array.dtype != np.float32 or value in keep:
            continue
        if np.abs(array).max(initial=0) > _LARGEST:
            raise ModelError(f"weight {value.name} is beyond float16's {_LARGEST:.0f}: build with --precision fp32")
        value.const_value = ir.tensor(array.astype(np.float16), name=value.name)
        value.dtype = half
    for node in model.graph:
        for value in node.outputs:
            if value.dtype == single:
                value.dtype = half
    _cast_ends(model, half, single)


def _float32_inputs(node: ir.Node) -> tuple[int, ...]:
    """Inputs that ONNX wants in float32 whatever the data: roi and scales of Resize."""
    return (1, 2) if node.op_type == "Resize" else ()


def _cast_ends(model: ir.Model, half: ir.DataType, single: ir.DataType) -> None:
    import onnx_ir as ir

    source, result = model.graph.inputs[0], model.graph.outputs[0]
    entry = ir.node("Cast", [source], {"to": int(half)})
    readers = [(use.node, use.idx) for use in source.uses() if use.node is not entry]
    entry.outputs[0].name = f"{graph.INPUT}.fp16"
    entry.outputs[0].dtype, entry.outputs[0].shape = half, source.shape
    for node, index in readers:
        node.replace_input_with(index, entry.outputs[0])
    model.graph.insert_before(model.graph[0], entry)
    leave = ir.node("Cast", [result], {"to": int(single)})
    leave.outputs[0].dtype, leave.outputs[0].shape = single, result.shape
    leave.outputs[0].name, result.name = result.name, f"{graph.OUTPUT}.fp16"
    result.dtype = half
    model.graph.append(leave)
    model.graph.outputs[0] = leave.outputs[0]

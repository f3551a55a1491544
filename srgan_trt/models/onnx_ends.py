"""The ends of an ONNX network in float32, whatever type of pixels its file takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ModelError
from .onnx_graph import rename

if TYPE_CHECKING:
    import onnx

_SAME_VALUES = ("Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze")


def float_ends(model: onnx.ModelProto, name: str) -> list[str]:
    """Makes the model's input and output float32, in place; returns notes of what was changed.

    Halves are cast at the ends. uint8 has no arithmetic in ONNX: the casts from and to it go instead, and
    values keep their fractions. Raises ModelError for other types.
    """
    from onnx import TensorProto, helper

    constants = {tensor.name for tensor in model.graph.initializer}
    source = next(value for value in model.graph.input if value.name not in constants)
    notes = []
    for value, verb in ((source, "takes"), (model.graph.output[0], "gives")):
        kind = value.type.tensor_type.elem_type
        if kind == TensorProto.FLOAT:
            continue
        shown = TensorProto.DataType.Name(kind).lower() if kind else "no tensor"
        inner = f"{value.name}_{shown}"
        if kind in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            rename(model.graph, value.name, inner)
            if value is source:
                model.graph.node.insert(0, helper.make_node("Cast", [value.name], [inner], to=kind))
            else:
                model.graph.node.append(helper.make_node("Cast", [inner], [value.name], to=TensorProto.FLOAT))
        elif kind == TensorProto.UINT8:
            if value is not source:
                _end_in_float(model.graph, value.name, name)
        else:
            raise ModelError(f"{name} {verb} {shown} pixels: only float32, float16 and uint8 are supported")
        value.type.tensor_type.elem_type = TensorProto.FLOAT
        notes.append(f"it {verb} {shown} pixels: float32 here")
    return notes


def _end_in_float(graph: onnx.GraphProto, output: str, name: str) -> None:
    from onnx import TensorProto

    producers = {tensor: node for node in graph.node for tensor in node.output}
    node = producers.get(output)
    while node is not None and node.op_type in _SAME_VALUES:
        node = producers.get(node.input[0])
    if node is None or node.op_type != "Cast":
        raise ModelError(f"{name} gives uint8 pixels that no Cast makes: export it with float pixels")
    next(attribute for attribute in node.attribute if attribute.name == "to").i = TensorProto.FLOAT

"""A network in float16, emulated: rounded values in float32 arithmetic, for onnxruntime's CPU kernels have hardly any
float16."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import graph
from .half_sums import half_sums
from .precision import can_be_half, floats, half_inputs, is_single
from .reference import Floats

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def rounded_network(
    model: ir.Model, float32: Collection[str], *, fp16_io: bool, chunk: int | None = None
) -> onnx.ModelProto:
    """The network with float16's rounding, in float32 arithmetic, but for the nodes of these names; chunk: see
    half_sums, None for sums in float32.

    onnxruntime's CPU kernels have hardly any float16: it would run the float16 network in float32 and leave out the
    rounding between two nodes.
    """
    emulation = Emulation(model, chunk=chunk)
    nodes: list[onnx.NodeProto] = []
    for node in emulation.nodes:
        nodes += emulation.rounded_node(node) if node.name in emulation.halvable - set(float32) else [node]
    result = emulation.result
    if not fp16_io:
        return emulation.model(nodes, [result])
    entry = f"{emulation.source}.half"
    for node in nodes:
        node.input[:] = [entry if name == emulation.source else name for name in node.input]
    return emulation.model(
        [*_round(emulation.source, entry), *nodes, *_round(result, f"{result}.end")], [f"{result}.end"]
    )


class Emulation:
    """The parts of which a network with rounded values is put together."""

    def __init__(self, model: ir.Model, *, chunk: int | None = None) -> None:
        """chunk: products that convolutions add up before they round to float16; None for sums in float32."""
        self._chunk = chunk
        self._proto = graph.to_proto(model)
        self.nodes = list(self._proto.graph.node)
        self.source, self.result = self._proto.graph.input[0].name, self._proto.graph.output[0].name
        self.halvable = {node.name or "" for node in model.graph if can_be_half(node)}
        self.floats = {value.name or "": None for node in model.graph for value in floats(node)}
        self.weights = {
            value.name or "": array
            for value in model.graph.initializers.values()
            if is_single(value) and (array := graph.constant(value)) is not None
        }
        self._reads = {node.name: [value.name for value in half_inputs(node)] for node in model.graph}
        self._rounded: dict[str, onnx.TensorProto] = {}
        self._rounded_arrays: dict[str, Floats] = {}

    def rounded_node(self, node: onnx.NodeProto, *, suffix: str = "") -> list[onnx.NodeProto]:
        """`node` in float16: rounded values in; rounded values out, under its outputs' names and `suffix`."""
        from onnx import NodeProto

        casts: list[onnx.NodeProto] = []
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{node.name}{suffix}"
        for index, name in enumerate(node.input):
            if name not in self._reads[node.name]:
                continue
            if name in self.weights:
                copy.input[index] = self._rounded_weight(name)
            else:
                copy.input[index] = f"{node.name}{suffix}.{index}.in"
                casts += _round(name, copy.input[index])
        after: list[onnx.NodeProto] = []
        for index, name in enumerate(node.output):
            copy.output[index] = f"{name}{suffix}.out"
            after += _round(copy.output[index], f"{name}{suffix}") if name in self.floats else []
        return [*casts, *self._computed(copy), *after]

    def _computed(self, copy: onnx.NodeProto) -> list[onnx.NodeProto]:
        """`copy`, of rounded values."""
        if self._chunk is None or copy.op_type not in _CONVOLUTIONS or copy.input[1] not in self._rounded_arrays:
            return [copy]
        weight = self._rounded_arrays[copy.input[1]]
        return half_sums(copy, weight, rounded=_round, add=self._constant, chunk=self._chunk) or [copy]

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._rounded.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def _rounded_weight(self, name: str) -> str:
        from onnx import numpy_helper

        rounded = f"{name}.rounded"
        if rounded not in self._rounded:
            with np.errstate(over="ignore"):
                array = self.weights[name].astype(np.float16).astype(np.float32)
            self._rounded[rounded] = numpy_helper.from_array(array, rounded)
            self._rounded_arrays[rounded] = array
        return rounded

    def model(self, nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
        from onnx import ModelProto, TensorProto, helper

        made = ModelProto()
        made.CopyFrom(self._proto)
        del made.graph.node[:], made.graph.output[:], made.graph.value_info[:]
        made.graph.node.extend(nodes)
        made.graph.initializer.extend(self._rounded.values())
        made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
        return made


def _round(source: str, target: str) -> list[onnx.NodeProto]:
    from onnx import TensorProto, helper

    middle = f"{target}.fp16"
    return [
        helper.make_node("Cast", [source], [middle], to=TensorProto.FLOAT16),
        helper.make_node("Cast", [middle], [target], to=TensorProto.FLOAT),
    ]

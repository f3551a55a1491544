"""Writes networks to ONNX node by node: what readers of weights without a framework have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

_OPSET = 18
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class Blob:
    """What flows between layers: its name in the ONNX graph and its shape."""

    tensor: str
    channels: int
    height: int
    width: int

    @property
    def shown(self) -> str:
        return f"{self.width}x{self.height} with {self.channels} channels"


class NodeWriter:
    """Collects the nodes and constants of a graph."""

    def __init__(self, *, shapes_only: bool = False) -> None:
        """shapes_only: nothing is collected, only names are given."""
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._shapes_only = shapes_only
        self._count = 0

    def constant(self, array: np.ndarray[Any, Any], *, name: str | None = None) -> str:
        """The name of a new constant, None for the next of its kind."""
        name = name or self._name("c")
        if not self._shapes_only:
            from onnx import numpy_helper

            self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """The name of what a new node gives."""
        output = output or self._name("t")
        if not self._shapes_only:
            from onnx import helper

            self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def model(self, result: Blob, height: int, width: int, *, name: str, channels: int = 3) -> onnx.ModelProto:
        """The graph from "input", a picture of that size, to "output", which is ``result``. Opset 18, checked."""
        import onnx
        from onnx import TensorProto, helper

        self.node("Identity", result.tensor, output="output")
        shapes = [
            ("input", [1, channels, height, width]),
            ("output", [1, result.channels, result.height, result.width]),
        ]
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, shape) for end, shape in shapes]
        graph = helper.make_graph(self.nodes, name, ends[:1], ends[1:], self.initializers)
        opsets = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="srgan-trt")
        onnx.checker.check_model(model)
        return model

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}{self._count}"

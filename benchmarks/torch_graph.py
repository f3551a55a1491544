"""An ONNX network of convolutions as a PyTorch module: node by node, with PyTorch's own operations.

Only what the exports of benchmarks/generators.py hold; onnx2torch would know more, but asks for torchvision, of which
there is no build without CUDA that goes with PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional


class GraphModule(nn.Module):  # type: ignore[misc, unused-ignore]
    """Takes and gives what the graph's only input and output are."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Raises ValueError for an operation that is not known here."""
        super().__init__()
        graph = model.graph
        self._input, self._output = graph.input[0].name, graph.output[0].name
        self._constants: dict[str, str] = {}
        for number, tensor in enumerate(graph.initializer):
            value = torch.from_numpy(numpy_helper.to_array(tensor).copy())
            self.register_buffer(f"constant{number}", value)
            self._constants[tensor.name] = f"constant{number}"
        self._steps: list[tuple[Callable[..., Tensor], list[str], str]] = []
        for node in graph.node:
            if node.op_type not in _OPERATIONS:
                raise ValueError(f"no PyTorch for the node {node.op_type} {node.name}")
            attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
            self._steps.append((_OPERATIONS[node.op_type](attributes), list(node.input), node.output[0]))

    def forward(self, batch: Tensor) -> Tensor:
        values = {name: getattr(self, buffer) for name, buffer in self._constants.items()}
        values[self._input] = batch
        for function, inputs, output in self._steps:
            values[output] = function(*(values[name] for name in inputs))
        return values[self._output]


Attributes = dict[str, Any]


def _conv(attributes: Attributes) -> Callable[..., Tensor]:
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    stride, groups = tuple(attributes.get("strides", (1, 1))), attributes.get("group", 1)
    even = (top, left) == (bottom, right)

    def apply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not even:
            x = functional.pad(x, (left, right, top, bottom))
        return functional.conv2d(x, weight, bias, stride, (top, left) if even else 0, groups=groups)

    return apply


def _batch_norm(attributes: Attributes) -> Callable[..., Tensor]:
    epsilon = attributes.get("epsilon", 1e-5)

    def apply(x: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, shift, eps=epsilon)

    return apply


def _depth_to_space(attributes: Attributes) -> Callable[..., Tensor]:
    block, rows_first = attributes["blocksize"], attributes.get("mode", b"DCR") == b"DCR"

    def apply(x: Tensor) -> Tensor:
        if not rows_first:
            return functional.pixel_shuffle(x, block)
        count, channels, height, width = x.shape
        parts = x.reshape(count, block, block, channels // block**2, height, width).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(count, channels // block**2, height * block, width * block)

    return apply


def _prelu(_: Attributes) -> Callable[..., Tensor]:
    return lambda x, slope: functional.prelu(x, slope.reshape(-1))


def _plain(function: Callable[..., Tensor]) -> Callable[[Attributes], Callable[..., Tensor]]:
    return lambda _: function


_OPERATIONS: dict[str, Callable[[Attributes], Callable[..., Tensor]]] = {
    "Add": _plain(torch.add),
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "DepthToSpace": _depth_to_space,
    "Mul": _plain(torch.mul),
    "PRelu": _prelu,
    "Relu": _plain(torch.relu),
    "Reshape": _plain(lambda x, shape: x.reshape(shape.tolist())),
    "Tanh": _plain(torch.tanh),
    "Tile": _plain(lambda x, repeats: x.repeat(repeats.tolist())),
    "Transpose": lambda attributes: lambda x: x.permute(attributes["perm"]),
    "Unsqueeze": _plain(lambda x, axes: x.reshape(_unsqueezed(list(x.shape), axes.tolist()))),
}


def _unsqueezed(shape: list[int], axes: list[int]) -> list[int]:
    for axis in sorted(axes):
        shape.insert(axis, 1)
    return shape

"""Small static ONNX graphs for the compiler's tests, and the oracle that says what they compute."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler import graph
from srgan_trt.compiler.reference import ReferenceRunner

Floats = NDArray[np.float32]


class Network:
    """Builds a chain of nodes; each method returns the name of its output."""

    def __init__(self, *, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names = (f"v{i}" for i in itertools.count())

    def constant(self, array: NDArray[np.generic]) -> str:
        name = next(self._names)
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = next(self._names)
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def conv(self, x: str, channels: int, out: int, size: int = 3, **attributes: object) -> str:
        """A size-keeping convolution with random weights unless ``pads`` say otherwise."""
        weight = self.random.normal(0, (channels * size * size) ** -0.5, (out, channels, size, size))
        bias = self.random.normal(0, 0.1, out)
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [(size - 1) // 2, (size - 1) // 2, size // 2, size // 2])
        return self.node(
            "Conv", x, self.constant(weight.astype(np.float32)), self.constant(bias.astype(np.float32)), **attributes
        )

    def vector(self, channels: int, *, low: float = 0.5, high: float = 1.5) -> str:
        return self.constant(self.random.uniform(low, high, (1, channels, 1, 1)).astype(np.float32))

    def nearest(self, x: str, factor: int) -> str:
        scales = self.constant(np.array([1, 1, factor, factor], np.float32))
        return self.node("Resize", x, "", scales, **graph.NEAREST)

    def proto(self, output: str, shape: Sequence[int], *, out_shape: Sequence[int] | None = None) -> onnx.ModelProto:
        """The model from "input" of ``shape`` to ``output``, renamed "output"."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name == output:
                        names[index] = "output"
        made = helper.make_graph(
            self.nodes,
            "test",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, out_shape)],
            self.constants,
        )
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model)

    def model(self, output: str, shape: Sequence[int]) -> ir.Model:
        return graph.from_proto(self.proto(output, shape))


def run(model: ir.Model, batch: Floats) -> Floats:
    return ReferenceRunner(graph.to_proto(model))(batch)


def picture(*shape: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def kinds(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def save_sharpener(path: Path) -> Path:
    """x2: every pixel repeated, sharpened a little by a residual branch of two convolutions."""
    net = Network(seed=4)
    random = np.random.default_rng(5)
    wide = net.node("PRelu", net.conv("input", 3, 32, 5), net.constant(np.full((32, 1, 1), 0.2, np.float32)))
    inner = net.node("Relu", net.conv(wide, 32, 32))
    branch = net.node("Add", net.conv(inner, 32, 32), wide)
    weight = random.normal(0, 0.003, (12, 32, 3, 3)).astype(np.float32)
    detail = net.node("Conv", branch, net.constant(weight), net.constant(np.zeros(12, np.float32)), pads=[1, 1, 1, 1])
    repeat = np.tile(np.eye(3, dtype=np.float32), (4, 1))[:, :, None, None]
    total = net.node("Add", detail, net.node("Conv", "input", net.constant(repeat)))
    out = net.node("DepthToSpace", total, blocksize=2, mode="DCR")
    shapes: list[Any] = ["batch", 3, "height", "width"]
    onnx.save(net.proto(out, shapes, out_shape=["batch", 3, "out_height", "out_width"]), path)
    return path

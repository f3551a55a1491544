"""The networks that speed is measured on, as plans with random weights: speed needs no trained ones.

`paper`: SRResNet of the SRGAN paper (Ledig et al., CVPR 2017, section 3.2, figure 4), batch norms folded.
`seed`: the generator of the package SuperResolution-GANs 0.0.3, twice as wide after the trunk.
Both as the compiler writes them: sub-pixel convolutions, and the 9x9 tail as 5x5 on half-resolution maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.spec import NetworkSpec


@dataclass
class _Graph:
    """Nodes in order; each method appends one layer to ``last`` and returns its name."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    last: str = "input"
    macs: float = 0.0
    resolution: int = 1

    def _constant(self, array: NDArray[np.float64]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        self.last = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))
        return self.last

    def conv(self, channels_in: int, channels: int, kernel: int, pads: tuple[int, int, int, int] | None = None) -> str:
        half = kernel // 2
        fan_in = channels_in * kernel * kernel
        self.macs += fan_in * channels * self.resolution**2
        weights = self.rng.normal(0, (1.0 / fan_in) ** 0.5, (channels, channels_in, kernel, kernel))
        inputs = [self.last, self._constant(weights), self._constant(self.rng.normal(0, 0.02, channels))]
        return self.add("Conv", inputs, kernel_shape=[kernel] * 2, pads=list(pads or (half,) * 4))

    def prelu(self, channels: int) -> str:
        return self.add("PRelu", [self.last, self._constant(self.rng.uniform(0.1, 0.4, (channels, 1, 1)))])

    def relu(self) -> str:
        return self.add("Relu", [self.last])

    def residual(self, skip: str) -> str:
        return self.add("Add", [self.last, skip])

    def shuffle(self, by: int = 2) -> str:
        self.resolution *= by
        return self.add("DepthToSpace", [self.last], blocksize=by, mode="DCR")

    def save(self, path: Path, name: str, halo: int, default_halo: int) -> Plan:
        self.add("Tanh", [self.last])
        self.nodes[-1].output[0] = "output"
        shapes: tuple[list[Any], list[Any]] = (
            ["batch", 3, "height", "width"],
            ["batch", 12, "out_height", "out_width"],
        )
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shapes[0])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, shapes[1])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        spec = NetworkSpec(
            name=name, scale=4, input_range=(0.0, 1.0), output_range=(-1.0, 1.0), shuffle=2, halo=halo, radius=None,
            default_halo=default_halo, fixed_shape=None, multiple=1, precision="fp32", macs=self.macs,
            source_hash="0" * 64,
        )  # fmt: skip
        return save_plan(model, spec, path)


def paper(path: Path, *, filters: int = 64, blocks: int = 16) -> Plan:
    """64 filters, 16 residual blocks, PReLU; x4 in two sub-pixel steps, the second left to `unpack`."""
    graph = _Graph(np.random.default_rng(1))
    graph.conv(3, filters, 9)
    trunk = graph.prelu(filters)
    for _ in range(blocks):
        skip = graph.last
        graph.conv(filters, filters, 3)
        graph.prelu(filters)
        graph.conv(filters, filters, 3)
        graph.residual(skip)
    graph.conv(filters, filters, 3)
    graph.residual(trunk)
    graph.conv(filters, 4 * filters, 3)
    graph.shuffle()
    graph.prelu(filters)
    graph.conv(filters, 4 * filters, 3)
    graph.prelu(4 * filters)
    graph.conv(4 * filters, 12, 5)
    return graph.save(path, "paper", halo=41, default_halo=16)


def seed(path: Path, *, filters: int = 64, wide: int = 256, blocks: int = 16) -> Plan:
    """Nearest x2 then conv3x3 as 2x2 sub-pixel convolutions on a padded map; 1024 channels at double resolution."""
    graph = _Graph(np.random.default_rng(2))
    graph.conv(3, filters, 9)
    trunk = graph.relu()
    for _ in range(blocks):
        skip = graph.last
        graph.conv(filters, filters, 3)
        graph.relu()
        graph.conv(filters, filters, 3)
        graph.residual(skip)
    graph.conv(filters, filters, 3)
    graph.residual(trunk)
    graph.conv(filters, 4 * wide, 2, (0, 0, 1, 1))
    graph.shuffle()
    graph.relu()
    graph.conv(wide, 4 * wide, 2, (0, 0, 1, 1))
    graph.relu()
    graph.conv(4 * wide, 12, 5)
    return graph.save(path, "seed", halo=41, default_halo=16)

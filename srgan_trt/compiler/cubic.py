"""Cubic enlargement as TensorFlow does it, in nodes that every runtime computes alike.

``exclude_outside`` drops the weights that fall outside the picture and scales up the rest. Runtimes differ there (one
clamps the border instead), and a bicubic skip around a generator shows it. It is the same as a convolution of the
zero-padded picture divided by the same convolution of ones: r*r phases of a 5x5 kernel, and a shuffle.
Weights: Keys, "Cubic convolution interpolation for digital image processing", 1981, with the node's own coefficient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir


def lower_cubic(model: ir.Model) -> int:
    """Replaces every whole cubic enlargement that excludes what is outside; returns how many."""
    return graph.apply(model, graph.rule(CubicToPhases()))


def phase_weights(factor: int, coefficient: float) -> NDArray[np.float64]:
    """(factor, 5): the weights of source pixels -2..2 for each phase of an enlargement, half-pixel centres."""
    weights = np.zeros((factor, 5))
    for phase in range(factor):
        position = (phase + 0.5) / factor - 0.5
        first = int(np.floor(position)) - 1
        for source in range(first, first + 4):
            weights[phase, source + 2] = _keys(abs(position - source), coefficient)
    return weights


def _keys(distance: float, a: float) -> float:
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance**2 + 1
    return ((distance - 5) * distance + 8) * distance * a - 4 * a


class CubicToPhases(RewriteRuleClassBase):
    """Resize cubic, half-pixel, outside excluded: shuffle(conv(x)) / shuffle(conv(1))."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Resize(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, **_: Any) -> bool:
        node = y.producer()
        assert node is not None
        attributes = node.attributes
        factor = graph.enlargement(node)
        return (
            attributes.get_string("mode", "nearest") == "cubic"
            and attributes.get_string("coordinate_transformation_mode", "half_pixel") == "half_pixel"
            and attributes.get_int("exclude_outside", 0) == 1
            and factor is not None
            and factor > 1
            and (graph.dims(y) or [None, None])[1] is not None
        )

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        node, shape = y.producer(), graph.dims(y)
        assert node is not None
        assert shape is not None
        factor, channels = graph.enlargement(node), shape[1]
        assert factor is not None
        assert channels is not None
        line = phase_weights(factor, node.attributes.get_float("cubic_coeff_a", -0.75))
        kernel = np.einsum("ai,bj->abij", line, line).reshape(factor * factor, 1, 5, 5).astype(np.float32)
        settings = {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2], "strides": [1, 1]}
        # channel-major phases: a depthwise convolution gives them, and CRD shuffles them
        phases = op.Conv(x, graph.emit_constant(op, np.tile(kernel, (channels, 1, 1, 1))), group=channels, **settings)
        first = op.Slice(x, *(graph.emit_constant(op, np.array([value], np.int64)) for value in (0, 1, 1)))
        zero, one = (graph.emit_constant(op, np.array(value, np.float32)) for value in (0, 1))
        ones = op.Add(op.Mul(first, zero), one)
        shares = op.Conv(ones, graph.emit_constant(op, kernel), **settings)
        value: ir.Value = op.Div(
            op.DepthToSpace(phases, blocksize=factor, mode="CRD"), op.DepthToSpace(shares, blocksize=factor, mode="CRD")
        )
        return value

"""Per-channel scales and shifts go into convolutions: batch norms, and what exporters made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnxscript.rewriter import rules
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir


def fold_batch_norm(model: ir.Model) -> int:
    """Folds every per-channel scale and shift that a convolution can take; returns how many.

    A batch norm after a convolution goes into it whole. One after an activation (conv, ReLU, BN, conv) gives its
    scale to the next convolution; its shift stays an add, because the zeros that pad the border are not shifted:
    ``conv(W, s*x + t) = conv(s*W, x + t/s)`` exactly, padding included.
    """
    common = rules.common
    done = graph.apply(model, common.fuse_batchnorm_into_conv_rule, common.fuse_batchnorm_into_conv_transpose_rule)
    done += graph.apply(model, graph.rule(BatchNormAsAffine()))
    done += graph.apply(model, *(graph.rule(AffineAfterConv(kind)) for kind in ("Mul", "Add")), commute=True)
    done += graph.apply(model, graph.rule(ScaleIntoNextConv()), graph.rule(ShiftedScaleIntoNextConv()), commute=True)
    return done


class BatchNormAsAffine(RewriteRuleClassBase):
    """A batch norm that no convolution precedes, as a scale and a shift."""

    def pattern(self, op: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> Any:
        return op.BatchNormalization(x, gamma, beta, mean, var, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, gamma: ir.Value, beta: ir.Value, mean: ir.Value, var: ir.Value,
              **_: Any) -> bool:  # fmt: skip
        return all(graph.constant(value) is not None for value in (gamma, beta, mean, var))

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, gamma: ir.Value, beta: ir.Value, mean: ir.Value,
                var: ir.Value, **_: Any) -> ir.Value:  # fmt: skip
        node = y.producer()
        assert node is not None
        epsilon = node.attributes.get_float("epsilon", 1e-5)
        g, b, m, v = (np.asarray(graph.constant(value), np.float64) for value in (gamma, beta, mean, var))
        scale = g / np.sqrt(v + epsilon)
        scaled = op.Mul(x, graph.emit_constant(op, graph.column(scale)[None]))
        value: ir.Value = op.Add(scaled, graph.emit_constant(op, graph.column(b - m * scale)[None]))
        return value


class AffineAfterConv(RewriteRuleClassBase):
    """A per-channel scale or shift right after a convolution is part of it."""

    def __init__(self, kind: str) -> None:
        super().__init__(name=f"Conv{kind}")
        self._kind = kind

    def pattern(self, op: Any, x: Any, c: Any) -> Any:
        inner = op.Conv(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["inner"])
        return getattr(op, self._kind)(inner, c)

    def check(self, context: Any, inner: ir.Value, c: ir.Value, **_: Any) -> bool:
        node = inner.producer()
        assert node is not None
        return graph.convolution(node) is not None and graph.per_channel(graph.constant(c)) is not None

    def rewrite(self, op: Any, x: ir.Value, inner: ir.Value, c: ir.Value, **_: Any) -> ir.Value:
        node = inner.producer()
        assert node is not None
        facts, vector = graph.convolution(node), graph.per_channel(graph.constant(c))
        assert facts is not None
        assert vector is not None
        bias = np.zeros(facts.weight.shape[0], np.float32) if facts.bias is None else facts.bias
        weight = facts.weight
        if self._kind == "Mul":
            weight, bias = weight * vector.reshape(-1, 1, 1, 1), bias * vector
        else:
            bias = bias + vector
        value: ir.Value = op.Conv(
            x, graph.emit_constant(op, weight), graph.emit_constant(op, bias), **dict(node.attributes.items())
        )
        return value


class ScaleIntoNextConv(RewriteRuleClassBase):
    """conv(W, s*x) = conv(s*W, x)."""

    def pattern(self, op: Any, x: Any, s: Any) -> Any:
        return op.Conv(op.Mul(x, s), _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, s: ir.Value, **_: Any) -> bool:
        return _next_conv(y, s) is not None

    def rewrite(self, op: Any, x: ir.Value, s: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        return _scaled(op, x, y, s)


class ShiftedScaleIntoNextConv(RewriteRuleClassBase):
    """conv(W, s*x + t) = conv(s*W, x + t/s), where no s is zero."""

    def pattern(self, op: Any, x: Any, s: Any, t: Any) -> Any:
        shifted = op.Add(op.Mul(x, s), t)
        return op.Conv(shifted, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, s: ir.Value, t: ir.Value, **_: Any) -> bool:
        scale, shift = _next_conv(y, s), graph.per_channel(graph.constant(t))
        # a scale near zero would blow the shift up: leave such a channel's batch norm as it is
        return scale is not None and shift is not None and float(np.abs(scale).min()) > 1e-6

    def rewrite(self, op: Any, x: ir.Value, s: ir.Value, t: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        scale, shift = graph.per_channel(graph.constant(s)), graph.per_channel(graph.constant(t))
        assert scale is not None
        assert shift is not None
        moved = op.Add(x, graph.emit_constant(op, graph.column(shift / scale)[None]))
        return _scaled(op, moved, y, s)


def _next_conv(y: ir.Value, s: ir.Value) -> graph.Floats | None:
    node = y.producer()
    assert node is not None
    facts, scale = graph.convolution(node), graph.per_channel(graph.constant(s))
    if facts is None or scale is None or facts.group not in (1, facts.weight.shape[0]):
        return None
    return scale


def _scaled(op: Any, x: ir.Value, y: ir.Value, s: ir.Value) -> ir.Value:
    """The convolution behind ``y`` on ``x``, its weights multiplied by ``s`` per input channel."""
    node = y.producer()
    assert node is not None
    facts, scale = graph.convolution(node), graph.per_channel(graph.constant(s))
    assert facts is not None
    assert scale is not None
    # a depthwise convolution's input channel is its output channel
    shape = (1, -1, 1, 1) if facts.group == 1 else (-1, 1, 1, 1)
    weight = graph.emit_constant(op, facts.weight * scale.reshape(shape))
    value: ir.Value = op.Conv(x, weight, *node.inputs[2:], **dict(node.attributes.items()))
    return value

"""Rewrites 3 and 4: the last shuffle sinks through the tail of the network and out of the graph.

Activations and per-channel constants commute with a shuffle; a k x k convolution after a shuffle by r is a smaller
one before it (``phases.commute_with_shuffle``): the 9x9, 64 -> 3 that ends an SRGAN becomes 5x5, 256 -> 12 at half the
resolution. The network then *ends* in a shuffle, which the unpack kernel does for nothing while it stores pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph, polyphase
from .lowerings import emit, of_transposed

if TYPE_CHECKING:
    import onnx_ir as ir

_BINARY = ("PRelu", "Mul", "Add", "Sub", "Div")
_LANES = 16
"""Output channels that matrix units compute at a time: a convolution to 3 channels costs as much as one to 16."""


def sink_shuffles(model: ir.Model) -> int:
    """Moves shuffles towards the output through elementwise nodes, and through convolutions where that pays."""
    return graph.apply(
        model,
        *(graph.rule(ShuffleThenUnary(kind)) for kind in (*graph.UNARY, "Clip")),
        graph.rule(ShufflesThenAdd()),
        *(graph.rule(ShuffleThenConstant(kind)) for kind in _BINARY),
        graph.rule(ShuffleThenConv()),
        graph.rule(TransposedTail()),
    )


def detach_shuffle(model: ir.Model, *, scale: int) -> int:
    """Takes the shuffle that ends the graph, which enlarges by ``scale``, off it; returns its r.

    1 if the graph ends otherwise, or in a shuffle by more than the scale holds: the network made its input smaller.
    """
    output = model.graph.outputs[0]
    node = output.producer()
    if node is None or node.op_type != "DepthToSpace" or output.uses() or not _is_shuffle(node):
        return 1
    source = node.inputs[0]
    if source is None or len(source.uses()) != 1 or source.producer() is None:
        return 1
    factor = node.attributes["blocksize"].as_int()
    if scale % factor:
        return 1
    import onnx_ir as ir

    model.graph.outputs[0] = source
    model.graph.remove(node, safe=True)
    source.name = output.name
    source.type = output.type
    source.shape = ir.Shape(["batch", 3 * factor * factor, "out_height", "out_width"])
    graph.tidy(model)
    return factor


def _is_shuffle(node: ir.Node) -> bool:
    return node.attributes.get_string("mode", "DCR") == "DCR"


class _AfterShuffle(RewriteRuleClassBase):
    """Shared: the pattern is a shuffle by ``r`` (DCR) and one node that alone reads it."""

    @staticmethod
    def factor(shuffled: ir.Value) -> int | None:
        node = shuffled.producer()
        assert node is not None
        return node.attributes["blocksize"].as_int() if _is_shuffle(node) else None


class ShuffleThenUnary(_AfterShuffle):
    """op(shuffle(x)) = shuffle(op(x)), a Clip's bounds being scalars."""

    def __init__(self, kind: str) -> None:
        super().__init__(name=f"ShuffleThen{kind}")
        self._kind = kind

    def pattern(self, op: Any, x: Any) -> Any:
        shuffled = op.DepthToSpace(x, _allow_other_attributes=True, _outputs=["shuffled"])
        return getattr(op, self._kind)(shuffled, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, shuffled: ir.Value, **_: Any) -> bool:
        return self.factor(shuffled) is not None

    def rewrite(self, op: Any, x: ir.Value, shuffled: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        node = y.producer()
        assert node is not None
        moved = getattr(op, self._kind)(x, *node.inputs[1:], **dict(node.attributes.items()))
        value: ir.Value = op.DepthToSpace(moved, blocksize=self.factor(shuffled), mode="DCR")
        return value


class ShuffleThenConstant(ShuffleThenUnary):
    """op(shuffle(x), c) = shuffle(op(x, c repeated for each phase)), c a scalar or one value per channel."""

    def pattern(self, op: Any, x: Any, c: Any) -> Any:
        shuffled = op.DepthToSpace(x, _allow_other_attributes=True, _outputs=["shuffled"])
        return getattr(op, self._kind)(shuffled, c)

    def check(self, context: Any, shuffled: ir.Value, c: ir.Value, **_: Any) -> bool:
        return self.factor(shuffled) is not None and graph.per_channel(graph.constant(c)) is not None

    def rewrite(self, op: Any, x: ir.Value, shuffled: ir.Value, c: ir.Value, **_: Any) -> ir.Value:
        vector, factor = graph.per_channel(graph.constant(c)), self.factor(shuffled)
        assert vector is not None
        assert factor is not None
        if vector.size > 1:
            vector = np.tile(vector, factor * factor)
        moved = getattr(op, self._kind)(x, graph.emit_constant(op, graph.column(vector)))
        value: ir.Value = op.DepthToSpace(moved, blocksize=factor, mode="DCR")
        return value


class ShufflesThenAdd(_AfterShuffle):
    """shuffle(x) + shuffle(y) = shuffle(x + y); one channel (luma) is added to all three of the other, as ONNX does."""

    def pattern(self, op: Any, x: Any, y: Any) -> Any:
        shuffled, other = (
            op.DepthToSpace(value, _allow_other_attributes=True, _outputs=[name])
            for value, name in ((x, "shuffled"), (y, "other"))
        )
        return op.Add(shuffled, other)

    def check(self, context: Any, shuffled: ir.Value, other: ir.Value, **_: Any) -> bool:
        first, second = (self._channels(value) for value in (shuffled, other))
        return self.factor(shuffled) == self.factor(other) is not None and (
            (first == second is not None) or (first == 3 and second == 1)
        )

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, shuffled: ir.Value, other: ir.Value, **_: Any) -> ir.Value:
        factor = self.factor(shuffled)
        assert factor is not None
        if self._channels(other) != self._channels(shuffled):
            y = graph.emit_conv(op, y, np.eye(factor * factor).repeat(3, 0)[:, :, None, None], None, (0, 0, 0, 0))
        value: ir.Value = op.DepthToSpace(op.Add(x, y), blocksize=factor, mode="DCR")
        return value

    @staticmethod
    def _channels(shuffled: ir.Value) -> int | None:
        shape = graph.dims(shuffled)
        return None if shape is None else shape[1]


def _cost(weight: Sequence[int]) -> int:
    """Multiply-accumulates per pixel of a convolution (O, C, k, l), its outputs rounded up to whole lanes."""
    out, channels, height, width = weight
    return -(-out // _LANES) * _LANES * channels * height * width


def _pays(conv: ir.Node, factor: int) -> bool:
    """True if a convolution costs no more before a shuffle by ``factor`` than after it."""
    facts = graph.convolution(conv)
    if facts is None or not facts.keeps_size:
        return False
    moved = polyphase.shape_after_shuffle(facts.weight.shape, factor, facts.pads)
    return _cost(moved) <= factor * factor * _cost(facts.weight.shape)


def would_sink(value: ir.Value, factor: int) -> bool:
    """True if a shuffle by ``factor`` that gave ``value`` would sink through a convolution or to the output."""
    while True:
        if value.is_graph_output():
            return True
        uses = list(value.uses())
        if len(uses) != 1:
            return False
        node = uses[0].node
        if node.op_type == "Conv":
            return _pays(node, factor)
        constant = (
            node.op_type in _BINARY and graph.per_channel(graph.constant(node.inputs[1 - uses[0].idx])) is not None
        )
        if node.op_type not in graph.UNARY and not constant:
            return False
        value = node.outputs[0]


class ShuffleThenConv(_AfterShuffle):
    """conv(shuffle(x)) = shuffle(conv'(x)), where the lanes that conv' fills outweigh its zeros."""

    def pattern(self, op: Any, x: Any) -> Any:
        shuffled = op.DepthToSpace(x, _allow_other_attributes=True, _outputs=["shuffled"])
        return op.Conv(shuffled, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, shuffled: ir.Value, y: ir.Value, **_: Any) -> bool:
        node, factor = y.producer(), self.factor(shuffled)
        assert node is not None
        return factor is not None and _pays(node, factor)

    def rewrite(self, op: Any, x: ir.Value, shuffled: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        node, factor = y.producer(), self.factor(shuffled)
        assert node is not None
        assert factor is not None
        facts = graph.convolution(node)
        assert facts is not None
        kernel, pads = polyphase.commute_with_shuffle(facts.weight, factor, facts.pads)
        bias = None if facts.bias is None else np.tile(facts.bias, factor * factor)
        value: ir.Value = op.DepthToSpace(graph.emit_conv(op, x, kernel, bias, pads), blocksize=factor, mode="DCR")
        return value


class TransposedTail(RewriteRuleClassBase):
    """A transposed convolution to few channels is a convolution to its phases and a shuffle."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.ConvTranspose(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, **_: Any) -> bool:
        node = y.producer()
        assert node is not None
        what = of_transposed(node)
        if what is None:
            return False
        facts = graph.convolution(node)
        assert facts is not None
        channels, out, height, width = facts.weight.shape
        # spread over the output pixels, a transposed convolution costs its taps divided by stride squared
        return _cost(what.kernel.shape) <= _cost((out, channels, height, width))

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        node = y.producer()
        assert node is not None
        what = of_transposed(node)
        assert what is not None
        return emit(op, x, what, "dense")

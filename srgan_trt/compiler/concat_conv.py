"""Rewrite 5: a convolution that reads phases joined side by side becomes a sum of one convolution for each phase.

conv(concat(p, q, ...)) = conv_p(p) + conv_q(q) + ...: the same multiplications, and nothing is joined. One phase at a
time is in memory instead of all of them twice, and each may be in int8 (joined channels may not: int8/activations.py).

Dense blocks (RRDB, RDN) join maps before every convolution. For them the same is a lowering that `tune` tries, not a
rewrite: on two cores of an EPYC (Zen 4, OpenVINO 2026.4.1) it gains 1 to 3 % in bf16 and nothing in fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir

SUMMED = "summed"
"""The lowering whose convolutions over concatenated maps are sums (`sum_concat_convs`); lowerings.py has others."""
_FEWER = 4
"""Times as many channels as the convolution's result has, that each phase has at least: the result is added up once for
each of them."""


def split_concat_convs(model: ir.Model) -> int:
    """Rewrites every size-keeping convolution that alone reads convolutions joined side by side; returns how many."""
    graph.infer_shapes(model)
    return graph.apply(model, graph.rule(JoinedThenConv()))


def sum_concat_convs(model: ir.Model) -> int:
    """Rewrites every size-keeping convolution that reads maps joined side by side, whatever made them, as dense blocks
    do: conv(concat(a, b, ...)) = conv_a(a) + conv_b(b) + .... Returns how many.

    The maps are not copied next to each other, and a processor's library adds each sum up where it stands; but it is
    read and written once for each map. Which is faster is the processor's own affair (compiler/conversion.py).
    """
    graph.infer_shapes(model)
    return graph.apply(model, graph.rule(ConcatThenConv()))


def has_concat_convs(model: ir.Model) -> int:
    """How many convolutions `sum_concat_convs` would rewrite at first; shapes must be known."""
    return sum(_joined_parts(node) is not None for node in model.graph if node.op_type == "Conv")


class ConcatThenConv(RewriteRuleClassBase):
    """Conv of a Concat of maps."""

    def __init__(self) -> None:
        super().__init__(name="ConcatThenConv")

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Conv(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, x: ir.Value, y: ir.Value, **_: Any) -> bool:
        conv = y.producer()
        assert conv is not None
        return _joined_parts(conv) is not None

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        conv = y.producer()
        assert conv is not None
        parts, facts = _joined_parts(conv), graph.convolution(conv)
        assert parts is not None
        assert facts is not None
        return _sum(op, parts, facts)


def _joined_parts(conv: ir.Node) -> list[ir.Value] | None:
    """The maps that ``conv`` reads side by side; None if it does not, or is not size-keeping."""
    source = conv.inputs[0]
    join = None if source is None else source.producer()
    if join is None or join.op_type != "Concat" or join.attributes["axis"].as_int() != 1:
        return None
    facts = graph.convolution(conv)
    if facts is None or not facts.keeps_size:
        return None
    parts = [part for part in join.inputs if part is not None]
    widths = _widths(parts)
    return parts if len(parts) > 1 and all(widths) and sum(widths) == facts.weight.shape[1] else None


def _sum(op: Any, parts: list[ir.Value], facts: graph.Convolution, activations: Sequence[ir.Node] = ()) -> ir.Value:
    """One convolution for each part, with its own channels of the weights and of the activations, added up."""
    total, first = None, 0
    for part, width in zip(parts, _widths(parts), strict=True):
        channels = slice(first, first + width)
        for node in activations:
            part = _activation(op, node, part, channels)
        bias = facts.bias if total is None else None
        value = graph.emit_conv(op, part, facts.weight[:, channels], bias, facts.pads)
        total, first = value if total is None else op.Add(total, value), channels.stop
    assert total is not None
    return total


class JoinedThenConv(RewriteRuleClassBase):
    """Concat of convolutions, activations or none, Conv to few channels."""

    def __init__(self) -> None:
        super().__init__(name="JoinedThenConv")

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Conv(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, x: ir.Value, y: ir.Value, **_: Any) -> bool:
        conv = y.producer()
        assert conv is not None
        facts = graph.convolution(conv)
        if facts is None or not facts.keeps_size or facts.group != 1:
            return False
        joined = _joined(x)
        if joined is None:
            return False
        widths = _widths(joined[0])
        return sum(widths) == facts.weight.shape[1] and min(widths) >= _FEWER * len(facts.weight)

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        conv, joined = y.producer(), _joined(x)
        assert conv is not None
        assert joined is not None
        facts, (parts, activations) = graph.convolution(conv), joined
        assert facts is not None
        return _sum(op, parts, facts, activations)


def _joined(value: ir.Value) -> tuple[list[ir.Value], list[ir.Node]] | None:
    """The convolutions' results that a Concat joins for ``value`` alone, and the activations between, in order."""
    activations: list[ir.Node] = []
    while (node := value.producer()) is not None and len(list(value.uses())) == 1 and not value.is_graph_output():
        if node.op_type == "Concat":
            parts = [part for part in node.inputs if part is not None]
            whole = len(parts) > 1 and node.attributes["axis"].as_int() == 1 and all(map(_is_convolved, parts))
            return (parts, activations[::-1]) if whole else None
        source = node.inputs[0]
        if source is None or not _is_activation(node):
            return None
        activations.append(node)
        value = source
    return None


def _is_convolved(part: ir.Value) -> bool:
    maker = part.producer()
    return maker is not None and maker.op_type == "Conv" and len(list(part.uses())) == 1 and bool(_widths([part])[0])


def _widths(parts: list[ir.Value]) -> list[int]:
    """Channels of each part; 0 where they are not known."""
    shapes = [graph.dims(part) for part in parts]
    return [shape[1] or 0 if shape is not None and len(shape) == 4 else 0 for shape in shapes]


def _is_activation(node: ir.Node) -> bool:
    slope = node.op_type == "PRelu" and graph.per_channel(graph.constant(node.inputs[1])) is not None
    return slope or node.op_type in graph.UNARY


def _activation(op: Any, node: ir.Node, part: ir.Value, channels: slice) -> ir.Value:
    if node.op_type != "PRelu":
        value: ir.Value = getattr(op, node.op_type)(part, **dict(node.attributes.items()))
        return value
    slope = graph.per_channel(graph.constant(node.inputs[1]))
    assert slope is not None
    own = graph.column(slope if slope.size == 1 else slope[channels])
    value = op.PRelu(part, graph.emit_constant(op, np.ascontiguousarray(own)))
    return value

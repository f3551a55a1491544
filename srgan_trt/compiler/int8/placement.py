"""Where tensors become int8: as early as can be, so that levels rather than floats are written, shuffled and joined.

A convolution rounds its output to levels on the way, for nothing, if QuantizeLinear comes straight after it and its
activation. What only moves values (a shuffle, a join of channels) commutes with rounding, and so do activations that
treat all channels alike with a join: both moves are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

_ALIKE = ("Relu", "LeakyRelu")
"""Activations of one value at a time, the same for every channel."""


def before_shuffles(model: ir.Model) -> None:
    """The pair moves before a DepthToSpace that nobody else reads: a quarter of the bytes."""
    for node in list(model.graph):
        if node.op_type != "DepthToSpace":
            continue
        found = _levels_of(node.outputs[0])
        if found is None:
            continue
        down, up = found
        source, moved = node.inputs[0], node.outputs[0]
        assert source is not None
        up.outputs[0].replace_all_uses_with(moved, replace_graph_outputs=True)
        down.replace_input_with(0, source)
        node.replace_input_with(0, up.outputs[0])
        for value in (down.outputs[0], up.outputs[0]):
            value.shape = source.shape
        model.graph.remove([down, up])
        model.graph.insert_before(node, [down, up])


def before_concats(model: ir.Model) -> None:
    """Each part of a Concat of channels that nobody else reads gets the pair, and the activation before it."""
    import onnx_ir as ir

    for node in list(model.graph):
        if node.op_type != "Concat" or node.attributes["axis"].as_int() != 1:
            continue
        activation = _only_reader(node.outputs[0])
        if activation is not None and activation.op_type not in _ALIKE:
            activation = None
        found = _levels_of(node.outputs[0] if activation is None else activation.outputs[0])
        if found is None or any(value is None for value in node.inputs):
            continue
        down, up = found
        for index, value in enumerate(node.inputs):
            assert value is not None
            made: list[ir.Node] = []
            if activation is not None:
                made.append(ir.node(activation.op_type, [value], dict(activation.attributes)))
                made[0].outputs[0].type = value.type
            for pair in (down, up):
                read = made[-1].outputs[0] if made else value
                made.append(ir.node(pair.op_type, [read, *pair.inputs[1:]]))
            for new, like in zip(made[-2:], (down, up), strict=True):
                new.outputs[0].type = like.outputs[0].type
            for new in made:
                new.outputs[0].name = f"{value.name}.{new.op_type}"
                new.outputs[0].shape = value.shape
            model.graph.insert_before(node, made)
            node.replace_input_with(index, made[-1].outputs[0])
        up.outputs[0].replace_all_uses_with(node.outputs[0], replace_graph_outputs=True)
        gone = [up, down] if activation is None else [up, down, activation]
        model.graph.remove(gone, safe=True)


def _levels_of(value: ir.Value) -> tuple[ir.Node, ir.Node] | None:
    """The pair that turns a tensor into levels and back, if nothing else reads it."""
    down = _only_reader(value)
    if down is None or down.op_type != "QuantizeLinear":
        return None
    up = _only_reader(down.outputs[0])
    return None if up is None or up.op_type != "DequantizeLinear" else (down, up)


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None

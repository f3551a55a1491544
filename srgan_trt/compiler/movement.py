"""Enlargements and shuffles that exporters spell with shapes, recognised by what they do to the data.

Keras 3 writes repetition as Unsqueeze, Tile, Transpose, Reshape; PyTorch and many a SubpixelConv2D write a shuffle as
Reshape, Transpose, Reshape. There are too many spellings to match: a chain of nodes that only move data is run on
the numbers 0, 1, 2, ... and compared with what a repetition or a shuffle would make of them. That is a proof.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import graph
from .polyphase import shuffled

if TYPE_CHECKING:
    import onnx_ir as ir

_MOVES = frozenset("Transpose Reshape Unsqueeze Squeeze Tile Expand Gather Identity".split())
_MOST = 1 << 26
"""Elements beyond which a chain is left alone: the proof would need too much memory."""
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
Index = NDArray[np.int32]


def name_movements(model: ir.Model) -> int:
    """Replaces chains that enlarge or shuffle by Resize and DepthToSpace; returns how many.

    Needs static shapes (``graph.infer_shapes``).
    """
    done = 0
    for node in list(model.graph):
        end = node.outputs[0]
        if node.op_type not in _MOVES or any(use.node.op_type in _MOVES for use in end.uses()):
            continue
        done += _name_chain(model, end)
    if done:
        graph.tidy(model)
        graph.infer_shapes(model)
    return done


def _name_chain(model: ir.Model, end: ir.Value) -> bool:
    """Names the longest chain of moves that ends in ``end``, if it is one of the known movements."""
    chain: list[ir.Node] = []
    value: ir.Value | None = end
    starts: list[ir.Value] = []
    while value is not None and (node := value.producer()) is not None and node.op_type in _MOVES:
        chain.insert(0, node)
        value = node.inputs[0]
        if value is not None:
            starts.insert(0, value)
    for position, start in enumerate(starts):
        replacement = _movement(model, start, chain[position:], end)
        if replacement is not None:
            end.replace_all_uses_with(replacement, replace_graph_outputs=True)
            return True
    return False


def _movement(model: ir.Model, start: ir.Value, chain: list[ir.Node], end: ir.Value) -> ir.Value | None:
    import onnx_ir as ir

    before, after = _static(start), _static(end)
    if before is None or after is None or np.prod(after) > _MOST:
        return None
    index: Index = np.arange(np.prod(before), dtype=np.int32).reshape(before)
    moved = _run(index, chain)
    if moved is None:
        return None
    if after == before and np.array_equal(moved, index):
        return start
    node = _enlargement(model, start, index, moved, end)
    if node is not None:
        return _placed(model, node, end, after, chain[-1])
    node = _enlargement(model, start, index, moved.transpose(_TO_NCHW), end)
    if node is None:
        return None
    # Keras goes on in NHWC: a transpose stays behind, and sinks (layout.py).
    first = _placed(model, node, end, (after[0], after[3], after[1], after[2]), chain[-1])
    return _placed(model, ir.node("Transpose", [first], {"perm": list(_TO_NHWC)}), end, after, node)


def _enlargement(model: ir.Model, start: ir.Value, index: Index, moved: Index, end: ir.Value) -> ir.Node | None:
    """The Resize or DepthToSpace of `start` that makes `moved` of `index`; its constants are named after `end`."""
    import onnx_ir as ir

    before, after = index.shape, moved.shape
    factor, rest = divmod(after[2], before[2])
    if rest or factor < 2 or after[3] != before[3] * factor:
        return None
    if after[1] == before[1] and np.array_equal(moved, index.repeat(factor, axis=2).repeat(factor, axis=3)):
        scales = np.array([1, 1, factor, factor], np.float32)
        constant = graph.add_initializer(model.graph, f"{end.name}.scales", scales)
        return ir.node("Resize", [start, None, constant], dict(graph.NEAREST))
    if after[1] * factor * factor == before[1]:
        for mode in ("DCR", "CRD"):
            if np.array_equal(moved, shuffled(index, factor, mode)):
                return ir.node("DepthToSpace", [start], {"blocksize": factor, "mode": mode})
    return None


def _placed(model: ir.Model, node: ir.Node, end: ir.Value, sides: tuple[int, ...], after: ir.Node) -> ir.Value:
    """The result of `node`, which computes what `end` was, or that in another order, put into the graph."""
    import onnx_ir as ir

    result: ir.Value = node.outputs[0]
    result.name, result.shape, result.type = f"{end.name}.{node.op_type}", ir.Shape(sides), end.type
    model.graph.insert_after(after, node)
    return result


def _static(value: ir.Value) -> tuple[int, int, int, int] | None:
    """The shape of a 4-D value, if all of it is known."""
    sides = graph.dims(value)
    if sides is None or len(sides) != 4:
        return None
    first, second, third, fourth = sides
    if first is None or second is None or third is None or fourth is None:
        return None
    return first, second, third, fourth


def _run(array: Index, chain: list[ir.Node]) -> Index | None:
    """What ``chain`` makes of ``array``; None where a node's target is not a constant."""
    for node in chain:
        attributes = node.attributes
        target = graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.op_type in ("Reshape", "Unsqueeze", "Tile", "Expand", "Gather") and target is None:
            return None
        match node.op_type:
            case "Transpose":
                array = array.transpose(attributes["perm"].as_ints())
            case "Reshape":
                assert target is not None
                sides = [array.shape[i] if side == 0 else int(side) for i, side in enumerate(target)]
                array = array.reshape(sides)
            case "Unsqueeze":
                assert target is not None
                array = np.expand_dims(array, tuple(int(axis) for axis in target))
            case "Squeeze":
                array = np.squeeze(array, None if target is None else tuple(int(axis) for axis in target))
            case "Tile":
                assert target is not None
                array = np.tile(array, target)
            case "Expand":
                assert target is not None
                array = np.broadcast_to(array, np.broadcast_shapes(array.shape, tuple(target)))
            case "Gather":
                assert target is not None
                array = np.take(array, target, axis=attributes.get_int("axis", 0))
        if array.size > _MOST:
            return None
    return array

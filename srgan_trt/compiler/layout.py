"""Transposes moved behind the nodes that work on each value alone, to those that take them back; constants as small as
what they say.

TensorFlow computes in NHWC, so an activation that its exporter spells out stands between two transposes, with constants
of the picture's size where Keras makes them from the map: both would tie the network to the size it was exported at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

_ELEMENTWISE = frozenset(
    "Abs Add And Cast Ceil Celu Clip Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish "
    "LeakyRelu Less LessOrEqual Log Max Min Mish Mul Neg Not Or Pow Reciprocal Relu Round Selu Sigmoid Sign Softplus "
    "Softsign Sqrt Sub Sum Swish Tanh ThresholdedRelu Where".split()
)


def shrink_constants(model: ir.Model) -> None:
    """Constants that are the same along a side of the picture get one value for it, where broadcasting gives it back.

    Needs static shapes.
    """
    for node in list(model.graph):
        if node.op_type not in _ELEMENTWISE:
            continue
        whole = graph.dims(node.outputs[0])
        others = [graph.dims(value) for value in node.inputs if graph.constant(value) is None]
        if whole is None or whole not in others:
            continue
        for position, value in enumerate(node.inputs):
            array = graph.constant(value)
            small = None if array is None or array.size == 1 else _shrunk(array)
            if small is not None and array is not None and small.size < array.size:
                node.replace_input_with(position, _registered(model, node, position, small))


def sink_transposes(model: ir.Model) -> None:
    """Moves every transpose behind as many nodes as work on each value alone; `graph.infer_shapes` is due after it."""
    for node in list(model.graph):
        if node.op_type in _ELEMENTWISE and not node.outputs[0].is_graph_output():
            perm = _permutation(node)
            if perm is not None:
                _sink(model, node, perm)


def _shrunk(array: NDArray[np.generic]) -> NDArray[np.generic]:
    for axis in range(array.ndim):
        first = array.take([0], axis)
        if np.array_equal(np.broadcast_to(first, array.shape), array):
            array = first
    return array


def _permutation(node: ir.Node) -> tuple[int, ...] | None:
    """The one that all inputs have gone through which are not constants; None if there is none, or several."""
    found = set()
    for value in node.inputs:
        if value is None or graph.constant(value) is not None:
            continue
        before = value.producer()
        if before is None or before.op_type != "Transpose" or "perm" not in before.attributes:
            return None
        found.add(tuple(before.attributes["perm"].as_ints()))
    if len(found) != 1:
        return None
    perm: tuple[int, ...] = found.pop()
    arrays = (graph.constant(value) for value in node.inputs)
    return perm if all(array is None or array.ndim <= len(perm) for array in arrays) else None


def _sink(model: ir.Model, node: ir.Node, perm: tuple[int, ...]) -> None:
    import onnx_ir as ir

    inputs: list[ir.Value | None] = []
    for position, value in enumerate(node.inputs):
        array = graph.constant(value)
        if value is None or (array is not None and array.size == 1):
            inputs.append(value)
        elif array is not None:
            full = array.reshape((1,) * (len(perm) - array.ndim) + array.shape)
            inputs.append(_registered(model, node, position, full.transpose(np.argsort(perm))))
        else:
            before = value.producer()
            assert before is not None
            inputs.append(before.inputs[0])
    old = node.outputs[0]
    moved = ir.node(node.op_type, inputs, dict(node.attributes.items()))
    back = ir.node("Transpose", [moved.outputs[0]], {"perm": list(perm)})
    moved.outputs[0].name, back.outputs[0].name = f"{old.name}.moved", f"{old.name}.back"
    moved.outputs[0].type = back.outputs[0].type = old.type
    back.outputs[0].shape = old.shape
    model.graph.insert_after(node, [moved, back])
    old.replace_all_uses_with(back.outputs[0])


def _registered(model: ir.Model, node: ir.Node, position: int, array: NDArray[np.generic]) -> ir.Value:
    name = f"{node.outputs[0].name}.{position}.{'x'.join(str(side) for side in array.shape)}"
    return graph.add_initializer(model.graph, name, array)

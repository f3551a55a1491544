"""A foreign ONNX graph as data: its graphs within graphs, its tensors, and what it would cost to run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import ModelError

if TYPE_CHECKING:
    import onnx

MOST_NODES = 20_000
"""Those of the local functions counted at every call. The largest transformers that restore pictures have 10,000."""
MOST_BYTES = 3 << 30
"""Of all values that are held at once, for the largest picture that a network is tried on."""
MOST_WORK = 2e13
"""Multiply-accumulates for that picture: some minutes of one processor core."""
_LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})
_BYTES = 4
_DEEPEST = 50
"""Functions within functions."""


def check_nodes(model: onnx.ModelProto, name: str) -> None:
    """Raises ModelError for loops, and for more nodes than ``MOST_NODES`` or functions that call themselves."""
    functions = {(function.domain, function.name): function for function in model.functions}
    counts: dict[tuple[str, str], int] = {}

    def count(nodes: Iterable[onnx.NodeProto], within: tuple[tuple[str, str], ...]) -> int:
        total = 0
        for node in nodes:
            total += 1
            if node.op_type in _LOOPS:
                raise ModelError(
                    f"{name} has a {node.op_type}, which nobody can tell the end of: export it without loops"
                )
            for graph in _graphs_in(node):
                total += count(graph.node, within)
            key = (node.domain, node.op_type)
            if key in functions:
                if key in within or len(within) > _DEEPEST:
                    raise ModelError(f"{name} has a function that calls itself ({node.op_type}): export it again")
                if key not in counts:
                    counts[key] = count(functions[key].node, (*within, key))
                total += counts[key]
            if total > MOST_NODES:
                raise ModelError(f"{name} has more than {MOST_NODES:,} nodes: no super-resolver has")
        return total

    count(model.graph.node, ())


def graphs_of(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those within its nodes: branches of an If."""
    yield graph
    for node in graph.node:
        for inner in _graphs_in(node):
            yield from graphs_of(inner)


def external_locations(model: onnx.ModelProto) -> list[str]:
    """The files that hold its larger tensors, relative to its folder, each once, in order."""
    return list(
        dict.fromkeys(
            entry.value
            for tensor in _tensors(model)
            for entry in tensor.external_data
            if tensor.data_location == tensor.EXTERNAL and entry.key == "location"
        )
    )


def rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Calls the value ``old`` of the graph, which its inner graphs may read as well, ``new``; in place."""
    for each in graphs_of(graph):
        for node in each.node:
            for tensors in (node.input, node.output):
                for index, tensor in enumerate(tensors):
                    if tensor == old:
                        tensors[index] = new
        for value in (*each.initializer, *each.value_info, *(() if each is graph else each.output)):
            if value.name == old:
                value.name = new


def check_work(model: onnx.ModelProto, name: str, *, times: float = 1.0) -> None:
    """Raises ModelError if running the static ``model`` would take more than ``MOST_BYTES`` or ``MOST_WORK``.

    times: By how much the largest picture that it will be run on has more pixels.
    """
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
        if shape and all(side > 0 for side in shape):
            shapes[value.name], sizes[value.name] = shape, math.prod(shape)
    last = {tensor: index for index, node in enumerate(graph.node) for tensor in node.input}
    held: dict[str, int] = {value.name: sizes.get(value.name, 0) for value in graph.input}
    most = work = 0.0
    for index, node in enumerate(graph.node):
        held.update({tensor: sizes.get(tensor, 0) for tensor in node.output})
        most = max(most, sum(held.values()))
        work += _work(node, shapes, sizes)
        for tensor in {*node.input, *node.output}:
            if last.get(tensor, -1) <= index:
                held.pop(tensor, None)
    if _BYTES * most * times > MOST_BYTES:
        raise ModelError(
            f"{name} would hold {_BYTES * most * times / 1e9:,.1f} GB at once for one small picture: too much to try"
        )
    if work * times > MOST_WORK:
        raise ModelError(f"{name} would multiply {work * times:.1e} times for one small picture: too much to try")


def _work(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]], sizes: dict[str, int]) -> float:
    given = max((sizes.get(tensor, 0) for tensor in node.output), default=0)
    weight = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    if node.op_type == "Conv" and len(weight) > 2:
        return given * math.prod(weight[1:])
    if node.op_type == "ConvTranspose" and len(weight) > 2:
        return sizes.get(node.input[0], 0) * math.prod(weight[1:])
    if node.op_type in ("MatMul", "Gemm") and len(weight) > 1:
        return given * min(shapes.get(node.input[0], (1,))[-1], max(weight))
    return given


def _graphs_in(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """All tensors of the file: weights, and those that its nodes and functions carry."""
    nodes = [node for function in model.functions for node in function.node]
    for graph in graphs_of(model.graph):
        yield from graph.initializer
        nodes += graph.node
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors

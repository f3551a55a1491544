"""How much a layer of an engine reads and writes, though its tensors' sides are free: from how many pixels each node of
the network gives for a pixel of the input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...compiler.live_memory import inferred_shapes

if TYPE_CHECKING:
    import onnx

_BYTES = {"fp32": 4, "int32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1, "bool": 1, "int64": 8}

Tensor = tuple[str, tuple[int, ...], str]
"""Name, sides (-1 where free), type."""


def pixel_grid(network: onnx.ModelProto, *, multiple: int = 1) -> dict[str, float]:
    """By name of a node, as TensorRT has it, and of the network's ends: pixels that it gives for each pixel of the
    network's input.

    In the network's order; only what follows from the input's size, which is a multiple of `multiple`, is in it.
    """
    shapes, pixels = inferred_shapes(network, multiple=multiple)
    areas = {name: shape[2] * shape[3] / pixels for name, shape in shapes.items() if len(shape) == 4 and all(shape)}
    ends = {each.name: areas[each.name] for each in (*network.graph.input, *network.graph.output) if each.name in areas}
    # TensorRT gives nodes without a name one like these.
    names = {node.output[0]: node.name or f"{node.op_type}_{index}" for index, node in enumerate(network.graph.node)}
    return {name: areas[tensor] for tensor, name in names.items() if tensor in areas} | ends


def pixel_bytes(
    read: Sequence[Tensor],
    written: Sequence[Tensor],
    made_of: Sequence[str],
    *,
    grid: Mapping[str, float],
    areas: dict[str, float],
) -> float:
    """Bytes that a layer reads and writes for each pixel of the network's input, every tensor once.

    made_of: its nodes of `grid`. areas: pixels of the tensors of the layers before it; those that it gives are added.
    """
    # `made_of` has an order of its own; what gives is the node that comes last in the network.
    inside = set(made_of)
    given = [area for name, area in grid.items() if name in inside]
    for name, _, _ in read:
        areas.setdefault(name, grid.get(name, 1.0))
    before = max((areas[name] for name, sides, _ in read if len(sides) == 4), default=1.0)
    for name, _, _ in written:
        areas[name] = grid.get(name, given[-1] if given else before)
    tensors = {name: (sides, kind) for name, sides, kind in (*read, *written) if len(sides) == 4}
    return sum(_BYTES.get(kind, 4) * sides[1] * areas[name] for name, (sides, kind) in tensors.items())

"""How large a network's tensors are, and how much of them must be in memory at the same time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from .plan import Plan

_SIDE = 64
"""Tensors are counted at the first multiple of this that the network takes; per input pixel they are the same at any
size, but for means over the whole picture, which are next to nothing."""
_FUSED = frozenset(
    "Add Cast Clip Div Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Max Min Mul PRelu Relu Selu Sigmoid Softplus "
    "Softsign Sub Tanh".split()
)
"""Operations that are fused into the one before them, or write over what they read."""


@dataclass(frozen=True, slots=True)
class Step:
    """An operation: the sizes of what it gives, by name, what it reads, and whether it writes over that."""

    gives: Mapping[str, int]
    reads: Sequence[str]
    in_place: bool


@dataclass(frozen=True, slots=True)
class NetworkMemory:
    """Values for each pixel of the network's input."""

    live: float
    """That must be in memory at the same time, ends included."""
    largest: float
    """Of the largest tensor."""


def network_memory(plan: Plan) -> NetworkMemory:
    """Of the plan's network, operation after operation in its own order. Raises PlanError if the file was replaced.

    TensorRT-RTX 1.7 takes 3 to 11 % more than `live` for the packaged networks.
    """
    import onnx

    network = onnx.load_from_string(plan.network())
    shapes, pixels = inferred_shapes(network, multiple=plan.spec.multiple)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    steps = [
        Step({name: sizes.get(name, 0) for name in node.output}, node.input, node.op_type in _FUSED)
        for node in network.graph.node
        if node.op_type != "Constant"
    ]
    ends = [value.name for value in network.graph.input]
    begin = Step({name: sizes.get(name, 0) for name in ends}, (), in_place=False)
    return NetworkMemory(most_live([begin, *steps]) / pixels, max(sizes.values(), default=0) / pixels)


def most_live(steps: Sequence[Step]) -> int:
    """The most that is in memory at once, if each result is there from its step to the last one that reads it."""
    last_reader = {name: position for position, step in enumerate(steps) for name in step.reads}
    live = most = 0
    dying: dict[int, int] = {}
    for position, step in enumerate(steps):
        freed = dying.pop(position, 0)
        if step.in_place:
            live, freed = live - freed, 0
        for name, size in step.gives.items():
            live += size
            reader = last_reader.get(name, position)
            dying[reader] = dying.get(reader, 0) + size
        most = max(most, live)
        live -= freed + dying.pop(position, 0)
    return most


def inferred_shapes(network: onnx.ModelProto, *, multiple: int = 1) -> tuple[dict[str, list[int]], int]:
    """Sides of the tensors whose shapes follow from an input of some size, a multiple of `multiple`, by name; and the
    pixels of that input.

    Raises onnx.shape_inference.InferenceError if the network does not take such an input.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    sides = copy.graph.input[0].type.tensor_type.shape.dim
    free = math.lcm(_SIDE, multiple)
    height, width = (side.dim_value or free for side in sides[2:])
    for side, length in zip(sides, (1, 3, height, width), strict=True):
        side.dim_value = length
    del copy.graph.value_info[:]
    for result in copy.graph.output:
        result.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True).graph
    found = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*inferred.input, *inferred.value_info, *inferred.output)
        if value.type.tensor_type.HasField("shape")
        and all(side.HasField("dim_value") for side in value.type.tensor_type.shape.dim)
    }
    return found, height * width

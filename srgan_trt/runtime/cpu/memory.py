"""Memory that a network needs on the CPU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...compiler.live_memory import Step, most_live
from ...spec import NetworkSpec

if TYPE_CHECKING:
    import openvino

_IN_PLACE = {
    "Add", "Clamp", "Convert", "Divide", "Elu", "FakeQuantize", "Gelu", "HSwish", "Maximum", "Minimum", "Multiply",
    "PRelu", "Relu", "Sigmoid", "Softplus", "Subtract", "Swish", "Tanh",
}  # fmt: skip
"""Operations that are fused into the one before them, or write over their input."""


def live_values(model: openvino.Model, spec: NetworkSpec) -> float:
    """Values per input pixel that must be in memory at the same time while the network runs.

    Branches are taken to advance side by side: OpenVINO's order is its own, and runs convolutions of the same map one
    after the other before it goes on with what the first one gave.
    """
    side = math.ceil(256 / spec.multiple) * spec.multiple
    height, width = spec.fixed_shape or (side, side)
    model.reshape([1, 3, height, width])
    operations = _by_depth([op for op in model.get_ordered_ops() if op.get_type_name() not in ("Constant", "Result")])
    steps = [
        Step(
            {_name(output): math.prod(output.get_shape()) for output in op.outputs()},
            [_name(value) for value in op.input_values()],
            op.get_type_name() in _IN_PLACE,
        )
        for op in operations
    ]
    return most_live(steps) / (height * width)


def _name(value: openvino.Output) -> str:
    return f"{value.get_node().get_friendly_name()}:{value.get_index()}"


def _by_depth(operations: list[openvino.Node]) -> list[openvino.Node]:
    """In the order of the longest way from an input; in place what is."""
    depth: dict[str, int] = {}
    for op in operations:
        before = max((depth.get(value.get_node().get_friendly_name(), 0) for value in op.input_values()), default=0)
        depth[op.get_friendly_name()] = before + (op.get_type_name() not in _IN_PLACE)
    return sorted(operations, key=lambda op: depth[op.get_friendly_name()])

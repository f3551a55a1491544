"""The two ends of the graph: range mappings at input and output move into the pack and unpack kernels.

Code bases put ``x/255``, ``x/127.5 - 1``, ``(y + 1)*127.5`` or a clip inside the network, or leave them to the
caller. The kernels do them anyway, exactly and for nothing, so what stands at the ends is taken off and
remembered: the value range (``value_range.py``) is then a fact about the bare network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Normalization:
    """What was taken off: ``bare_input = a*input + b``; ``output = clip(c*bare_output + d, low, high)``."""

    input_gain: float = 1.0
    input_shift: float = 0.0
    output_gain: float = 1.0
    output_shift: float = 0.0
    low: float = -np.inf
    high: float = np.inf

    def bare_input_range(self, outer: Range) -> Range:
        """The range at the bare network's input, for ``outer`` at the file's own input."""
        return outer[0] * self.input_gain + self.input_shift, outer[1] * self.input_gain + self.input_shift

    def bare_output_range(self, outer: Range) -> Range:
        """The range at the bare network's output, for ``outer`` at the file's own output."""
        return (outer[0] - self.output_shift) / self.output_gain, (outer[1] - self.output_shift) / self.output_gain

    def allows(self, outer: Range) -> bool:
        """False where the file's own clip is tighter than ``outer``: then the range cannot be the right one."""
        slack = 1e-6 * (outer[1] - outer[0])
        return self.low <= outer[0] + slack and self.high >= outer[1] - slack


def strip_normalization(model: ir.Model) -> Normalization:
    """Removes scalar mappings at the input, and scalar mappings, clips and rounding at the output."""
    gain, shift = _take_off_input(model)
    out_gain, out_shift, low, high = _take_off_output(model)
    graph.tidy(model)
    return Normalization(gain, shift, out_gain, out_shift, low, high)


def _scalar_step(node: ir.Node) -> tuple[float, float, ir.Value] | None:
    """(gain, shift, operand) of a node that computes ``gain*operand + shift`` with scalars, else None."""
    if node.op_type not in ("Mul", "Add", "Sub", "Div") or len(node.inputs) != 2:
        return None
    for position in (1, 0):
        array = graph.constant(node.inputs[position])
        operand = node.inputs[1 - position]
        if array is None or operand is None or array.size == 0 or np.ptp(array) > 0 or not _is_scalar(array):
            continue
        value = float(array.reshape(-1)[0])
        match node.op_type:
            case "Mul":
                return value, 0.0, operand
            case "Add":
                return 1.0, value, operand
            case "Sub":
                return (1.0, -value, operand) if position == 1 else (-1.0, value, operand)
            case "Div" if position == 1 and value != 0:
                return 1.0 / value, 0.0, operand
    return None


def _is_scalar(array: np.ndarray) -> bool:
    """One value, or the same value for each of the three channels."""
    return array.size == 1 or graph.per_channel(array) is not None


def _take_off_input(model: ir.Model) -> tuple[float, float]:
    gain, shift = 1.0, 0.0
    start = model.graph.inputs[0]
    while True:
        uses = list(start.uses())
        node = uses[0].node if len(uses) == 1 else None
        step = _scalar_step(node) if node is not None else None
        if node is None or step is None or step[0] <= 0 or step[2] is not start:
            return gain, shift
        gain, shift = gain * step[0], shift * step[0] + step[1]
        node.outputs[0].replace_all_uses_with(start)
        model.graph.remove(node, safe=True)


def _take_off_output(model: ir.Model) -> tuple[float, float, float, float]:
    gain, shift, low, high = 1.0, 0.0, -np.inf, np.inf
    output = model.graph.outputs[0]
    shape, kind = output.shape, model.graph.inputs[0].type
    end = output
    while True:
        node = end.producer()
        if node is None or len(end.uses()) > 0:
            break
        step = _scalar_step(node)
        if step is not None and step[0] > 0 and step[2].producer() is not None:
            # output = gain*end + shift and end = step0*operand + step1
            gain, shift, source = gain * step[0], shift + gain * step[1], step[2]
        elif node.op_type == "Clip" and node.inputs[0] is not None:
            bounds = [graph.constant(value) for value in node.inputs[1:]]
            bounds += [None] * (2 - len(bounds))
            below = -np.inf if bounds[0] is None else float(bounds[0].reshape(-1)[0])
            above = np.inf if bounds[1] is None else float(bounds[1].reshape(-1)[0])
            low, high = max(low, gain * below + shift), min(high, gain * above + shift)
            source = node.inputs[0]
        elif node.op_type in ("Round", "Cast") and node.inputs[0] is not None:
            source = node.inputs[0]
        else:
            break
        model.graph.outputs[0] = source
        model.graph.remove(node, safe=True)
        end = source
    if end is not output:
        end.name = output.name
        end.shape, end.type = shape, kind
    return gain, shift, low, high

"""Lowerings of a sub-pixel convolution: the same sums by different nodes, of which each processor has its favourite.

phases      one small convolution per phase, side by side: the fewest multiplications
dense       one convolution for all phases, zeros included: 36 taps where 16 are needed, and one pass
shifted     one small convolution for all phases on a map that is padded by one more, each phase then cut out of it at
            its own offset: the fewest multiplications in one pass, and a copy
transposed  one transposed convolution: no shuffle, but what the processor's library makes of it
`benchmarks/subpixel_lowerings.py` times them; `srgan-trt tune` does on the user's machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph, polyphase

if TYPE_CHECKING:
    import onnx_ir as ir

Lowering = Literal["phases", "dense", "shifted", "transposed"]
LOWERINGS: tuple[Lowering, ...] = get_args(Lowering)
_TO_THE_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class SubPixel:
    """A convolution to the `factor * factor` phases of an enlarged map, all of stride 1 and keeping the size."""

    kernel: NDArray[Any]
    """(factor*factor*O, C, K, L) float32, or int8 levels; phase-major, as in `phases`."""
    pads: polyphase.Pads
    factor: int
    bias: graph.Floats | None = None
    """(factor*factor*O,)"""
    scales: graph.Floats | None = None
    """(factor*factor*O,): what a level of the kernel stands for; None where it is in float32."""

    @property
    def area(self) -> int:
        return self.factor * self.factor

    def phase(self, number: int) -> SubPixel:
        """One phase, without the zeros around its taps."""
        count = len(self.kernel) // self.area
        part = slice(number * count, (number + 1) * count)
        kernel, pads = polyphase.support(self.kernel[part], self.pads)
        bias, scales = (None if each is None else each[part] for each in (self.bias, self.scales))
        return SubPixel(kernel, pads, 1, bias, scales)


def emit(op: Any, x: ir.Value, what: SubPixel, lowering: Lowering) -> ir.Value:
    """Nodes that compute the enlarged map (N, O, H*factor, W*factor) from x (N, C, H, W)."""
    if lowering == "transposed":
        return _transposed(op, x, what)
    value: ir.Value = op.DepthToSpace(emit_channels(op, x, what, lowering), blocksize=what.factor, mode="DCR")
    return value


def emit_channels(op: Any, x: ir.Value, what: SubPixel, lowering: Lowering) -> ir.Value:
    """The same before the shuffle: (N, factor*factor*O, H, W). Raises ValueError for "transposed", which has none."""
    if lowering == "dense":
        return _conv(op, x, what, what.pads)
    if lowering == "phases":
        parts = [what.phase(number) for number in range(what.area)]
        return _side_by_side(op, [_conv(op, x, part, part.pads) for part in parts])
    if lowering == "shifted":
        return _shifted(op, x, what)
    raise ValueError(f"{lowering} gives no phases side by side")


def of_parts(parts: list[SubPixel], factor: int) -> SubPixel:
    """One convolution of several that read the same map, `parts` in the order of the phases."""
    top, left, bottom, right = (max(part.pads[side] for part in parts) for side in range(4))
    kernels = []
    for part in parts:
        count, channels, height, width = part.kernel.shape
        kernel = np.zeros((count, channels, top + bottom + 1, left + right + 1), part.kernel.dtype)
        y, x = top - part.pads[0], left - part.pads[1]
        kernel[:, :, y : y + height, x : x + width] = part.kernel
        kernels.append(kernel)
    bias, scales = (_joined([getattr(part, name) for part in parts]) for name in ("bias", "scales"))
    return SubPixel(np.concatenate(kernels), (top, left, bottom, right), factor, bias, scales)


def other_lowerings(model: ir.Model) -> tuple[Lowering, ...]:
    """Lowerings that would change the network; none where it has no sub-pixel convolution that can be told as one."""
    side_by_side = any(_parallel(node) is not None for node in model.graph if node.op_type == "Concat")
    transposed = any(of_transposed(node) is not None for node in model.graph if node.op_type == "ConvTranspose")
    found: list[Lowering] = ["phases"] if transposed else []
    return (*found, "dense", "shifted") if transposed or side_by_side else ()


def relower(model: ir.Model, lowering: Lowering) -> int:
    """Rewrites the sub-pixel convolutions of a rewritten network into `lowering`; returns how many changed.

    Those whose shuffle has moved on towards the output stay as they are where `lowering` is "transposed".
    """
    graph.infer_shapes(model)
    return graph.apply(model, graph.rule(_ParallelTo(lowering)), graph.rule(_TransposedTo(lowering)), limit=2)


def of_transposed(node: ir.Node) -> SubPixel | None:
    """A transposed convolution that enlarges by its stride, as phases; None for any other."""
    facts = graph.convolution(node)
    if facts is None or facts.group != 1 or facts.dilations != (1, 1) or facts.strides[0] != facts.strides[1]:
        return None
    stride, (height, width) = facts.strides[0], facts.weight.shape[2:]
    top, left, bottom, right = facts.pads
    if stride == 1 or height - top - bottom != stride or width - left - right != stride:
        return None
    kernel, pads = polyphase.of_transposed(facts.weight, stride, facts.pads)
    bias = None if facts.bias is None else np.tile(facts.bias, stride * stride)
    return SubPixel(kernel, pads, stride, bias) if min(pads) >= 0 else None


class _ParallelTo(RewriteRuleClassBase):
    """Convolutions of one map side by side, in another lowering."""

    def __init__(self, lowering: Lowering) -> None:
        super().__init__(name=f"ParallelTo{lowering}")
        self._lowering = lowering

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Concat(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, **_: Any) -> bool:
        node = y.producer()
        assert node is not None
        return self._lowering in ("dense", "shifted") and _parallel(node) is not None

    def rewrite(self, op: Any, y: ir.Value, **_: Any) -> ir.Value:
        node = y.producer()
        assert node is not None
        found = _parallel(node)
        assert found is not None
        source, what = found
        return emit_channels(op, source, what, self._lowering)


class _TransposedTo(RewriteRuleClassBase):
    """A transposed convolution as phases and a shuffle."""

    def __init__(self, lowering: Lowering) -> None:
        super().__init__(name=f"TransposedTo{lowering}")
        self._lowering = lowering

    def pattern(self, op: Any, x: Any) -> Any:
        return op.ConvTranspose(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, y: ir.Value, **_: Any) -> bool:
        node = y.producer()
        assert node is not None
        return self._lowering != "transposed" and of_transposed(node) is not None

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        node = y.producer()
        assert node is not None
        what = of_transposed(node)
        assert what is not None
        return emit(op, x, what, self._lowering)


def _parallel(node: ir.Node) -> tuple[ir.Value, SubPixel] | None:
    """The map that the convolutions joined by a Concat read, and all of them as one; None if it joins anything else."""
    factor = math.isqrt(len(node.inputs))
    if factor < 2 or factor**2 != len(node.inputs) or node.attributes["axis"].as_int() != 1:
        return None
    parts, sources = [], []
    for value in node.inputs:
        maker = None if value is None else value.producer()
        if maker is None or maker.op_type != "Conv" or len(list(maker.outputs[0].uses())) != 1:
            return None
        part = _filters(maker)
        if part is None:
            return None
        parts.append(part)
        sources.append(maker.inputs[0])
    alike = len({(part.kernel.shape[:2], part.kernel.dtype, part.bias is None) for part in parts}) == 1
    if not alike or any(source is not sources[0] for source in sources) or sources[0] is None:
        return None
    return sources[0], of_parts(parts, factor)


def _filters(conv: ir.Node) -> SubPixel | None:
    """A convolution that keeps the size, its weights in float32 or dequantised; None for any other."""
    facts = graph.convolution(conv)
    if facts is not None:
        return SubPixel(facts.weight, facts.pads, 1, facts.bias) if facts.keeps_size else None
    weight = conv.inputs[1]
    maker = None if weight is None else weight.producer()
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    levels, scales = (graph.constant(value) for value in maker.inputs[:2])
    bias = graph.constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
    if levels is None or scales is None or levels.ndim != 4 or scales.shape != levels.shape[:1]:
        return None
    pads = tuple(conv.attributes.get_ints("pads", (0, 0, 0, 0)))
    facts = graph.Convolution(levels.astype(np.float32), bias, (1, 1), (pads[0], pads[1], pads[2], pads[3]), (1, 1), 1)
    plain = all(set(conv.attributes.get_ints(name, (1,))) == {1} for name in ("strides", "dilations"))
    if not plain or conv.attributes.get_int("group", 1) != 1 or not facts.keeps_size:
        return None
    return SubPixel(levels, facts.pads, 1, bias, scales)


def _conv(op: Any, x: ir.Value, what: SubPixel, pads: polyphase.Pads) -> ir.Value:
    if what.scales is None:
        return graph.emit_conv(op, x, what.kernel, what.bias, pads)
    levels = graph.emit_constant(op, what.kernel)
    zeros = graph.emit_constant(op, np.zeros(len(what.scales), np.int8))
    weight = op.DequantizeLinear(levels, graph.emit_constant(op, what.scales), zeros, axis=0)
    inputs = [weight] if what.bias is None else [weight, graph.emit_constant(op, what.bias)]
    value: ir.Value = op.Conv(x, *inputs, kernel_shape=list(what.kernel.shape[2:]), pads=list(pads), strides=[1, 1])
    return value


def _shifted(op: Any, x: ir.Value, what: SubPixel) -> ir.Value:
    """Output (y, x) of the padded map sees the taps from (y - top, x - left) on: each phase begins at its own tap."""
    parts = [what.phase(number) for number in range(what.area)]
    height, width = (max(part.kernel.shape[axis] for part in parts) for axis in (2, 3))
    kernel = np.zeros((*what.kernel.shape[:2], height, width), what.kernel.dtype)
    count = len(what.kernel) // what.area
    for number, part in enumerate(parts):
        rows, columns = part.kernel.shape[2:]
        kernel[number * count : (number + 1) * count, :, :rows, :columns] = part.kernel
    firsts = [(-part.pads[0], -part.pads[1]) for part in parts]
    (top, left), (down, over) = (
        tuple(choose(first[axis] for first in firsts) for axis in (0, 1)) for choose in (min, max)
    )
    wide = _conv(
        op, x, SubPixel(kernel, what.pads, what.factor, what.bias, what.scales),
        (-top, -left, down + height - 1, over + width - 1),
    )  # fmt: skip
    cuts = []
    for number, (y, z) in enumerate(firsts):
        starts = [number * count, y - top, z - left]
        ends = [(number + 1) * count, *(end or _TO_THE_END for end in (y - down, z - over))]
        indices = (graph.emit_constant(op, np.array(each, np.int64)) for each in (starts, ends, [1, 2, 3]))
        cuts.append(op.Slice(wide, *indices))
    return _side_by_side(op, cuts)


def _transposed(op: Any, x: ir.Value, what: SubPixel) -> ir.Value:
    weight, out_pads = polyphase.to_transposed(what.kernel, what.factor, what.pads)
    inputs = [x, graph.emit_constant(op, weight)]
    if what.bias is not None:
        inputs.append(graph.emit_constant(op, what.bias[: weight.shape[1]]))
    value: ir.Value = op.ConvTranspose(
        *inputs, kernel_shape=list(weight.shape[2:]), strides=[what.factor, what.factor], pads=list(out_pads)
    )
    return value


def _side_by_side(op: Any, parts: list[ir.Value]) -> ir.Value:
    value: ir.Value = op.Concat(*parts, axis=1)
    return value


def _joined(vectors: list[graph.Floats | None]) -> graph.Floats | None:
    known = [vector for vector in vectors if vector is not None]
    return np.concatenate(known) if known else None

"""The roofline of a network: how soon a device could be done with it at best, from its peaks alone.

After Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore architectures",
CACM 52(4), 2009: a layer takes at least as long as its operations take at the peak rate, and at least as long as its
bytes take at the memory's bandwidth. It is a bound, not a measurement, and no forecast: nothing reaches its peaks.

What is counted, of the canonical graph without the range mappings at its ends:

- Operations: two for each multiply-accumulate of convolutions and matrix products, as ``analysis`` counts them.
  Elementwise work is free.
- A layer is a convolution or matrix product (or whatever else begins a chain) with the elementwise nodes that follow:
  activations, batch norms, skip adds. One kernel does all of it, as TensorRT builds it.
- Bytes: a layer reads its weights and the tensors that it takes from others, each once, and writes those that others
  take. A shuffle or an enlargement is a layer of its own without operations. Concatenating, padding and reshaping cost
  nothing: they can be done in place.
- The network's own input and output are float16 at every precision, because the pack and unpack kernels speak it; those
  two kernels are layers too.

Tensors that stay in a cache between two layers do not pass through memory, so a device with a large one may beat the
sum over layers; ``least`` holds even then. Neither holds for a kernel that multiplies less than a direct convolution
does, as Winograd's does (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016): direct ones
are what is reckoned with.

`python benchmarks/roofline.py` prints the table of docs/gpu.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from peaks import ACCELERATORS

from srgan_trt.compiler import graph
from srgan_trt.compiler.analysis import receptive_field, work
from srgan_trt.compiler.live_memory import inferred_shapes
from srgan_trt.errors import ModelError
from srgan_trt.resolve import open_plan

if TYPE_CHECKING:
    import onnx_ir as ir

    from srgan_trt.compiler.plan import Plan

COLUMNS = (("srresnet-photo-x4", "fp16"), ("srgan-x4", "fp16"), ("srgan-x4", "int8"))
_TILE = 256

ELEMENT_BYTES = {"fp16": 2, "int8": 1}
"""Bytes of a weight and of an activation at each precision."""
_ENDS_BYTES = 2
_CONVERSIONS = frozenset("Cast QuantizeLinear DequantizeLinear Dropout Identity".split())
_ELEMENTWISE = frozenset(
    "Relu PRelu LeakyRelu Elu Selu Celu ThresholdedRelu Softplus Softsign Sigmoid HardSigmoid HardSwish Mish Gelu Tanh "
    "Erf Exp Log Sqrt Reciprocal Abs Neg Sign Clip Add Sub Mul Div Pow Max Min Mean Sum Where "
    "BatchNormalization Cast QuantizeLinear DequantizeLinear Dropout Identity".split()
)
_IN_PLACE = frozenset("Concat Pad Reshape Flatten Squeeze Unsqueeze Slice Split Shape Gather Expand".split())


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one kernel must do. Tensors are counted in elements per pixel of the network's input."""

    kind: str
    """ONNX operator that begins it, or "pack" or "unpack"."""
    weight: tuple[int, ...] = ()
    """Shape of the weights, as ``analysis.Layer`` has it; () for none."""
    macs: float = 0.0
    """Multiply-accumulates per input pixel."""
    constants: int = 0
    """Numbers that it reads whatever the tile: weights, biases, slopes."""
    read: float = 0.0
    """Of tensors inside the network."""
    written: float = 0.0
    ends: float = 0.0
    """Read from the network's input or written to its output."""
    levels: float = 0.0
    """8-bit samples of pictures, read or written."""

    def operations(self, pixels: int) -> float:
        """Multiplications and additions for a tile of ``pixels`` input pixels."""
        return 2 * self.macs * pixels

    def traffic(self, pixels: int, *, precision: str) -> float:
        """Bytes that pass through memory for a tile of ``pixels`` input pixels; precision: of ``ELEMENT_BYTES``."""
        inside = (self.read + self.written) * pixels + self.constants
        return inside * ELEMENT_BYTES[precision] + (self.ends * _ENDS_BYTES + self.levels) * pixels


@dataclass(frozen=True, slots=True)
class Peak:
    """What a device can do at most."""

    operations: float
    """A second, at one precision."""
    bandwidth: float
    """Bytes a second."""


def floor(cost: LayerCost, peak: Peak, *, pixels: int, precision: str) -> float:
    """Seconds that a layer takes at least if its tensors pass through memory."""
    return max(cost.operations(pixels) / peak.operations, cost.traffic(pixels, precision=precision) / peak.bandwidth)


def total(costs: Iterable[LayerCost], peak: Peak, *, pixels: int, precision: str) -> float:
    """Seconds for the layers one after the other, each at its floor."""
    return sum(floor(cost, peak, pixels=pixels, precision=precision) for cost in costs)


def least(costs: Sequence[LayerCost], peak: Peak, *, pixels: int, precision: str) -> float:
    """Seconds that hold for any cache, too, for direct convolutions: all operations at the peak, or the pictures once
    through memory."""
    once = LayerCost(
        "all",
        macs=sum(cost.macs for cost in costs),
        levels=sum(cost.levels for cost in costs),
    )
    return floor(once, peak, pixels=pixels, precision=precision)


def with_kernels(costs: Sequence[LayerCost], *, scale: int) -> list[LayerCost]:
    """The layers of a network between its pack and its unpack kernel.

    scale: output pixels per input pixel along a side. RGB pictures of 8 bits; each kernel reads and writes once.
    """
    enlarged = 3.0 * scale**2
    return [LayerCost("pack", ends=3.0, levels=3.0), *costs, LayerCost("unpack", ends=enlarged, levels=enlarged)]


@dataclass(frozen=True, slots=True)
class _Kernels:
    """The graph cut into chains of nodes that are each done at once."""

    chains: list[list[ir.Node]]
    made_by: dict[ir.Value, int]
    """Which chain makes a tensor that depends on the network's input."""
    starts: set[ir.Value]
    """The network's input, and what is the same in another type."""


def layer_costs(model: ir.Model) -> list[LayerCost]:
    """The layers of a network, in order; what is done in place is left out. The model is not changed.

    Raises ModelError if the size of a tensor does not follow from the input's.
    """
    worked = work(model)
    kernels = _kernels(model)
    sizes = _sizes(model)
    start, end = model.graph.inputs[0], model.graph.outputs[0]
    takers: dict[ir.Value, set[int]] = {}
    for index, chain in enumerate(kernels.chains):
        for value in _inputs(chain):
            takers.setdefault(value, set()).add(index)

    def elements(values: Sequence[ir.Value]) -> float:
        unknown = [value.name for value in values if value.name not in sizes]
        if unknown:
            raise ModelError(f"the size of the tensor {unknown[0]} does not follow from the input's")
        return sum(sizes[value.name or ""] for value in values)

    costs = []
    for index, chain in enumerate(kernels.chains):
        if all(node.op_type in _IN_PLACE for node in chain):
            continue
        inputs = _inputs(chain)
        outputs = [value for node in chain for value in node.outputs]
        found = [worked[node] for node in chain if node in worked]
        ends = [start] * any(value in kernels.starts for value in inputs) + [end] * (end in outputs)
        costs.append(
            LayerCost(
                kind=chain[0].op_type,
                weight=found[0].weight if found else (),
                macs=float(sum(layer.macs for layer in found)),
                constants=sum(_numbers(value) for value in _inputs(node for node in chain if node.op_type != "Resize")),
                read=elements([value for value in inputs if kernels.made_by.get(value, index) != index]),
                written=elements(
                    [value for value in outputs if value is not end and takers.get(value, set()) - {index}]
                ),
                ends=elements(ends),
            )
        )
    return costs


def _inputs(chain: Iterable[ir.Node]) -> list[ir.Value]:
    """What the nodes of a chain read, each once."""
    return list(dict.fromkeys(value for node in chain for value in node.inputs if value is not None))


def _kernels(model: ir.Model) -> _Kernels:
    """An elementwise node joins the last chain that it reads, so that each chain reads from earlier ones only."""
    kernels = _Kernels([], {}, {model.graph.inputs[0]})
    for node in model.graph:
        before = [kernels.made_by[value] for value in node.inputs if value in kernels.made_by]
        from_start = any(value in kernels.starts for value in node.inputs)
        if not before and not from_start:
            continue  # computed from constants alone
        if not before and node.op_type in _CONVERSIONS:
            kernels.starts.update(node.outputs)
            continue
        if before and node.op_type in _ELEMENTWISE:
            kernels.chains[max(before)].append(node)
            index = max(before)
        else:
            kernels.chains.append([node])
            index = len(kernels.chains) - 1
        kernels.made_by.update(dict.fromkeys(node.outputs, index))
    return kernels


def _numbers(value: ir.Value) -> int:
    """How many numbers a constant holds; shapes and axes, which are whole, are not data of the network."""
    array = graph.constant(value)
    return int(array.size) if array is not None and array.dtype.kind == "f" else 0


def _sizes(model: ir.Model) -> dict[str, float]:
    """Elements of every tensor whose size can be inferred, by its name, per pixel of the input."""
    try:
        shapes, pixels = inferred_shapes(graph.to_proto(model), multiple=receptive_field(model).multiple)
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"sizes of tensors do not follow from the input's: {' '.join(str(error).split())}") from error
    return {name: math.prod(shape) / pixels for name, shape in shapes.items()}


def bounds(plan: Plan, precision: str, *, size: tuple[int, int] = (320, 480)) -> dict[str, tuple[float, float]]:
    """Milliseconds of a picture of `size` (height, width) in tiles of 256 x 256, for each of `peaks.ACCELERATORS`: if
    every tensor passes through memory, and if none does."""
    network = graph.from_plan(plan)
    graph.infer_shapes(network)
    costs = with_kernels(layer_costs(network), scale=plan.spec.scale)
    pixels = _TILE**2
    found = {}
    for gpu in ACCELERATORS:
        peak = Peak((gpu.fp16_tflops if precision == "fp16" else gpu.int8_tops) * 1e12, gpu.bandwidth * 1e9)
        both = (bound(costs, peak, pixels=pixels, precision=precision) for bound in (total, least))
        through, once = (seconds * size[0] * size[1] / pixels * 1e3 for seconds in both)
        found[gpu.name] = (through, once)
    return found


def table(columns: Sequence[tuple[str, str]] = COLUMNS) -> str:
    """The bounds of these models, by name, each at a precision, in Markdown."""
    found = [bounds(open_plan(name), precision) for name, precision in columns]
    words = {"int8": "all in int8 (TensorRT only)"}
    titles = [f"`{name}`, {words.get(precision, precision)}" for name, precision in columns]
    rows = [f"| ms, bound | {' | '.join(titles)} |", f"|---|{'---:|' * len(columns)}"]
    for gpu in ACCELERATORS:
        cells = [" / ".join(f"{time:#.2g}".rstrip(".") for time in column[gpu.name]) for column in found]
        rows.append(f"| {gpu.name} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())

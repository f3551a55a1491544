"""A network in float16, but for the layers that overflow or lose there: those are found on photographs.

What is rounded is what a layer reads (weights and activations) and what it gives. A layer alone is compared with itself
in float32, then the whole network; both on real pictures, run by onnxruntime in float32 on rounded values. For a GPU,
whose convolutions may add up in float32 or in float16, the network is tried with both, and has to do with the worse.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError, PlanError
from ..spec import NetworkSpec, Prelu
from . import graph
from .emulation import Emulation, rounded_network
from .half_sums import CHUNK, HEADROOM
from .io_normalization import Range
from .precision import LARGEST, to_fp16
from .reference import Floats, ReferenceRunner
from .slopes import single_network
from .value_range import test_picture

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from .plan import Plan

log = logging.getLogger(__name__)

LOSS = 2.0**-8
"""Largest root mean square error of a layer in float16, as a fraction of its result's own. Rounding alone is 2^-12; the
worst layer of fifteen real generators is at 2^-10."""
FIDELITY = 50.0
"""dB between the float16 network's picture and the float32 one's, at least: less than a level of 255 in root mean
square. With sums in float32, fifteen real generators are at 66 to 78, a tenth of a level and less; those of
benchmarks/networks.py, whose weights are random, at 56 and 59. Sums in float16 cost 3 to 8 dB of that. The largest
difference anywhere is 0.2 to 8 levels, the more the sharper a network draws."""


@dataclass(frozen=True, slots=True)
class Float32Layer:
    """A layer that stays in float32."""

    name: str
    kind: str
    """ONNX operator."""
    reason: str


@dataclass(frozen=True, slots=True)
class Fp16Network:
    """A plan's network in float16, for a GPU."""

    data: bytes
    """Serialised ONNX: "input" float16 (N, 3, h, w), "output" float16 (N, 3*r*r, h*scale/r, w*scale/r)."""
    float32: tuple[Float32Layer, ...]
    """Layers that stayed in float32, in the network's order."""
    fidelity: float
    """dB between its pictures and the float32 network's, of the output range, with sums in float32; at least
    `FIDELITY`."""
    half_sums: float | None
    """The same with sums in float16, at least `FIDELITY` too; None where they were not asked for."""
    levels: float
    """Largest difference between the two, in levels of 255."""

    def model(self) -> onnx.ModelProto:
        import onnx

        made: onnx.ModelProto = onnx.ModelProto.FromString(self.data)
        return made


@dataclass(frozen=True, slots=True)
class _Measurement:
    """A layer alone, in float16."""

    peak: float
    """Largest magnitude of what it reads and gives, in float32."""
    weight: float
    """Largest magnitude of its weights."""
    loss: float
    """Root mean square error as a fraction of the result's root mean square; nan where float16 overflowed."""

    @property
    def reason(self) -> str | None:
        if self.weight > LARGEST:
            return f"a weight of {self.weight:.3g} is beyond float16"
        if self.peak * HEADROOM > LARGEST or not math.isfinite(self.loss):
            return f"values reach {self.peak:.3g}, float16 ends at {LARGEST:.0f}"
        if self.loss > LOSS:
            return f"float16 is off by {self.loss:.1e} of its result"
        return None


def fp16_network(plan: Plan, *, prelu: Prelu = "inside", chunk: int = CHUNK) -> Fp16Network:
    """The network of `plan`, an fp32 or fp16 plan, with float16 ends, for a GPU; prelu: see spec.Prelu; chunk: see
    half_sums.

    Raises PlanError for another plan, ModelError if even float32 between float16 ends is off by more than `FIDELITY`.
    """
    if plan.spec.precision not in ("fp32", "fp16"):
        raise PlanError(f"{plan.path} is a plan in {plan.spec.precision}: name one in fp32 or fp16")
    return convert_to_fp16(
        single_network(plan, prelu),
        input_range=plan.spec.input_range,
        output_range=plan.spec.output_range,
        shape=plan.spec.fixed_shape,
        multiple=plan.spec.multiple,
        fp16_io=True,
        chunk=chunk,
    )


def half_network(model: ir.Model, spec: NetworkSpec) -> Fp16Network:
    """`model`, the network of an fp32 plan with `spec`, with float32 ends. Raises ModelError as `fp16_network` does."""
    graph.infer_shapes(model)
    return convert_to_fp16(
        model,
        input_range=spec.input_range,
        output_range=spec.output_range,
        shape=spec.fixed_shape,
        multiple=spec.multiple,
        fp16_io=False,
    )


def convert_to_fp16(
    model: ir.Model,
    *,
    input_range: Range,
    output_range: Range,
    shape: tuple[int, int] | None,
    multiple: int,
    fp16_io: bool,
    chunk: int | None = None,
) -> Fp16Network:
    """`model`, which is in float32 and stays as it is, in float16; its ends too with `fp16_io`, else float32.

    chunk: see half_sums; None where all sums are in float32.
    input_range, output_range, shape, multiple: as in NetworkSpec. Raises ModelError as `fp16_network` does.
    """
    prepare_for_fp16(model)
    low, high = input_range
    samples = [(sample * (high - low) + low).astype(np.float32) for sample in sample_inputs(shape, multiple)]
    few = samples[-1:]  # sums in float16 take long, and every pixel has thousands of them
    reference = _levels(graph.to_proto(model), samples, output_range)
    measured = measure_layers(model, samples)
    reasons = {name: found.reason for name, found in measured.items() if found.reason is not None}
    # The network as a whole may lose where no layer alone does: then the worst of them go back as well, ever more.
    worst = _worst(measured, reasons)
    more, in_sums = 0, False
    while True:
        where = "with sums in float16, it" if in_sums else "float16"
        reasons |= {name: f"{where} is off by {measured[name].loss:.1e} of its result" for name in worst[:more]}
        data, stayed = _converted(model, reasons, fp16_io=fp16_io)
        rounded = _levels(rounded_network(model, reasons, fp16_io=fp16_io), samples, output_range)
        (fidelity, levels), summed = _compare(rounded, reference), None
        if fidelity >= FIDELITY and chunk is not None:
            network = rounded_network(model, reasons, fp16_io=fp16_io, chunk=chunk)
            summed, _ = _compare(_levels(network, few, output_range, optimise=False), reference[-1:])
        if fidelity >= FIDELITY and (summed is None or summed >= FIDELITY):
            break
        if summed is not None and not in_sums:
            measured, in_sums = measured | measure_layers(model, few, chunk=chunk), True
            reasons |= {
                name: f"with sums in float16, {why}"
                for name, found in measured.items()
                if name not in reasons and (why := found.reason) is not None
            }
            worst, more = _worst(measured, reasons), 0
            continue
        if more >= len(worst):
            raise ModelError(
                f"float16 at the network's ends alone moves its picture by {levels:.1f} levels: use --precision fp32"
            )
        more = min(len(worst), max(1, 2 * more))
    kept = tuple(Float32Layer(name, kind, reasons[name]) for name, kind in stayed if name in reasons)
    for layer in kept:
        log.info("%s (%s) stays in float32: %s", layer.name, layer.kind, layer.reason)
    if 2 * len(kept) > len(measured):
        log.warning("%d of %d layers stay in float32: float16 gains little here", len(kept), len(measured))
    return Fp16Network(data, kept, fidelity, summed, levels)


def _worst(measured: dict[str, _Measurement], reasons: Collection[str]) -> list[str]:
    """The layers that are in float16, by what they lose."""
    return sorted(measured.keys() - set(reasons), key=lambda name: -measured[name].loss)


def sample_inputs(shape: tuple[int, int] | None, multiple: int) -> list[Floats]:
    """Pictures (1, 3, h, w), 0..1: the test picture as it is, a part of each of its two photographs at twice its size,
    and its middle's negative.

    For a network that takes one size only, windows of it.
    """
    photo = test_picture()
    parts = [photo[:, :, 32:64, x : x + 32].repeat(2, axis=2).repeat(2, axis=3) for x in (16, 80)]
    found = [photo, *(_smooth(part) for part in parts), 1 - photo[:, :, 32:80, 40:88]]
    return [_fitted(each, shape, multiple) for each in found]


def _smooth(picture: Floats) -> Floats:
    """Neighbours averaged both ways: pixels that were repeated become a gradient."""
    once = picture[:, :, :, :-1] + picture[:, :, :, 1:]
    mean: Floats = (once[:, :, :-1] + once[:, :, 1:]) * np.float32(0.25)
    return mean


def _fitted(picture: Floats, shape: tuple[int, int] | None, multiple: int) -> Floats:
    height, width = shape or (max(side // multiple, 1) * multiple for side in picture.shape[2:])
    repeats = (1, 1, -(-height // picture.shape[2]), -(-width // picture.shape[3]))
    return np.ascontiguousarray(np.tile(picture, repeats)[:, :, :height, :width])


def prepare_for_fp16(model: ir.Model) -> None:
    """Every node has a name of its own, every value a type."""
    graph.tidy(model)
    graph.infer_shapes(model)
    taken: set[str] = set()
    for index, node in enumerate(model.graph):
        name = node.name or f"{node.op_type}_{index}"
        node.name = name if name not in taken else f"{name}_{index}"
        taken.add(node.name)


def _converted(model: ir.Model, reasons: dict[str, str], *, fp16_io: bool) -> tuple[bytes, list[tuple[str, str]]]:
    """The serialised network with the nodes in `reasons` in float32, and names and kinds of all that are."""
    import onnx_ir as ir

    copy = graph.from_proto(graph.to_proto(model))
    stayed = to_fp16(
        copy,
        float32=[node for node in copy.graph if node.name in reasons],
        io_type=ir.DataType.FLOAT16 if fp16_io else ir.DataType.FLOAT,
    )
    names = [(node.name or "", node.op_type) for node in stayed]
    data: bytes = graph.to_proto(copy).SerializeToString()
    return data, names


def measure_layers(model: ir.Model, samples: list[Floats], *, chunk: int | None = None) -> dict[str, _Measurement]:
    """Each node alone in float16, on what it reads in the float32 network; chunk: see half_sums, None for float32."""
    from onnx import helper

    emulation = Emulation(model, chunk=chunk)
    nodes: list[onnx.NodeProto] = []
    watched: list[str] = []
    for node in emulation.nodes:
        nodes.append(node)
        if node.name not in emulation.halvable:
            continue
        name = node.output[0]
        nodes += emulation.rounded_node(node, suffix=".half")
        watched.append(name)
        nodes += [
            helper.make_node("Sub", [name, f"{name}.half"], [f"{name}.difference"]),
            helper.make_node("ReduceSumSquare", [f"{name}.difference"], [f"{name}.error"], keepdims=0),
            helper.make_node("ReduceSumSquare", [name], [f"{name}.energy"], keepdims=0),
        ]
    peaks = [value for value in emulation.floats if value not in emulation.weights]
    for value in peaks:
        nodes += [
            helper.make_node("Abs", [value], [f"{value}.magnitude"]),
            helper.make_node("ReduceMax", [f"{value}.magnitude"], [f"{value}.peak"], keepdims=0),
        ]
    outputs = [f"{name}.{what}" for name in watched for what in ("error", "energy")]
    outputs += [f"{value}.peak" for value in peaks]
    run = ReferenceRunner(emulation.model(nodes, outputs), optimise=chunk is None)
    found = [dict(zip(outputs, run.every_output(sample), strict=True)) for sample in samples]
    peak = {value: max(float(each[f"{value}.peak"]) for each in found) for value in peaks}
    measured = {}
    for node in emulation.nodes:
        if node.name not in emulation.halvable:
            continue
        error, energy = (sum(float(each[f"{node.output[0]}.{what}"]) for each in found) for what in ("error", "energy"))
        weights = [np.abs(emulation.weights[name]).max(initial=0) for name in node.input if name in emulation.weights]
        measured[node.name] = _Measurement(
            peak=max((peak[name] for name in [*node.input, *node.output] if name in peak), default=0.0),
            weight=float(max(weights, default=0.0)),
            loss=math.sqrt(error / energy) if energy else math.sqrt(error),
        )
    return measured


def _levels(
    model: onnx.ModelProto, samples: list[Floats], output_range: Range, *, optimise: bool = True
) -> list[Floats]:
    """What the network makes of the samples, as levels 0..255."""
    runner, (low, high) = ReferenceRunner(model, optimise=optimise), output_range
    return [np.clip((runner(sample) - low) / (high - low), 0, 1) * 255 for sample in samples]


def _compare(results: list[Floats], references: list[Floats]) -> tuple[float, float]:
    """dB and largest difference between levels; a result that is not finite is infinitely off."""
    squares, largest = [], 0.0
    for result, reference in zip(results, references, strict=True):
        difference = np.abs(np.where(np.isfinite(result), result - reference, np.inf))
        squares.append(np.mean(np.square(difference, dtype=np.float64)))
        largest = max(largest, float(difference.max()))
    mean = float(np.mean(squares))
    return (-10 * math.log10(max(mean, 1e-12) / 255**2) if math.isfinite(mean) else -math.inf), largest

"""The layers of a built engine, with the precision and the traffic that each really has: as TensorRT-RTX's log tells
them, or the engine inspector of TensorRT."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DeviceError
from .grid import pixel_bytes

if TYPE_CHECKING:
    import onnx

_NAMES = (
    ("bfloat16|bf16", "bf16"),
    ("half|fp16|float16", "fp16"),
    ("float8|fp8|e4m3", "fp8"),
    ("float|fp32", "fp32"),
    ("int8", "int8"),
    ("int32", "int32"),
    ("int64", "int64"),
    ("bool", "bool"),
)
_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\], Constants: \[(?P<constants>.*?)\], "
    r"Outputs: \[(?P<outputs>.*?)\], TacticName: (?P<tactic>.*?)(, StreamId.*?)?, Metadata: (?P<metadata>.*)$"
)
_TENSOR = re.compile(
    r"Name: (?P<name>.*?), Dimensions: \[(?P<sides>[^\]]*)\].*?Datatype: (?P<type>\w+)(, Format: \((?P<format>\w+)\))?"
)
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_POINTWISE = ("kgen", "runtime_function", "PointWise", "PointWiseV2")
"""Kinds whose constants are not filters."""
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LESS_THAN_FP32 = ("bf16", "fp16", "fp8", "int8")
_OTHER_PROFILE = re.compile(r"\[profile [1-9]\d*\]")
"""In what is told of some layers of every profile but the first: they are the same network again. The others are of one
graph with these."""
_GRAPH = re.compile(r"_myl\d+(?=_\d+$)")
_FILTERING = re.compile(r"conv|correlation|runtime_fusion|gemm|matmul|matrixmultiply", re.IGNORECASE)
_LAUNCHES_NOTHING = ("shape_call", "ShapeHostToDevice")
_SUMS = (
    # sm80_xmma_fprop_implicit_gemm_f16f16_f16f16_f16_nhwckrsc_...: what is multiplied, what is given, the sums.
    (re.compile(r"_(?:b?f16|t?f32|[isu]8|e4m3)+_(?:b?f16|f32|[isu](?:8|32)|e4m3)+_(f16|f32|[is]32)_"), None),
    # turing_h1688cudnn_..., cutlass_80_tensorop_s16816fprop_...: the letter before the shape of one instruction.
    (re.compile(r"_([hsi])(?:884|1688|16816|16832|64\d+x)"), {"h": "fp16", "s": "fp32", "i": "int32"}),
)


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer as it was built: often several of the network's in one."""

    name: str
    kind: str
    """In TensorRT's words."""
    reads: str
    """fp16, fp32, int8, ...: type of its first input; "-" where it has none."""
    gives: str
    """Type of its first output."""
    filters: str | None
    """Type of a convolution's weights; None for other layers."""
    made_of: tuple[str, ...]
    """Names of the network's nodes in it, where TensorRT tells."""
    format: str = "-"
    """Of what it gives: "NHWC", "Linear", or TensorRT's words."""
    pixel_bytes: float | None = None
    """Bytes that it reads and writes, weights aside, for each pixel of the network's input; None where not known."""
    sums: str | None = None
    """Type in which a convolution adds up, if its kernel's name tells it."""

    @property
    def is_kernel(self) -> bool:
        """False for what runs on the host."""
        return self.kind not in _LAUNCHES_NOTHING


@dataclass(frozen=True, slots=True)
class _Tensor:
    name: str
    sides: tuple[int, ...]
    type: str
    format: str


def from_log(lines: Iterable[str], grid: Mapping[str, float] | None = None) -> tuple[BuiltLayer, ...]:
    """The layers that the VERBOSE log of a build with ProfilingVerbosity.DETAILED lists, in order.

    grid: what `pixel_grid` says of the network, for `pixel_bytes`.
    """
    found = []
    areas: dict[str, float] = {}
    matches = [match for line in lines if (match := _LINE.search(line)) is not None]
    for match, first in zip(matches, _of_first_profile([(each["name"], each.string) for each in matches]), strict=True):
        if first:
            inputs, constants, outputs = (_tensors(match[part]) for part in ("inputs", "constants", "outputs"))
            filters = [tensor.type for tensor in constants if _is_filter(tensor.sides)]
            if not filters and _FILTERING.search(match["kind"]):
                # Weights that another layer makes when the engine runs: dequantised ones, on GPUs without int8.
                filters = [tensor.type for tensor in inputs[1:] if _is_filter(tensor.sides)]
            found.append(
                _layer(
                    match["name"],
                    match["kind"],
                    inputs,
                    outputs,
                    filters[0] if filters and match["kind"] not in _POINTWISE else None,
                    match["metadata"],
                    match["tactic"],
                    grid,
                    areas,
                )
            )
    return tuple(found)


def from_inspector(text: str, grid: Mapping[str, float] | None = None) -> tuple[BuiltLayer, ...]:
    """The layers in what IEngineInspector.get_engine_information gives as JSON; grid: as in `from_log`."""
    try:
        listed: Any = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return ()
    found = []
    areas: dict[str, float] = {}
    listed = [layer for layer in listed if isinstance(layer, dict)]  # not a name alone, of a build without details
    told = [(str(layer.get("Name", "")), json.dumps(layer)) for layer in listed]
    for layer, first in zip(listed, _of_first_profile(told), strict=True):
        if not first:
            continue
        kind, weights = str(layer.get("LayerType", "")), layer.get("Weights")
        inputs, outputs = ([_told(each) for each in layer.get(part, ())] for part in ("Inputs", "Outputs"))
        filters = None
        if _FILTERING.search(kind):
            reads = inputs[0].type if inputs else "-"
            filters = _type(str(weights.get("Type", ""))) if isinstance(weights, dict) else reads
        name, metadata, tactic = (str(layer.get(key, "")) for key in ("Name", "Metadata", "TacticName"))
        found.append(_layer(name, kind, inputs, outputs, filters, metadata, tactic, grid, areas))
    return tuple(found)


def _of_first_profile(told: Sequence[tuple[str, str]]) -> list[bool]:
    """For the name of each layer and all that is told of it."""
    graphs = [match[0] if (match := _GRAPH.search(name)) else name for name, _ in told]
    others = {graph for graph, (_, text) in zip(graphs, told, strict=True) if _OTHER_PROFILE.search(text)}
    return [graph not in others for graph in graphs]


def _layer(
    name: str,
    kind: str,
    inputs: Sequence[_Tensor],
    outputs: Sequence[_Tensor],
    filters: str | None,
    metadata: str,
    tactic: str,
    grid: Mapping[str, float] | None,
    areas: dict[str, float],
) -> BuiltLayer:
    made_of = tuple(_ORIGIN.findall(metadata))
    traffic = None
    if grid is not None:
        read, written = ([(each.name, each.sides, each.type) for each in part] for part in (inputs, outputs))
        traffic = pixel_bytes(read, written, made_of, grid=grid, areas=areas)
    return BuiltLayer(
        name=name,
        kind=kind,
        reads=inputs[0].type if inputs else "-",
        gives=outputs[0].type if outputs else "-",
        filters=filters,
        made_of=made_of,
        format=outputs[0].format if outputs else "-",
        pixel_bytes=traffic,
        sums=None if filters is None else sums_of(tactic),
    )


def sums_of(tactic: str) -> str | None:
    """The type in which a kernel of this name adds up; None where the name does not tell."""
    for pattern, letters in _SUMS:
        match = pattern.search(tactic)
        if match is not None:
            return letters[match[1]] if letters else match[1].replace("f", "fp").replace("i", "int").replace("s", "int")
    return None


def describe_kernels(layers: Sequence[BuiltLayer]) -> str:
    """How many kernels there are of each sort, in what they add up, and what they move, in words."""
    kernels = [layer for layer in layers if layer.is_kernel]
    filters = [layer for layer in kernels if layer.filters is not None]
    sums = Counter(layer.sums or "a type that their names do not tell" for layer in filters)
    parts = [f"{len(kernels)}: {len(filters)} convolutions, {len(kernels) - len(filters)} others"]
    if filters:
        parts.append(f"sums in {', '.join(f'{kind} ({count})' for kind, count in sorted(sums.items()))}")
    if kernels and all(layer.pixel_bytes is not None for layer in kernels):
        parts.append(f"{sum(layer.pixel_bytes or 0 for layer in kernels) / 1e3:.1f} kB for each pixel of the picture")
    return "; ".join(parts)


def convolutions(network: onnx.ModelProto) -> tuple[int, int]:
    """How many convolutions an ONNX model has, and how many of them have float32 weights."""
    from onnx import TensorProto

    types = {tensor.name: tensor.data_type for tensor in network.graph.initializer}
    found = [types.get(node.input[1]) for node in network.graph.node if node.op_type in _CONVOLUTIONS]
    return len(found), found.count(TensorProto.FLOAT)


def unreported(layers: Sequence[BuiltLayer], network: onnx.ModelProto) -> int:
    """Of how many convolutions of an ONNX model `layers` do not tell the type: neither by name, as one of those that a
    layer was made of, nor by a layer with filters that names none of them."""
    nodes = enumerate(network.graph.node)
    # TensorRT gives nodes without a name one like these.
    names = {node.name or f"{node.op_type}_{index}" for index, node in nodes if node.op_type in _CONVOLUTIONS}
    made_of = [names & set(layer.made_of) for layer in layers if layer.filters is not None]
    named, nameless = set().union(*made_of), made_of.count(set())
    return max(0, convolutions(network)[0] - len(named) - nameless)


def check_layers(layers: Sequence[BuiltLayer], network: onnx.ModelProto, *, precision: str) -> None:
    """Raises DeviceError if convolutions were told to be in another type than `network` has them in: more in fp32, or,
    which would overflow, more in fp16; in "fp32", any in less. Of those that `unreported` counts it cannot know."""
    count, single = convolutions(network)
    filters = [layer for layer in layers if layer.filters is not None]
    if precision == "fp32":
        less = [layer for layer in filters if not {layer.filters, layer.reads}.isdisjoint(_LESS_THAN_FP32)]
        if less:
            raise DeviceError(
                f"fp32 was asked for, but TensorRT built {len(less)} of {len(filters)} convolutions in "
                f"{less[0].filters} that reads {less[0].reads} ({less[0].name}, ...): use another version of TensorRT"
            )
        return
    wide = [layer for layer in filters if "fp32" in (layer.filters, layer.reads)]
    if len(wide) > single:
        raise DeviceError(
            f"{precision} was asked for, but TensorRT built {len(wide)} of {len(filters)} convolutions in fp32 "
            f"({wide[0].name}, ...), and {single} should be: use --precision fp32, or another version of TensorRT"
        )
    narrow = [layer for layer in filters if layer.filters == "fp16"]
    if precision == "fp16" and len(narrow) > count - single:
        raise DeviceError(
            f"TensorRT built {len(narrow)} of {len(filters)} convolutions in fp16, and {single} overflow or lose "
            "there: use --precision fp32, or another version of TensorRT"
        )


def _is_filter(sides: Sequence[int]) -> bool:
    """Weights of a convolution: four fixed dimensions, of which more than one has a length (biases and slopes have
    one)."""
    return len(sides) == 4 and min(sides) > 0 and sum(length != 1 for length in sides) > 1


def _tensors(text: str) -> list[_Tensor]:
    """Those of a log's line."""
    return [
        _Tensor(
            match["name"],
            tuple(int(side) for side in match["sides"].split(",") if side.strip()),
            _type(match["type"]),
            match["format"] or "-",
        )
        for match in _TENSOR.finditer(text)
    ]


def _told(tensor: Any) -> _Tensor:
    """One of the inspector's."""
    if not isinstance(tensor, dict):
        return _Tensor("", (), "-", "-")
    told = str(tensor.get("Format/Datatype") or tensor.get("Format") or "")
    type_ = _type(str(tensor.get("Datatype") or told))
    sides = tensor.get("Dimensions") or ()
    return _Tensor(str(tensor.get("Name", "")), tuple(int(side) for side in sides), type_, told or "-")


def _type(word: str) -> str:
    return next((name for pattern, name in _NAMES if re.search(pattern, word, re.IGNORECASE)), word or "-")

"""The layers of a built engine, with the precision that each really has: as TensorRT-RTX's log tells them, or the
engine inspector of TensorRT."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import DeviceError

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
    r"Outputs: \[(?P<outputs>.*?)\], TacticName: .*?Metadata: (?P<metadata>.*)$"
)
_TENSOR = re.compile(r"Dimensions: \[(?P<sides>[^\]]*)\].*?Datatype: (?P<type>\w+)")
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_POINTWISE = ("kgen", "runtime_function", "PointWise", "PointWiseV2")
"""Kinds whose constants are not filters."""
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_LESS_THAN_FP32 = ("bf16", "fp16", "fp8", "int8")
_FILTERING = re.compile(r"conv|correlation|gemm|matmul|matrixmultiply", re.IGNORECASE)


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


def from_log(lines: Iterable[str]) -> tuple[BuiltLayer, ...]:
    """The layers that the VERBOSE log of a build with ProfilingVerbosity.DETAILED lists, in order."""
    found = []
    for line in lines:
        match = _LINE.search(line)
        if match is not None:
            tensors = {part: _TENSOR.findall(match[part]) for part in ("inputs", "constants", "outputs")}
            types = {part: [_type(kind) for _, kind in each] for part, each in tensors.items()}
            filters = [_type(kind) for sides, kind in tensors["constants"] if _is_filter(sides.split(","))]
            if not filters and _FILTERING.search(match["kind"]):
                # Weights that another layer makes when the engine runs: dequantised ones, on GPUs without int8.
                filters = [_type(kind) for sides, kind in tensors["inputs"][1:] if _is_filter(sides.split(","))]
            found.append(
                BuiltLayer(
                    name=match["name"],
                    kind=match["kind"],
                    reads=_first(types["inputs"]),
                    gives=_first(types["outputs"]),
                    filters=filters[0] if filters and match["kind"] not in _POINTWISE else None,
                    made_of=tuple(_ORIGIN.findall(match["metadata"])),
                )
            )
    return tuple(found)


def from_inspector(text: str) -> tuple[BuiltLayer, ...]:
    """The layers in what IEngineInspector.get_engine_information gives as JSON."""
    try:
        listed: Any = json.loads(text).get("Layers", [])
    except (ValueError, AttributeError):
        return ()
    found = []
    for layer in listed:
        if not isinstance(layer, dict):  # a name alone: the engine was built without details
            continue
        kind, weights = str(layer.get("LayerType", "")), layer.get("Weights")
        reads = _first([_tensor_type(each) for each in layer.get("Inputs", ())])
        filters = None
        if _FILTERING.search(kind):
            filters = _type(str(weights.get("Type", ""))) if isinstance(weights, dict) else reads
        found.append(
            BuiltLayer(
                name=str(layer.get("Name", "")),
                kind=kind,
                reads=reads,
                gives=_first([_tensor_type(each) for each in layer.get("Outputs", ())]),
                filters=filters,
                made_of=tuple(_ORIGIN.findall(str(layer.get("Metadata", "")))),
            )
        )
    return tuple(found)


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
    """Raises DeviceError if convolutions were not built in the type that `network` has them in: more in fp32, or, which
    would overflow, more in fp16; in "fp32", any in less. Of those that `unreported` counts it cannot know."""
    count, single = convolutions(network)
    if not count:
        return
    filters = [layer for layer in layers if layer.filters is not None]
    if precision == "fp32":
        less = [layer for layer in filters if not {layer.filters, layer.reads}.isdisjoint(_LESS_THAN_FP32)]
        if less:
            raise DeviceError(
                f"fp32 was asked for, but TensorRT built {len(less)} of {len(filters)} convolutions in "
                f"{less[0].filters} that reads {less[0].reads} ({less[0].name}, ...): use another version of TensorRT"
            )
        return
    if not filters:
        raise DeviceError(
            f"TensorRT does not tell in which precision it built the convolutions, and {precision} was asked for: "
            "use --precision fp32, or another version of TensorRT"
        )
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


def _is_filter(sides: Sequence[str]) -> bool:
    """Weights of a convolution: four fixed dimensions, of which more than one has a length (biases and slopes have
    one)."""
    lengths = [int(side) for side in sides if side.strip()]
    return len(lengths) == 4 and min(lengths) > 0 and sum(length != 1 for length in lengths) > 1


def _tensor_type(tensor: Any) -> str:
    if not isinstance(tensor, dict):
        return "-"
    return _type(str(tensor.get("Datatype") or tensor.get("Format/Datatype") or ""))


def _type(word: str) -> str:
    return next((name for pattern, name in _NAMES if re.search(pattern, word, re.IGNORECASE)), word or "-")


def _first(types: Sequence[str]) -> str:
    return types[0] if types else "-"

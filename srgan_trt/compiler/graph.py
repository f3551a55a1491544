"""The graph as the passes see it: onnx-ir models, constants, convolution facts, rules to a fixed point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from onnxscript.rewriter.pattern import RewriteRule, RewriteRuleClassBase

    from .plan import Plan

INPUT, OUTPUT = "input", "output"
Floats = NDArray[np.float32]
NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
"""The one spelling of enlargement by repetition, as attributes of Resize."""
_MULTIPLY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Mul", "BatchNormalization", "PRelu"})
UNARY = ("Relu", "LeakyRelu", "Elu", "Selu", "Tanh", "Sigmoid", "HardSigmoid", "HardSwish", "Softplus", "Gelu")
"""Operations that take each value by itself."""


def from_proto(model: onnx.ModelProto) -> ir.Model:
    import onnx_ir as ir

    return ir.from_proto(model)


def from_plan(plan: Plan) -> ir.Model:
    """The network of `plan`, a copy of its own. Raises PlanError if the file was replaced since it was opened."""
    import onnx

    return from_proto(onnx.load_from_string(plan.network()))


def to_proto(model: ir.Model) -> onnx.ModelProto:
    import onnx_ir as ir

    proto: onnx.ModelProto = ir.to_proto(model)
    return proto


def constant(value: ir.Value | None) -> NDArray[Any] | None:
    """The array behind ``value`` if the graph fixes it, else None."""
    from onnx_ir.convenience import get_const_tensor

    if value is None:
        return None
    tensor = get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def check_finite(model: ir.Model, name: str) -> None:
    """Raises ModelError for weights that are not finite: NaN anywhere, infinities where they would be multiplied."""
    for node in model.graph.all_nodes():
        for value in node.inputs:
            array = constant(value)
            if value is None or array is None or array.dtype.kind != "f":
                continue
            if np.isnan(array).any() or (node.op_type in _MULTIPLY and not np.isfinite(array).all()):
                raise ModelError(
                    f"{name} has weights that are not finite ({value.name}): its training diverged; take an earlier "
                    "checkpoint"
                )


def dims(value: ir.Value | None) -> list[int | None] | None:
    """The shape with None for free sides; None where even the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return [side if isinstance(side, int) else None for side in value.shape]


def per_channel(array: NDArray[Any] | None) -> Floats | None:
    """A scalar or per-channel NCHW constant as a vector of 1 or C values; None for anything else."""
    if array is None:
        return None
    if array.size == 1:
        return array.reshape(1).astype(np.float32)
    shape = array.shape
    if len(shape) >= 3 and shape[-1] == shape[-2] == 1 and array.size == shape[-3]:
        return array.reshape(-1).astype(np.float32)
    return None


def column(vector: NDArray[Any]) -> Floats:
    """A vector of 1 or C values in the shape that broadcasts over (N, C, H, W)."""
    return vector.astype(np.float32).reshape(-1, 1, 1)


@dataclass(frozen=True, slots=True)
class Convolution:
    """What a Conv or ConvTranspose node does, with ONNX's defaults filled in."""

    weight: Floats
    bias: Floats | None
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    """top, left, bottom, right"""
    dilations: tuple[int, int]
    group: int

    @property
    def keeps_size(self) -> bool:
        """Stride 1, dense, and the output as large as the input."""
        height, width = self.weight.shape[2:]
        top, left, bottom, right = self.pads
        return (
            self.strides == (1, 1)
            and self.dilations == (1, 1)
            and self.group == 1
            and top + bottom == height - 1
            and left + right == width - 1
        )


def convolution(node: ir.Node) -> Convolution | None:
    """The facts of ``node``, or None where its weights are not constants or its padding is not explicit."""
    weight = constant(node.inputs[1])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if weight is None or weight.ndim != 4 or (len(node.inputs) > 2 and node.inputs[2] is not None and bias is None):
        return None
    attributes = node.attributes
    if "auto_pad" in attributes and attributes["auto_pad"].as_string() not in ("NOTSET", "VALID"):
        return None
    if "output_shape" in attributes or any(attributes.get_ints("output_padding", (0, 0))):
        return None
    strides = tuple(attributes.get_ints("strides", (1, 1)))
    pads = tuple(attributes.get_ints("pads", (0, 0, 0, 0)))
    dilations = tuple(attributes.get_ints("dilations", (1, 1)))
    group = attributes.get_int("group", 1)
    return Convolution(
        weight.astype(np.float32),
        None if bias is None else bias.astype(np.float32),
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilations[0], dilations[1]),
        group,
    )


def enlargement(node: ir.Node) -> int | None:
    """r of a Resize that enlarges (N, C, H, W) by the same whole r along both sides, else None."""
    before, after = (dims(value) for value in (node.inputs[0], node.outputs[0]))
    scales = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if scales is not None and scales.size == 4:
        _, channel, vertical, horizontal = (float(s) for s in scales)
        ratios = [channel, vertical, horizontal]
    elif before and after and len(before) == len(after) == 4 and None not in before[1:] + after[1:]:
        ratios = [a / b for a, b in zip(after[1:], before[1:], strict=True)]  # type: ignore[operator]
    else:
        return None
    whole = round(ratios[1])
    return whole if ratios == [1.0, whole, whole] and whole >= 1 else None


def emit_conv(op: Any, x: ir.Value, weight: NDArray[Any], bias: NDArray[Any] | None, pads: tuple[int, ...]) -> ir.Value:
    """A stride-1 convolution with constant float32 weights, inside a rewrite."""
    parts = [weight] if bias is None else [weight, bias]
    inputs = [emit_constant(op, part.astype(np.float32)) for part in parts]
    value: ir.Value = op.Conv(x, *inputs, kernel_shape=list(weight.shape[2:]), pads=list(pads), strides=[1, 1])
    return value


def emit_constant(op: Any, array: NDArray[Any]) -> ir.Value:
    import onnx_ir as ir

    value: ir.Value = op.Constant(value=ir.tensor(np.ascontiguousarray(array)))
    return value


def add_initializer(owner: ir.Graph, name: str, array: NDArray[Any] | np.generic) -> ir.Value:
    """A new constant of the graph, which holds `array` as it is."""
    import onnx_ir as ir

    tensor = ir.tensor(np.asarray(array, order="C"), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(np.shape(array)), type=ir.TensorType(tensor.dtype))
    owner.register_initializer(value)
    return value


def tidy(model: ir.Model) -> None:
    """Constants become initialisers, identities and whatever nobody reads go."""
    from onnx_ir.passes import Sequential
    from onnx_ir.passes import common as passes

    Sequential(
        passes.IdentityEliminationPass(),
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.RemoveUnusedNodesPass(),
        passes.TopologicalSortPass(),
    )(model)


def infer_shapes(model: ir.Model) -> None:
    from onnx_ir.passes.common import ShapeInferencePass

    ShapeInferencePass()(model)


def rule(instance: RewriteRuleClassBase) -> RewriteRule:
    """The rule that ``instance`` describes by its pattern, check and rewrite."""
    from onnxscript.rewriter.pattern import RewriteRule

    return RewriteRule(instance.pattern, instance.rewrite, instance.check, name=instance.name)


def apply(model: ir.Model, *rules: RewriteRule, commute: bool = False, limit: int = 200) -> int:
    """Applies ``rules`` until none matches; returns how many rewrites were done."""
    from onnxscript.rewriter.pattern import RewriteRuleSet

    total = 0
    for _ in range(limit):
        done = RewriteRuleSet(list(rules), commute=commute).apply_to_model(model)
        tidy(model)
        total += done
        if not done:
            return total
    raise AssertionError(f"{[rule.name for rule in rules]} did not settle after {limit} rounds")

"""One spelling for each thing: exporters write PReLU, padding, enlargement and shuffles in many ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnxscript.rewriter import rules
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from . import graph
from .cubic import lower_cubic
from .layout import shrink_constants, sink_transposes
from .movement import name_movements

if TYPE_CHECKING:
    import onnx_ir as ir


def canonicalise(model: ir.Model) -> None:
    """Brings ``model`` (static shapes, opset 18 or later) to the spellings that the passes know.

    PReLU is PRelu, enlargement by repetition is Resize nearest/asymmetric/floor with integer scales, padding is
    explicit, shuffles are DepthToSpace in DCR mode.
    """
    from onnxscript import optimizer

    graph.tidy(model)
    optimizer.optimize(model, num_iterations=2, onnx_shape_inference=True)
    graph.tidy(model)
    graph.infer_shapes(model)
    common = rules.common
    graph.apply(
        model,
        common.normalize_pad_format_conv_rule,
        common.fuse_pad_into_conv_rule,
        common.no_op_transpose_rule,
        common.transpose_transpose_rule,
        common.dropout_inference_rule,
    )
    _sink(model)
    while name_movements(model):  # one that ends in NHWC leaves a transpose, which sinks to the next
        _sink(model)
    graph.apply(
        model, graph.rule(PReluFromRelus()), graph.rule(PReluFromDifference()), graph.rule(PReluFromAbs()), commute=True
    )
    graph.apply(model, graph.rule(LeakyFromMax()), commute=True)
    graph.apply(model, graph.rule(NearestSpelling()), graph.rule(ColumnRowColumn()))
    lower_cubic(model)


def _sink(model: ir.Model) -> None:
    """Transposes that are taken back behind nodes that work on each value alone go."""
    shrink_constants(model)
    sink_transposes(model)
    graph.tidy(model)
    graph.infer_shapes(model)
    graph.apply(model, rules.common.no_op_transpose_rule, rules.common.transpose_transpose_rule)


class _PRelu(RewriteRuleClassBase):
    """Shared by the spellings of PReLU: the slope is a constant, per channel or per pixel."""

    sign = 1.0

    def check(self, context: Any, x: ir.Value, slope: ir.Value, **_: Any) -> bool:
        array = graph.constant(slope)
        return array is not None and (array.ndim < 4 or array.shape[0] == 1)

    def rewrite(self, op: Any, x: ir.Value, slope: ir.Value, **_: Any) -> ir.Value:
        array = graph.constant(slope)
        assert array is not None
        full = array.reshape((1,) * (4 - array.ndim) + array.shape)[0]
        value: ir.Value = op.PRelu(x, graph.emit_constant(op, (self.sign * full).astype(np.float32)))
        return value


class PReluFromRelus(_PRelu):
    """relu(x) + (-a) * relu(-x), as Keras writes PReLU."""

    sign = -1.0

    def pattern(self, op: Any, x: Any, slope: Any) -> Any:
        return op.Add(op.Relu(x), op.Mul(op.Relu(op.Neg(x)), slope))


class PReluFromDifference(_PRelu):
    """relu(x) - a * relu(-x)."""

    def pattern(self, op: Any, x: Any, slope: Any) -> Any:
        return op.Sub(op.Relu(x), op.Mul(op.Relu(op.Neg(x)), slope))


class PReluFromAbs(_PRelu):
    """relu(x) + a * (x - |x|) * 0.5, as older code bases write it; tf2onnx leaves the half outside or inside."""

    def pattern(self, op: Any, x: Any, slope: Any) -> Any:
        return op.Add(op.Relu(x), op.Mul(op.Mul(slope, op.Sub(x, op.Abs(x))), 0.5))


class LeakyFromMax(RewriteRuleClassBase):
    """max(x, a*x) with 0 < a < 1."""

    def pattern(self, op: Any, x: Any, slope: Any) -> Any:
        return op.Max(x, op.Mul(x, slope))

    def check(self, context: Any, x: ir.Value, slope: ir.Value, **_: Any) -> bool:
        array = graph.constant(slope)
        return array is not None and array.size == 1 and 0 < float(array.reshape(-1)[0]) < 1

    def rewrite(self, op: Any, x: ir.Value, slope: ir.Value, **_: Any) -> ir.Value:
        array = graph.constant(slope)
        assert array is not None
        value: ir.Value = op.LeakyRelu(x, alpha=float(array.reshape(-1)[0]))
        return value


def nearest(op: Any, x: ir.Value, r: int) -> ir.Value:
    """The one spelling of enlargement by repetition."""
    scales = graph.emit_constant(op, np.array([1, 1, r, r], np.float32))
    value: ir.Value = op.Resize(x, None, scales, **graph.NEAREST)
    return value


class NearestSpelling(RewriteRuleClassBase):
    """Every Resize that repeats each pixel r x r times, whatever its modes are called.

    With integer r, asymmetric/floor and the three half-pixel conventions read the same source pixel.
    """

    _SAME = frozenset(
        {
            ("tf_half_pixel_for_nn", "floor"),
            ("asymmetric", "floor"),
            ("half_pixel", "round_prefer_floor"),
            ("half_pixel", "round_prefer_ceil"),
            ("pytorch_half_pixel", "round_prefer_floor"),
            ("half_pixel_symmetric", "round_prefer_floor"),
        }
    )

    def pattern(self, op: Any, x: Any) -> Any:
        return op.Resize(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["y"])

    def check(self, context: Any, x: ir.Value, y: ir.Value, **_: Any) -> bool:
        node = y.producer()
        assert node is not None
        modes = (
            node.attributes.get_string("coordinate_transformation_mode", "half_pixel"),
            node.attributes.get_string("nearest_mode", "round_prefer_floor"),
        )
        done = modes == ("asymmetric", "floor") and "exclude_outside" not in node.attributes
        return (
            node.attributes.get_string("mode", "nearest") == "nearest"
            and modes in self._SAME
            and not (done and len(node.inputs) == 3)
            and graph.enlargement(node) is not None
        )

    def rewrite(self, op: Any, x: ir.Value, y: ir.Value, **_: Any) -> ir.Value:
        node = y.producer()
        assert node is not None
        factor = graph.enlargement(node)
        assert factor is not None
        return nearest(op, x, factor)


class ColumnRowColumn(RewriteRuleClassBase):
    """PyTorch's channel order of a shuffle (CRD) becomes TensorFlow's (DCR): the convolution before it moves."""

    def pattern(self, op: Any, x: Any, r: Any) -> Any:
        inner = op.Conv(x, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["inner"])
        return op.DepthToSpace(inner, blocksize=r, mode="CRD")

    def check(self, context: Any, inner: ir.Value, r: ir.Attr, **_: Any) -> bool:
        node = inner.producer()
        assert node is not None
        facts = graph.convolution(node)
        return facts is not None and facts.group == 1

    def rewrite(self, op: Any, x: ir.Value, inner: ir.Value, r: ir.Attr, **_: Any) -> ir.Value:
        node = inner.producer()
        assert node is not None
        facts = graph.convolution(node)
        assert facts is not None
        block = r.as_int()
        order = np.arange(facts.weight.shape[0]).reshape(-1, block * block).T.reshape(-1)
        weight = graph.emit_constant(op, facts.weight[order])
        extra = [] if facts.bias is None else [graph.emit_constant(op, facts.bias[order])]
        moved = op.Conv(x, weight, *extra, **dict(node.attributes.items()))
        value: ir.Value = op.DepthToSpace(moved, blocksize=block, mode="DCR")
        return value

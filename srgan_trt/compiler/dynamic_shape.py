"""A graph exported at one size becomes a graph for every size, where its nodes allow that.

Everything convolutional is free by nature; what exporters bake in (Resize sizes, shapes) is turned back into
scales. A node that truly knows the size (a slope per pixel, a Flatten, a Reshape to fixed sides) makes the
network fixed: it then runs in tiles of its own size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import graph

if TYPE_CHECKING:
    import onnx_ir as ir

# nodes whose output depends on the input's size only through the size of what flows in
_FREE = frozenset(
    "Conv ConvTranspose DepthToSpace SpaceToDepth BatchNormalization InstanceNormalization LayerNormalization "
    "Relu LeakyRelu PRelu Elu Selu ThresholdedRelu Tanh Sigmoid HardSigmoid HardSwish Softplus Softsign Gelu Mish "
    "Erf Exp Log Sqrt Pow Abs Neg Reciprocal Floor Ceil Round Clip Min Max Sum Mean Add Sub Mul Div Where Cast "
    "Identity Dropout MaxPool AveragePool GlobalAveragePool GlobalMaxPool ReduceMean ReduceSum ReduceMax ReduceMin "
    "Concat Split Pad Transpose Squeeze Unsqueeze Softmax LogSoftmax Resize MatMul Gemm Reshape Greater GreaterOrEqual "
    "Less LessOrEqual Equal Not And Or Sign Swish Slice".split()
)
_SIDES = ("height", "width")


def make_dynamic(model: ir.Model) -> list[str]:
    """Frees batch, height and width of a static NCHW graph, or leaves it alone.

    Returns what ties the network to its size, in words; empty if the graph is now free.
    """
    graph.infer_shapes(model)
    ties = [tie for node in model.graph if (tie := _tie(node)) is not None]
    if ties:
        return ties
    for node in list(model.graph):
        if node.op_type == "Resize":
            _sizes_to_scales(node)
        elif node.op_type == "ConvTranspose" and "output_shape" in node.attributes:
            _output_shape_to_pads(node)
        elif node.op_type == "Slice" and (cut := _cut_off(node)) is not None:
            _slice_to_pad(node, cut)
    for node in model.graph:
        for value in node.outputs:
            value.shape = None
    _set_shapes(model)
    graph.tidy(model)
    graph.infer_shapes(model)
    return []


def _set_shapes(model: ir.Model) -> None:
    import onnx_ir as ir

    source, result = model.graph.inputs[0], model.graph.outputs[0]
    channels = [side[1] for side in map(graph.dims, (source, result)) if side is not None]
    source.shape = ir.Shape(["batch", channels[0], *_SIDES])
    result.shape = ir.Shape(["batch", channels[-1], "out_height", "out_width"])
    result.type = ir.TensorType(ir.DataType.FLOAT)


def _tie(node: ir.Node) -> str | None:
    """What ties ``node`` to the size it was exported at, or None."""
    kind = node.op_type
    if kind not in _FREE:
        return f"{kind} ({node.name})"
    if kind in ("PRelu", "Add", "Mul", "Sub", "Div", "Where", "Min", "Max", "Pow"):
        for value in node.inputs:
            array = graph.constant(value)
            if array is not None and array.ndim >= 2 and max(array.shape[-2:]) > 1:
                return f"a {kind} with one value per pixel ({'x'.join(str(side) for side in array.shape)})"
    if kind == "Resize":
        scales = _resize_scales(node)
        if scales is None:
            return f"a Resize to given sides ({node.name})"
    if kind in ("MatMul", "Gemm", "Softmax", "LogSoftmax", "LayerNormalization"):
        before = graph.dims(node.inputs[0])
        variable = any(graph.constant(value) is None for value in node.inputs[1:])
        if before is None or len(before) != 4 or kind == "Gemm" or variable:
            # acts on one vector per picture (squeeze and excitation) or mixes all pixels
            return None if before is not None and not _spatial(before) else f"{kind} over the whole picture"
    if kind == "Reshape":
        before, after = graph.dims(node.inputs[0]), graph.dims(node.outputs[0])
        if before is None or after is None or _spatial(before) or _spatial(after):
            return f"a Reshape to fixed sides ({node.name})"
    if kind == "Slice":
        axes = graph.constant(node.inputs[3]) if len(node.inputs) > 3 else None
        spatial = axes is None or any(axis not in (0, 1) for axis in axes.reshape(-1))
        if spatial and _cut_off(node) is None:
            return f"a Slice of the picture ({node.name})"
    if kind == "Concat" and any(graph.constant(value) is not None for value in node.inputs):
        return f"a Concat with a constant ({node.name})"
    return None


def _spatial(shape: list[int | None]) -> bool:
    """True if a tensor of this shape may hold a picture: two sides longer than one at its end."""
    return len(shape) != 2 and sum(1 for side in shape[1:] if side is None or side > 1) > 1


def _resize_scales(node: ir.Node) -> list[float] | None:
    if len(node.inputs) > 2:
        scales = graph.constant(node.inputs[2])
        if scales is not None and scales.size == 4:
            return [float(scale) for scale in scales]
    before, after = graph.dims(node.inputs[0]), graph.dims(node.outputs[0])
    if not before or not after or len(before) != 4 or None in before or None in after:
        return None
    ratios = [a / b for a, b in zip(after, before, strict=True)]  # type: ignore[operator]
    # a whole enlargement, or a whole reduction of sides that divide
    whole = all(ratio == round(ratio) or 1 / ratio == round(1 / ratio) for ratio in ratios)
    return ratios if whole else None


def _sizes_to_scales(node: ir.Node) -> None:
    scales = _resize_scales(node)
    assert scales is not None
    assert node.graph is not None
    value = graph.add_initializer(node.graph, f"{node.outputs[0].name}.scales", np.array(scales, np.float32))
    node.resize_inputs(3)
    node.replace_input_with(1, None)
    node.replace_input_with(2, value)


def _cut_off(node: ir.Node) -> list[int] | None:
    """Pads (ONNX operators, Pad), all of them negative, of a Slice that takes as much off opposite sides of a picture,
    or a pixel less; None where it is anything else, a corner for example."""
    before, after = graph.dims(node.inputs[0]), graph.dims(node.outputs[0])
    constants = [graph.constant(value) for value in node.inputs] + [None] * 2
    starts, axes, steps = constants[1], constants[3], constants[4]
    if (
        not before
        or not after
        or len(before) != 4
        or None in before + after
        or starts is None
        or axes is None
        or (steps is not None and any(steps != 1))
    ):
        return None
    firsts = [0] * 4
    for axis, start in zip(axes.reshape(-1), starts.reshape(-1), strict=True):
        firsts[int(axis)] = int(start) + (int(before[int(axis)] or 0) if start < 0 else 0)
    lasts = [int(b or 0) - int(a or 0) - first for b, a, first in zip(before, after, firsts, strict=True)]
    even = all(first >= 0 and last >= 0 and abs(first - last) <= 1 for first, last in zip(firsts, lasts, strict=True))
    return [-side for side in (*firsts, *lasts)] if even and not any(firsts[:2] + lasts[:2]) else None


def _slice_to_pad(node: ir.Node, pads: list[int]) -> None:
    import onnx_ir as ir

    assert node.graph is not None
    amounts = graph.add_initializer(node.graph, f"{node.outputs[0].name}.cut", np.array(pads, np.int64))
    cut = ir.node("Pad", [node.inputs[0], amounts], {"mode": "constant"})
    cut.outputs[0].name, cut.outputs[0].type = f"{node.outputs[0].name}.inner", node.outputs[0].type
    node.graph.insert_before(node, cut)
    node.outputs[0].replace_all_uses_with(cut.outputs[0], replace_graph_outputs=True)


def _output_shape_to_pads(node: ir.Node) -> None:
    """A ConvTranspose to given sides, with the pads that lead to them (ONNX operators, ConvTranspose)."""
    import onnx_ir as ir

    before, after = graph.dims(node.inputs[0]), graph.dims(node.outputs[0])
    weight = graph.constant(node.inputs[1])
    assert before is not None
    assert after is not None
    assert weight is not None
    attributes = node.attributes
    strides, dilations = (attributes.get_ints(name, (1, 1)) for name in ("strides", "dilations"))
    extra = attributes.get_ints("output_padding", (0, 0))
    upper = attributes.get_string("auto_pad", "NOTSET") == "SAME_UPPER"
    begins, ends = [], []
    for axis in (0, 1):
        full = strides[axis] * (int(before[2 + axis] or 0) - 1) + (weight.shape[2 + axis] - 1) * dilations[axis] + 1
        total = full + extra[axis] - int(after[2 + axis] or 0)
        begin = total // 2 if upper else total - total // 2
        begins.append(begin)
        ends.append(total - begin)
    for name in ("output_shape", "auto_pad", "pads"):
        attributes.pop(name, None)
    attributes["pads"] = ir.AttrInt64s("pads", [*begins, *ends])

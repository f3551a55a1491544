"""Plan -> a plain ONNX file for other programs: the ends that a plan leaves to the kernels are put back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from .._version import __version__
from ..errors import PlanError
from ..files import atomic_write
from .plan import Plan, load_plan

if TYPE_CHECKING:
    import onnx

Layout: TypeAlias = Literal["nchw-float", "nhwc-uint8"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_IMAGE, _RESULT = "image", "result"


def export(
    plan: str | os.PathLike[str] | Plan,
    *,
    out: str | os.PathLike[str],
    layout: Layout = "nchw-float",
    overwrite: bool = False,
) -> Path:
    """Writes a plan as an ONNX file that onnxruntime, OpenVINO, TensorRT and others run by themselves.

    A plan's own file gives network values before the last pixel shuffle: this one takes pixels and gives pixels.

    Args:
        plan: The file of a plan, or what `load_plan` or `build` returned, in fp32 or fp16.
        out: The file to write.
        layout: Of its input "image" and output "result": "nchw-float", float32 (N, 3, H, W) of 0..1, or "nhwc-uint8",
            uint8 (N, H, W, 3). RGB.
        overwrite: Whether `out` may exist.

    Returns:
        `out`.

    Raises:
        PlanError: It is no plan, in int8, or `out` cannot be written.
    """
    target = Path(out)
    if layout not in LAYOUTS:
        raise PlanError(f"there is no layout {layout!r}: give one of {', '.join(LAYOUTS)}")
    opened = plan if isinstance(plan, Plan) else load_plan(Path(plan))
    if opened.spec.precision == "int8" or opened.engine:
        kind = "an engine" if opened.engine else "in int8, whose scales are for OpenVINO and TensorRT only"
        raise PlanError(f"{opened.path} is {kind}: export a plan in fp32")
    if not overwrite and os.path.lexists(target):
        raise PlanError(f"{target} exists: give --overwrite (overwrite=True) to replace it, or another name")
    try:
        atomic_write(target, with_ends(opened, layout).SerializeToString())
    except OSError as error:
        raise PlanError(f"cannot write {target}: {error.strerror}") from error
    return target


def with_ends(plan: Plan, layout: Layout) -> onnx.ModelProto:
    """The network of `plan`, from pixels to pixels."""
    import onnx
    from onnx import TensorProto, helper

    model: onnx.ModelProto = onnx.ModelProto.FromString(plan.network())
    graph, spec = model.graph, plan.spec
    bytes_last = layout == "nhwc-uint8"
    highest = 255.0 if bytes_last else 1.0
    (low, high), (out_low, out_high) = spec.input_range, spec.output_range
    inner_input, inner_output = graph.input[0].name, graph.output[0].name
    sides = [dim.dim_value or None for dim in graph.input[0].type.tensor_type.shape.dim[2:]]
    axes = ["batch", *(side or name for side, name in zip(sides, ("height", "width"), strict=True))]
    large = ["batch", *(side and side * spec.scale for side in sides)]
    first = [
        *([_node("Cast", to=TensorProto.FLOAT), _node("Transpose", perm=[0, 3, 1, 2])] if bytes_last else []),
        _node("Mul", (high - low) / highest),
        _node("Add", low),
    ]
    last = [
        *([_node("DepthToSpace", blocksize=spec.shuffle, mode="DCR")] if spec.shuffle > 1 else []),
        _node("Sub", out_low),
        _node("Mul", highest / (out_high - out_low)),
        _node("Clip", 0.0, highest),
        *(
            [_node("Round"), _node("Cast", to=TensorProto.UINT8), _node("Transpose", perm=[0, 2, 3, 1])]
            if bytes_last
            else []
        ),
    ]
    nodes = list(graph.node)
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend([*_chain(graph, first, _IMAGE, inner_input), *nodes, *_chain(graph, last, inner_output, _RESULT)])
    kind = TensorProto.UINT8 if bytes_last else TensorProto.FLOAT
    for values, name, (batch, *size) in ((graph.input, _IMAGE, axes), (graph.output, _RESULT, large)):
        shape = [batch, *size, 3] if bytes_last else [batch, 3, *size]
        values.append(helper.make_tensor_value_info(name, kind, shape))
    model.producer_name, model.producer_version = "srgan-trt", __version__
    helper.set_model_props(model, {"scale": str(spec.scale), "multiple": str(spec.multiple), "layout": layout})
    onnx.checker.check_model(model)
    return model


def _node(kind: str, *constants: float, **facts: Any) -> tuple[str, tuple[float, ...], dict[str, Any]]:
    return kind, constants, facts


def _chain(
    graph: onnx.GraphProto, steps: list[tuple[str, tuple[float, ...], dict[str, Any]]], begin: str, end: str
) -> Iterator[onnx.NodeProto]:
    """Nodes one after the other, from the value `begin` to the value `end`."""
    from onnx import TensorProto, helper

    for number, (kind, constants, facts) in enumerate(steps):
        names = [f"{end}.{number}.{place}" for place in range(len(constants))]
        for name, constant in zip(names, constants, strict=True):
            graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [], [constant]))
        result = end if number == len(steps) - 1 else f"{end}.{number}"
        yield helper.make_node(kind, [begin, *names], [result], **facts)
        begin = result

"""A plan's network for other programs: the ends that a plan leaves to the kernels are put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from .._version import __version__
from . import graph
from .fp16 import half_network
from .plan import Plan

if TYPE_CHECKING:
    import onnx

Layout: TypeAlias = Literal["nchw-float", "nhwc-uint8"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_IMAGE, _RESULT = "image", "result"


def with_ends(plan: Plan, layout: Layout, *, fp16: bool = False) -> onnx.ModelProto:
    """The network of `plan`, from pixels to pixels: its input is "image", its output "result".

    fp16: Convert the network of an fp32 plan, as `build --precision fp16` does; its ends stay in float32.

    Raises PlanError if the file was replaced since it was opened, ModelError if float16 loses too much.
    """
    import onnx
    from onnx import TensorProto, helper

    spec = plan.spec
    model: onnx.ModelProto
    if fp16 and spec.precision == "fp32":
        model = half_network(graph.from_plan(plan), spec).model()
    else:
        model = onnx.ModelProto.FromString(plan.network())
    main = model.graph
    bytes_last = layout == "nhwc-uint8"
    highest = 255.0 if bytes_last else 1.0
    (low, high), (out_low, out_high) = spec.input_range, spec.output_range
    inner_input, inner_output = main.input[0].name, main.output[0].name
    sides = [dim.dim_value or None for dim in main.input[0].type.tensor_type.shape.dim[2:]]
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
    nodes = list(main.node)
    del main.node[:], main.input[:], main.output[:]
    main.node.extend([*_chain(main, first, _IMAGE, inner_input), *nodes, *_chain(main, last, inner_output, _RESULT)])
    kind = TensorProto.UINT8 if bytes_last else TensorProto.FLOAT
    for values, name, (batch, *size) in ((main.input, _IMAGE, axes), (main.output, _RESULT, large)):
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

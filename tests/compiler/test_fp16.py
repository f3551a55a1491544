"""Networks in float16, and which of their layers stay in float32."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler import graph
from srgan_trt.compiler.fp16 import FIDELITY, convert_to_fp16, fp16_network, sample_inputs
from srgan_trt.compiler.plan import Plan, load_plan, save_plan
from srgan_trt.compiler.precision import to_fp16
from srgan_trt.errors import ModelError, PlanError
from srgan_trt.models.registry import packaged

from ..handmade import small_model, small_plan, small_spec
from .graphs import Network, run

UNIT: dict[str, Any] = {"input_range": (0.0, 1.0), "output_range": (0.0, 1.0), "shape": None, "multiple": 1}
SHAPE = (1, 3, "height", "width")


def types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of every value, by ONNX's own inference."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.input, *inferred.value_info, *inferred.output]
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        tensor.name: tensor.data_type for tensor in inferred.initializer
    }


def single_convolutions(model: onnx.ModelProto) -> list[str]:
    """Convolutions that compute in float32."""
    kinds = types(model)
    return [
        node.name for node in model.graph.node if node.op_type == "Conv" and kinds[node.input[1]] == TensorProto.FLOAT
    ]


def test_everything_is_float16_where_nothing_overflows(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    half = fp16_network(plan)
    model = half.model()
    onnx.checker.check_model(model, full_check=True)
    assert half.float32 == ()
    assert set(types(model).values()) == {TensorProto.FLOAT16}
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["input", "output"]
    assert "Cast" not in [node.op_type for node in model.graph.node]
    assert not model.metadata_props
    assert FIDELITY < half.fidelity < 90
    assert 0 < half.levels < 1


def test_the_network_computes_what_the_plan_does(tmp_path: Path) -> None:
    """The float16 network, run as it is: as near to the plan as was said (half of 255 levels a unit)."""
    plan = small_plan(tmp_path)
    half = fp16_network(plan)
    x = sample_inputs(None, 1)[0]
    expected = run(graph.from_proto(onnx.load(plan.path)), x)
    got = run(graph.from_proto(half.model()), x.astype(np.float16)).astype(np.float32)
    assert np.abs(got - expected).max() * 127.5 <= half.levels + 0.2
    assert np.abs(got - expected).max() > 0


def overflowing(gain: float) -> Network:
    """conv, times `gain`, conv, divided by `gain`: in float32 nothing happens."""
    net = Network()
    up = net.node("Mul", net.conv("input", 3, 4), net.constant(np.full((1, 4, 1, 1), gain, np.float32)))
    wide = net.conv(up, 4, 4)
    down = net.node("Mul", wide, net.constant(np.full((1, 4, 1, 1), 1 / gain, np.float32)))
    net.node("Sigmoid", net.conv(down, 4, 3))
    return net


def test_layers_that_overflow_stay_in_float32() -> None:
    net = overflowing(5e4)
    model = net.model(net.nodes[-1].output[0], SHAPE)
    before = graph.to_proto(model)
    half = convert_to_fp16(model, **UNIT, fp16_io=True)
    made = half.model()
    onnx.checker.check_model(made, full_check=True)
    assert [layer.kind for layer in half.float32] == ["Mul", "Conv", "Mul"]
    assert all("float16 ends at 65504" in layer.reason for layer in half.float32)
    assert len(single_convolutions(made)) == 1
    x = sample_inputs(None, 1)[0]
    expected = run(graph.from_proto(before), x)
    got = run(graph.from_proto(made), x.astype(np.float16))
    np.testing.assert_allclose(got.astype(np.float32), expected, atol=4e-3)


def test_values_that_other_pictures_could_drive_over_the_end_count_as_overflow() -> None:
    net = overflowing(1e4)  # about 10,000: within float16 on the photographs, by less than the headroom
    half = convert_to_fp16(net.model(net.nodes[-1].output[0], SHAPE), **UNIT, fp16_io=True)
    assert [layer.kind for layer in half.float32] == ["Mul", "Conv", "Mul"]


def test_a_weight_beyond_float16_keeps_its_layer_in_float32() -> None:
    net = Network()
    dark = net.node("Mul", net.conv("input", 3, 3), net.constant(np.full((1, 3, 1, 1), 1e-6, np.float32)))
    bright = net.node("Mul", dark, net.constant(np.full((1, 3, 1, 1), 1e6, np.float32)))
    half = convert_to_fp16(net.model(net.node("Sigmoid", bright), SHAPE), **UNIT, fp16_io=True)
    assert "a weight of 1e+06 is beyond float16" in [layer.reason for layer in half.float32]
    onnx.checker.check_model(half.model(), full_check=True)


def test_a_convolution_between_casts_is_clipped_to_all_that_float32_has() -> None:
    """Which changes nothing, and keeps TensorRT-RTX from building it in float16 after all (tests/tensorrt)."""
    model = small_model()
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[:] *= 1e-3
    weights[0, 0, 0, 0] = 1e5
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w0"))
    bare = graph.from_proto(model)
    graph.infer_shapes(bare)
    to_fp16(bare, float32=[node for node in bare.graph if node.op_type == "Conv"][:1])
    made = graph.to_proto(bare)
    onnx.checker.check_model(made, full_check=True)
    assert [node.op_type for node in made.graph.node][:4] == ["Conv", "Clip", "Cast", "PRelu"]
    limits = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    (clip,) = [node for node in made.graph.node if node.op_type == "Clip"]
    assert [limits[name] for name in clip.input[1:]] == [np.finfo(np.float32).min, np.finfo(np.float32).max]


def test_a_layer_that_loses_stays_in_float32() -> None:
    """Differences of nearly equal numbers: 1000 + x - 1000 in float16 keeps 2 or 3 digits of x."""
    net = Network()
    thousand = net.constant(np.full((1, 3, 1, 1), 1000, np.float32))
    y = net.node("Sub", net.node("Add", net.conv("input", 3, 3), thousand), thousand)
    half = convert_to_fp16(net.model(net.node("Sigmoid", y), SHAPE), **UNIT, fp16_io=True)
    reasons = {layer.kind: layer.reason for layer in half.float32}
    assert "Sub" in reasons
    assert "off by" in reasons["Sub"]
    assert half.fidelity >= FIDELITY


def test_a_network_that_loses_at_its_ends_is_refused() -> None:
    """An input around 2000 has a step of one in float16: 255 levels are lost before the first layer."""
    net = Network()
    y = net.node("Sub", "input", net.constant(np.full((1, 3, 1, 1), 2000, np.float32)))
    model = net.model(y, SHAPE)
    with pytest.raises(ModelError, match="--precision fp32"):
        convert_to_fp16(model, **UNIT | {"input_range": (2000.0, 2001.0)}, fp16_io=True)


def test_float32_ends_have_casts_inside() -> None:
    model = convert_to_fp16(graph.from_proto(small_model()), **UNIT, fp16_io=False).model()
    kinds = types(model)
    assert (kinds["input"], kinds["output"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert [node.op_type for node in model.graph.node if node.op_type == "Cast"] == ["Cast", "Cast"]
    assert not single_convolutions(model)


def test_a_weight_that_two_layers_share_is_there_in_both_precisions() -> None:
    net = overflowing(5e4)
    shared = net.nodes[0].input[2]  # the first convolution's bias, in float16 there
    wide = next(node for node in net.nodes if node.op_type == "Conv" and node is not net.nodes[0])
    wide.input[2] = shared
    half = convert_to_fp16(net.model(net.nodes[-1].output[0], SHAPE), **UNIT, fp16_io=True)
    kinds = {tensor.name: tensor.data_type for tensor in half.model().graph.initializer}
    assert {kinds[shared], kinds[f"{shared}.fp16"]} == {TensorProto.FLOAT, TensorProto.FLOAT16}


def test_scales_of_an_enlargement_stay_float32(tmp_path: Path) -> None:
    net = Network()
    y = net.conv(net.nearest(net.conv("input", 3, 4), 2), 4, 3)
    model = convert_to_fp16(net.model(y, SHAPE), **UNIT, fp16_io=True).model()
    onnx.checker.check_model(model, full_check=True)
    (resize,) = [node for node in model.graph.node if node.op_type == "Resize"]
    assert types(model)[resize.input[2]] == TensorProto.FLOAT
    assert types(model)[resize.input[0]] == TensorProto.FLOAT16


def test_an_fp16_plan_is_measured_again(tmp_path: Path) -> None:
    whole = small_plan(tmp_path)
    inside = convert_to_fp16(graph.from_proto(onnx.load(whole.path)), **UNIT, fp16_io=False)
    plan = save_plan(inside.model(), small_spec(precision="fp16"), tmp_path / "half.onnx")
    assert set(types(fp16_network(plan).model()).values()) == {TensorProto.FLOAT16}


def test_a_quantised_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"small\.onnx is a plan in int8"):
        fp16_network(small_plan(tmp_path, precision="int8"))


@pytest.mark.parametrize(
    ("shape", "multiple", "sizes"), [(None, 1, None), ((40, 200), 1, {(40, 200)}), (None, 32, None)]
)
def test_pictures_have_the_size_that_the_network_takes(
    shape: tuple[int, int] | None, multiple: int, sizes: set[tuple[int, int]] | None
) -> None:
    found = sample_inputs(shape, multiple)
    assert all(each.min() >= 0 and each.max() <= 1 and each.dtype == np.float32 for each in found)
    measured = {each.shape[2:] for each in found}
    assert all(side % multiple == 0 for size in measured for side in size)
    assert sizes is None or measured == sizes


@pytest.fixture(scope="module")
def shipped() -> Plan:
    return load_plan(packaged("srresnet-fast-x4"))


@pytest.mark.full
def test_the_shipped_network_is_float16_throughout(shipped: Plan) -> None:
    digest = hashlib.sha256(shipped.path.read_bytes()).hexdigest()
    half = fp16_network(shipped)
    assert half.float32 == ()
    assert set(types(half.model()).values()) == {TensorProto.FLOAT16}
    assert half.fidelity > 65
    assert half.levels < 4
    assert load_plan(shipped.path).body_hash == shipped.body_hash
    assert hashlib.sha256(shipped.path.read_bytes()).hexdigest() == digest


def test_a_plan_built_in_fp16_keeps_an_overflowing_layer_in_fp32(tmp_path: Path) -> None:
    """`build --precision fp16` on somebody's file: what would overflow is named among the plan's notes."""
    from srgan_trt.compiler.build import build

    source = tmp_path / "big.onnx"
    onnx.save(_nearest_through(1e5), source)
    plan = build(source, precision="fp16", input_range=(0, 1), output_range=(0, 1))
    assert any("stays in fp32" in note for note in plan.report["notes"])
    x = sample_inputs(None, 1)[0]
    got = run(graph.from_proto(onnx.load(plan.path)), x)
    assert np.isfinite(got).all()


def _nearest_through(gain: float) -> onnx.ModelProto:
    """Enlarges by repetition; its maps are `gain` times as large, with a Relu that keeps compilers from merging."""
    weights = np.zeros((12, 3, 3, 3), np.float32)
    for channel in range(12):
        weights[channel, channel % 3, 1, 1] = gain
    back = np.zeros((12, 12, 1, 1), np.float32)
    back[np.arange(12), np.arange(12)] = 1 / gain
    made = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weights"], ["maps"], pads=[1] * 4),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node("Conv", ["positive", "back"], ["small"]),
            helper.make_node("DepthToSpace", ["small"], ["output"], blocksize=2, mode="DCR"),
        ],
        "big",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 3, "out_height", "out_width"])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(back, "back")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)

"""What int8 leaves in floating point becomes float16: the pictures stay, and TensorRT builds what the plan says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.fp16 import sample_inputs
from srgan_trt.compiler.int8 import fp16_rest
from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.fp16_rest import with_fp16_activations
from srgan_trt.compiler.int8.quantisation import fit, quantised
from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.compiler.reference import ReferenceRunner
from srgan_trt.errors import ModelError, PlanError

from ...handmade import small_model, small_plan, small_spec


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The small network with its middle convolution in int8."""
    model = graph.from_proto(small_model())
    graph.infer_shapes(model)
    found = sites(model)
    seen = observe(model, found, np.concatenate([picture[:, :, :40, :40] for picture in sample_inputs(None, 1)]))
    middle = found[1]
    network = quantised(model, {middle.name: fit(middle, seen[middle.name])})
    path = tmp_path_factory.mktemp("plan") / "int8.onnx"
    return save_plan(graph.to_proto(network), small_spec(precision="int8"), path)


def test_ends_and_weights_are_float16_and_int8_stays(plan: Plan) -> None:
    model = onnx.load_from_string(with_fp16_activations(plan))
    onnx.checker.check_model(model)
    io_type = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert io_type == [onnx.TensorProto.FLOAT16] * 2
    single = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert [node.op_type for node in model.graph.node if single & set(node.input)] == ["QuantizeLinear"]
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (1, 2)


def test_the_pictures_are_the_plan_s(plan: Plan) -> None:
    made, stored = (
        ReferenceRunner(onnx.load_from_string(with_fp16_activations(plan))),
        ReferenceRunner(onnx.load(plan.path)),
    )
    x = np.random.default_rng(3).random((1, 3, 40, 50), np.float32)
    apart = made(x.astype(np.float16)).astype(np.float64) - stored(x)
    assert 10 * np.log10(4 / np.mean(apart**2)) > 45


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason='pip install ".[tensorrt-rtx]"')
@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (12, 0)])
def test_tensorrt_builds_int8_and_fp16(plan: Plan, capability: tuple[int, int]) -> None:
    from srgan_trt.runtime.gpu.interfaces import EngineSettings
    from srgan_trt.runtime.tensorrt.build import build_engine
    from srgan_trt.runtime.tensorrt.from_plan import network_of

    network, float32 = network_of(plan, "int8")
    settings = EngineSettings(precision="int8", tile=(64, 64), batch=1, compute_capability=capability)
    built = build_engine(network, settings)
    assert built.element == np.float16
    assert float32 == ()
    assert sorted(layer.filters for layer in built.layers if layer.filters) == ["fp16", "fp16", "int8"]


def test_other_plans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is a plan in fp32: name one in int8"):
        with_fp16_activations(small_plan(tmp_path))


def test_what_float16_cannot_hold_is_refused(plan: Plan, tmp_path: Path) -> None:
    model = onnx.load(plan.path)
    del model.metadata_props[:]
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(1e6)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    large = save_plan(model, plan.spec, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match="beyond float16's"):
        with_fp16_activations(large)


def scaled(plan: Plan, path: Path, gain: float) -> Plan:
    """The same network by way of values `gain` times as large before its shuffle, which no weight shows: each of two
    factors is the square root."""
    model = onnx.load(plan.path)
    del model.metadata_props[:]
    (shuffle,) = (node for node in model.graph.node if node.op_type == "DepthToSpace")
    source, factor = shuffle.input[0], np.float32(np.sqrt(gain))
    for name, value in (("up", factor), ("down", 1 / factor)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
    middle = [
        onnx.helper.make_node("Mul", [source, "up"], ["louder"]),
        onnx.helper.make_node("Mul", ["louder", "up"], ["loud"]),
        onnx.helper.make_node("Mul", ["loud", "down"], ["quieter"]),
        onnx.helper.make_node("Mul", ["quieter", "down"], ["quiet"]),
    ]
    shuffle.input[0] = "quiet"
    where = list(model.graph.node).index(shuffle)
    nodes = [*model.graph.node[:where], *middle, *model.graph.node[where:]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return save_plan(model, plan.spec, path)


@pytest.mark.parametrize("gain", [1e6, 1e4])
def test_values_that_float16_cannot_hold_are_refused(plan: Plan, tmp_path: Path, gain: float) -> None:
    """What onnxruntime's CPU kernels, which compute float16 networks in float32, do not show; and what another picture
    could reach."""
    with pytest.raises(ModelError, match=r"values of .* reach .*, float16 ends at 65504"):
        with_fp16_activations(scaled(plan, tmp_path / "loud.onnx", gain))


def test_values_far_from_the_end_of_float16_are_taken(plan: Plan, tmp_path: Path) -> None:
    made = ReferenceRunner(onnx.load_from_string(with_fp16_activations(scaled(plan, tmp_path / "fine.onnx", 16.0))))
    x = np.random.default_rng(3).random((1, 3, 40, 50), np.float32)
    apart = made(x.astype(np.float16)).astype(np.float64) - ReferenceRunner(onnx.load(plan.path))(x)
    assert 10 * np.log10(4 / np.mean(apart**2)) > 45


def test_the_gate_is_float16_rounded_after_every_node(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the headroom, a value that overflows is found by what becomes of the picture."""
    monkeypatch.setattr(fp16_rest, "HEADROOM", 0.0)
    path = plan.path.with_name("overflow.onnx")
    with pytest.raises(ModelError, match=r"what int8 leaves of it is (nan|-inf) dB"):
        with_fp16_activations(scaled(plan, path, 1e6))

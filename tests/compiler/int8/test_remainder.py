"""What int8 leaves in floating point becomes float16: the pictures stay, and TensorRT builds what the plan says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.half import pictures
from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.quantisation import fit, quantised
from srgan_trt.compiler.int8.remainder import half_remainder
from srgan_trt.compiler.oracle import Oracle
from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.errors import ModelError, PlanError

from ...handmade import small_model, small_plan, small_spec


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The small network with its middle convolution in int8."""
    model = graph.from_proto(small_model())
    graph.infer_shapes(model)
    found = sites(model)
    seen = observe(model, found, np.concatenate([picture[:, :, :40, :40] for picture in pictures(None, 1)]))
    middle = found[1]
    network = quantised(model, {middle.name: fit(middle, seen[middle.name])})
    path = tmp_path_factory.mktemp("plan") / "int8.onnx"
    return save_plan(graph.to_proto(network), small_spec(precision="int8"), path)


def test_ends_and_weights_are_float16_and_int8_stays(plan: Plan) -> None:
    model = onnx.load_from_string(half_remainder(plan))
    onnx.checker.check_model(model)
    ends = [value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)]
    assert ends == [onnx.TensorProto.FLOAT16] * 2
    single = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    assert [node.op_type for node in model.graph.node if single & set(node.input)] == ["QuantizeLinear"]
    kinds = [node.op_type for node in model.graph.node]
    assert (kinds.count("QuantizeLinear"), kinds.count("DequantizeLinear")) == (1, 2)


def test_the_pictures_are_the_plan_s(plan: Plan) -> None:
    made, stored = Oracle(onnx.load_from_string(half_remainder(plan))), Oracle(onnx.load(plan.path))
    x = np.random.default_rng(3).random((1, 3, 40, 50), np.float32)
    apart = made(x.astype(np.float16)).astype(np.float64) - stored(x)
    assert 10 * np.log10(4 / np.mean(apart**2)) > 45


@pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason='pip install "srgan-trt[tensorrt-rtx]"')
@pytest.mark.parametrize("capability", [(8, 0), (8, 9), (12, 0)])
def test_tensorrt_builds_int8_and_fp16(plan: Plan, capability: tuple[int, int]) -> None:
    from srgan_trt.runtime.engine import EngineSettings
    from srgan_trt.runtime.engines.build import build_engine
    from srgan_trt.runtime.engines.from_plan import network_of

    network, float32 = network_of(plan, "int8")
    settings = EngineSettings(precision="int8", tile=(64, 64), batch=1, compute_capability=capability)
    built = build_engine(network, settings)
    assert built.element == np.float16
    assert float32 == ()
    assert sorted(layer.filters for layer in built.layers if layer.filters) == ["fp16", "fp16", "int8"]


def test_other_plans_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is a plan in fp32: name one in int8"):
        half_remainder(small_plan(tmp_path))


def test_what_float16_cannot_hold_is_refused(plan: Plan, tmp_path: Path) -> None:
    model = onnx.load(plan.path)
    del model.metadata_props[:]
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            values = onnx.numpy_helper.to_array(tensor) * np.float32(1e6)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    large = save_plan(model, plan.spec, tmp_path / "large.onnx")
    with pytest.raises(ModelError, match="beyond float16's"):
        half_remainder(large)

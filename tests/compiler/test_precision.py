"""fp16 plans: float16 inside, float32 at both ends, as far off as float16 rounds."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from srgan_trt.compiler import graph
from srgan_trt.compiler.precision import to_fp16, to_fp32
from srgan_trt.errors import ModelError

from .graphs import Network, kinds, picture, run


def test_weights_are_half_and_ends_are_float() -> None:
    net = Network()
    end = net.node("Tanh", net.conv(net.nearest(net.node("Relu", net.conv("input", 3, 8)), 2), 8, 3))
    model = net.model(end, (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    to_fp16(model)
    proto = graph.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    assert sorted(types.values()) == [TensorProto.FLOAT] + [TensorProto.FLOAT16] * 4  # scales of Resize stay
    io_type = [value.type.tensor_type.elem_type for value in (proto.graph.input[0], proto.graph.output[0])]
    assert io_type == [TensorProto.FLOAT, TensorProto.FLOAT]
    np.testing.assert_allclose(run(model, x), expected, atol=5e-3)
    assert np.abs(run(model, x) - expected).max() > 0


def test_a_weight_beyond_float16_is_refused() -> None:
    net = Network()
    big = net.constant(np.full((1, 3, 1, 1), 1e5, np.float32))
    model = net.model(net.node("Mul", net.conv("input", 3, 3), big), (1, 3, 9, 11))
    with pytest.raises(ModelError, match="--precision fp32"):
        to_fp16(model)


def test_a_file_that_computes_in_half_precision_computes_in_float() -> None:
    net = Network()
    weight = net.random.normal(0, 0.2, (3, 3, 3, 3)).astype(np.float16)
    half = net.node("Cast", "input", to=TensorProto.FLOAT16)
    y = net.node("Conv", half, net.constant(weight), pads=[1, 1, 1, 1])
    model = net.model(net.node("Tanh", net.node("Cast", y, to=TensorProto.FLOAT)), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    rounded = run(model, x)
    assert to_fp32(model)
    assert kinds(model) == ["Conv", "Tanh"]
    proto = graph.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert [tensor.data_type for tensor in proto.graph.initializer] == [TensorProto.FLOAT]
    np.testing.assert_allclose(run(model, x), rounded, atol=5e-3)


def test_a_float_file_stays_as_it_is() -> None:
    net = Network()
    model = net.model(net.conv("input", 3, 3), (1, 3, 9, 11))
    assert not to_fp32(model)


def test_the_ends_keep_their_names_to_fp16_and_back() -> None:
    net = Network()
    model = net.model(net.node("Tanh", net.conv("input", 3, 3)), ("batch", 3, 9, 9))
    names = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    to_fp16(model)
    to_fp32(model)
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == names

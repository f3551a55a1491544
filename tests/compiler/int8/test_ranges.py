"""Ranges of int8 tensors: every rule gives one, and rounding to levels is what ONNX's operators do."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from srgan_trt.compiler.int8.ranges import candidates, fake_quantize


def test_what_fake_gives_is_what_quantize_and_dequantize_linear_give() -> None:
    x = np.random.default_rng(0).normal(0, 2, 1000).astype(np.float32)
    limit = 3.0
    scale = np.float32(limit / 127)
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        onnx.helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    made = onnx.helper.make_graph(
        nodes,
        "pair",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None])],
        [onnx.numpy_helper.from_array(scale, "s"), onnx.numpy_helper.from_array(np.int8(0), "z")],
    )
    model = onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 21)])
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x})
    found = fake_quantize(x, limit)
    # -128 is a level of the operator that symmetric tensors do without
    np.testing.assert_allclose(found, np.maximum(expected, -127 * scale), atol=1e-6)
    assert len(np.unique(found)) <= 255


@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e4])
def test_every_range_is_positive_and_none_is_wider_than_the_largest_value(spread: float) -> None:
    x = (np.random.default_rng(1).standard_t(3, 50_000) * spread).astype(np.float32)
    found = candidates(x, float(np.abs(x).max()))
    assert {"min-max", "percentile 99.9"} <= set(found)
    assert all(0 < limit <= np.abs(x).max() * 1.0001 for limit in found.values())
    assert found["min-max"] == pytest.approx(np.abs(x).max())


def test_least_squares_clips_an_outlier_that_would_cost_every_other_value_its_levels() -> None:
    x = np.random.default_rng(2).normal(0, 1, 1_000_000).astype(np.float32)
    x[0] = 100
    limit = candidates(x, 100.0)["squared error"]
    assert limit < 20
    assert (
        np.square(fake_quantize(x[1:], limit) - x[1:]).mean()
        < np.square(fake_quantize(x[1:], 100.0) - x[1:]).mean() / 10
    )


def test_no_two_neighbours_are_far_apart_however_long_the_tail() -> None:
    x = np.random.default_rng(3).standard_cauchy(200_000).astype(np.float32)
    limits = np.array(sorted(candidates(x, float(np.abs(x).max())).values()))
    assert limits[-1] / limits[0] > 100
    assert (limits[1:] / limits[:-1]).max() <= 1.5 + 1e-6


def test_a_tensor_of_zeros_has_a_range_all_the_same() -> None:
    assert candidates(np.zeros(10, np.float32), 0.0) == {"min-max": 1.0}

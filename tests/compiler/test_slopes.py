"""PReLU as a sum: the same network, in float16 the same roundings, and NaN comes through."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.emulation import rounded_network
from srgan_trt.compiler.fp16 import prepare_for_fp16
from srgan_trt.compiler.reference import Floats, ReferenceRunner
from srgan_trt.compiler.slopes import fuse_slopes
from srgan_trt.compiler.verify import RewriteChecker

from ..handmade import small_model


def fused(model: onnx.ModelProto) -> onnx.ModelProto:
    made = graph.from_proto(model)
    assert fuse_slopes(made) == 1
    return graph.to_proto(made)


def picture() -> Floats:
    return np.random.default_rng(3).random((1, 3, 21, 34), np.float32)


def test_the_nodes() -> None:
    kinds = Counter(node.op_type for node in fused(small_model()).graph.node)
    assert kinds == {"Conv": 3, "Relu": 1, "Sub": 1, "Mul": 1, "Add": 1, "DepthToSpace": 1, "Tanh": 1}


def test_it_is_proven() -> None:
    checker = RewriteChecker(
        graph.from_proto(small_model()), input_range=(0, 1), output_range=(-1, 1), shape=None, multiple=1, shuffle=2
    )
    checker.rewrite("slopes", fuse_slopes)
    (proof,) = checker.checks
    assert (proof.count, proof.kept) == (1, True)
    assert proof.difference < 1e-6


def test_float16_rounds_as_it_rounds_a_prelu() -> None:
    results = []
    for model in (small_model(), fused(small_model())):
        made = graph.from_proto(model)
        prepare_for_fp16(made)
        results.append(ReferenceRunner(rounded_network(made, (), fp16_io=True))(picture()))
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_at_the_output(value: float) -> None:
    """By maximum and minimum that drop NaN, as a GPU's do."""
    x = np.array([value, 1.0, -2.0], np.float32)
    positive = np.fmax(x, 0)
    with np.errstate(invalid="ignore"):
        y = positive + np.float32(0.25) * (x - positive)
    np.testing.assert_array_equal(np.isfinite(y), [False, True, True])
    np.testing.assert_array_equal(y[1:], [1.0, -0.5])


def test_a_prelu_that_no_convolution_could_do_stays() -> None:
    model = small_model()
    model.graph.node[4].input[0] = "t0b"  # the last convolution reads the first map before its PReLU, too
    model.graph.node.insert(4, onnx.helper.make_node("Slice", ["t0", "from", "to", "axis"], ["t0b"]))
    for name, number in (("from", 0), ("to", 4), ("axis", 1)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([number]), name))
    assert fuse_slopes(graph.from_proto(model)) == 0

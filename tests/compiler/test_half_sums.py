"""Sums in float16, held against the same arithmetic written down in NumPy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from srgan_trt.compiler import graph
from srgan_trt.compiler.emulation import rounded_network
from srgan_trt.compiler.fp16 import fp16_network, prepare_for_fp16
from srgan_trt.compiler.half_sums import CHUNK, TURING_CHUNK
from srgan_trt.compiler.plan import save_plan
from srgan_trt.compiler.reference import Floats, ReferenceRunner

from ..handmade import small_model, small_plan, small_spec


def network(kind: str, weight: Floats, bias: Floats, **attributes: Any) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", None, "h", "w"]) for name in ("x", "y")]
    weights = [onnx.numpy_helper.from_array(array, name) for array, name in ((weight, "w"), (bias, "b"))]
    node = helper.make_node(kind, ["x", "w", "b"], ["y"], name="it", **attributes)
    made = helper.make_graph([node], "one", ends[:1], ends[1:], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def emulated(model: onnx.ModelProto, x: Floats, chunk: int | None) -> Floats:
    made = graph.from_proto(model)
    prepare_for_fp16(made)
    return ReferenceRunner(rounded_network(made, (), fp16_io=True, chunk=chunk), optimise=False)(x)


def arrays(shape: tuple[int, ...], seed: int = 5) -> tuple[Floats, Floats]:
    """Weights and a bias that float16 has exactly."""
    rng = np.random.default_rng(seed)
    weight, bias = rng.normal(0, 0.2, shape), rng.normal(0, 0.2, shape[0])
    return weight.astype(np.float16).astype(np.float32), bias.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("chunk", [CHUNK, TURING_CHUNK])
def test_a_convolution(chunk: int) -> None:
    weight, bias = arrays((5, 40, 3, 3))
    x = np.random.default_rng(6).normal(0, 1, (1, 40, 4, 6)).astype(np.float16).astype(np.float32)
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    total = np.zeros((5, 4, 6), np.float16)
    for y in range(3):
        for z in range(3):
            for first in range(0, 40, chunk):
                part = slice(first, first + chunk)
                tap = padded[part, y : y + 4, z : z + 6].astype(np.float64)
                added = np.einsum("oc,chw->ohw", weight[:, part, y, z].astype(np.float64), tap)
                total = (total + added).astype(np.float16)
    expected = (total.astype(np.float32) + bias[:, None, None]).astype(np.float16)
    found = emulated(network("Conv", weight, bias, pads=[1] * 4), x, chunk)[0]
    # Products are added up in float32 there: a sum at the middle between two float16 may round to the other.
    assert np.mean(found == expected) > 0.97
    np.testing.assert_allclose(found, expected, rtol=4e-3, atol=4e-3)


@pytest.mark.parametrize(
    ("kind", "shape", "attributes"),
    [
        ("Conv", (6, 3, 9, 9), {"pads": [4] * 4}),
        ("Conv", (6, 20, 3, 5), {"pads": [1, 0, 2, 3], "strides": [2, 1]}),
        ("Conv", (6, 20, 3, 3), {"pads": [2] * 4, "dilations": [2, 2]}),
        ("Conv", (6, 4, 3, 3), {"pads": [1] * 4, "group": 2}),
        ("ConvTranspose", (20, 20, 4, 4), {"pads": [1] * 4, "strides": [2, 2]}),
        ("ConvTranspose", (20, 20, 3, 3), {"pads": [1, 1, 0, 0], "strides": [2, 2], "output_padding": [1, 1]}),
    ],
)
def test_every_shape_is_that_of_the_plain_one(kind: str, shape: tuple[int, ...], attributes: dict[str, Any]) -> None:
    weight, bias = arrays(shape)
    channels = shape[0] if kind == "ConvTranspose" else shape[1] * attributes.get("group", 1)
    x = np.random.default_rng(6).random((2, channels, 9, 11), np.float32)
    model = network(kind, weight, bias, **attributes)
    plain, found = emulated(model, x, None), emulated(model, x, CHUNK)
    assert found.shape == plain.shape
    np.testing.assert_allclose(found, plain, rtol=0.01, atol=0.02)


def test_the_gate_tells_both(tmp_path: Path) -> None:
    half = fp16_network(small_plan(tmp_path))
    assert half.half_sums is not None
    assert 50 < half.half_sums < half.fidelity
    turing = fp16_network(small_plan(tmp_path), chunk=TURING_CHUNK)
    assert turing.half_sums is not None
    assert turing.half_sums < half.half_sums


def test_a_convolution_whose_sums_overflow_stays_in_float32(tmp_path: Path) -> None:
    """Two large maps that cancel: what it reads and gives is small, its sums on the way are not."""
    model = small_model()
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor).copy() for tensor in model.graph.initializer}
    weights["w1"] = np.repeat(weights["w1"], 8, axis=1)
    weights["w0"], weights["b0"] = np.repeat(weights["w0"], 8, axis=0), np.repeat(weights["b0"], 8)
    weights["slope"] = np.repeat(weights["slope"], 8, axis=0)
    loud = np.zeros_like(weights["w1"])
    loud[:, :16, 1, 1], loud[:, 32:48, 1, 1] = 3e3, -3e3
    for first in range(16):  # the same map twice
        for name in ("w0", "b0", "slope"):
            weights[name][32 + first] = weights[name][first]
    weights["w1"] = np.where(np.any(loud, axis=(0, 2, 3))[:, None, None], loud, weights["w1"])
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name].astype(np.float32), tensor.name))
    plan = save_plan(model, dataclasses.replace(small_spec(), output_range=(-1.0, 1.0)), tmp_path / "loud.onnx")
    (kept,) = fp16_network(plan).float32
    assert kept.kind == "Conv"
    assert kept.reason.startswith("with sums in float16, values reach")

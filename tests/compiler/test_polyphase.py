"""Convolutions at high resolution, computed at low resolution: exact on integers, borders included."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from srgan_trt.compiler import polyphase
from srgan_trt.compiler.polyphase import shuffled
from srgan_trt.compiler.reference import ReferenceRunner

Floats = NDArray[np.float32]


def integers(*shape: int, seed: int = 0) -> Floats:
    """Small whole numbers: sums of their products are exact in float32."""
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def node(kind: str, x: Floats, weight: Floats, pads: polyphase.Pads, stride: int = 1) -> Floats:
    """One Conv or ConvTranspose as onnxruntime computes it."""
    made = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"], pads=list(pads), strides=[stride, stride])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return ReferenceRunner(onnx.shape_inference.infer_shapes(model))(x)


@settings(max_examples=25, deadline=None)
@given(
    r=st.integers(2, 4),
    size=st.tuples(st.integers(1, 9), st.integers(1, 5)),
    sides=st.tuples(st.integers(1, 6), st.integers(1, 7)),
    data=st.data(),
)
def test_convolution_after_a_shuffle_is_one_before_it(
    r: int, size: tuple[int, int], sides: tuple[int, int], data: st.DataObject
) -> None:
    top, left = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    pads = (top, left, size[0] - 1 - top, size[1] - 1 - left)
    x, weight = integers(1, 2 * r * r, *sides), integers(3, 2, *size, seed=1)
    expected = node("Conv", shuffled(x, r, "DCR"), weight, pads)
    kernel, moved_pads = polyphase.commute_with_shuffle(weight, r, pads)
    np.testing.assert_array_equal(shuffled(node("Conv", x, kernel, moved_pads), r, "DCR"), expected)


@settings(max_examples=25, deadline=None)
@given(r=st.integers(2, 4), size=st.integers(1, 9), sides=st.tuples(st.integers(1, 6), st.integers(1, 7)))
def test_convolution_after_an_enlargement_is_one_before_it(r: int, size: int, sides: tuple[int, int]) -> None:
    pads = ((size - 1) // 2, (size - 1) // 2, size // 2, size // 2)
    x, weight = integers(2, 2, *sides), integers(3, 2, size, size, seed=1)
    expected = node("Conv", x.repeat(r, 2).repeat(r, 3), weight, pads)
    kernel, moved_pads = polyphase.fold_nearest(weight, r, pads)
    np.testing.assert_array_equal(shuffled(node("Conv", x, kernel, moved_pads), r, "DCR"), expected)
    transposed, out_pads = polyphase.to_transposed(kernel, r, moved_pads)
    if min(out_pads) >= 0:
        np.testing.assert_array_equal(node("ConvTranspose", x, transposed, out_pads, r), expected)


@pytest.mark.parametrize(("size", "pads"), [(2, (0, 0, 0, 0)), (3, (0, 0, 1, 1)), (4, (1, 1, 1, 1)), (6, (2, 2, 2, 2))])
def test_transposed_convolution_is_a_convolution_to_its_phases(size: int, pads: polyphase.Pads) -> None:
    x, weight = integers(1, 3, 5, 4), integers(3, 2, size, size, seed=1)
    expected = node("ConvTranspose", x, weight, pads, 2)
    kernel, moved_pads = polyphase.of_transposed(weight, 2, pads)
    np.testing.assert_array_equal(shuffled(node("Conv", x, kernel, moved_pads), 2, "DCR"), expected)


def test_enlargement_by_two_and_3x3_needs_16_taps_not_36() -> None:
    kernel, pads = polyphase.fold_nearest(np.ones((1, 1, 3, 3), np.float32), 2, (1, 1, 1, 1))
    assert kernel.shape == (4, 1, 3, 3)
    assert np.count_nonzero(kernel) == 16
    supports = [polyphase.support(phase, pads) for phase in np.split(kernel, 4)]
    assert [small.shape[2:] for small, _ in supports] == [(2, 2)] * 4
    assert [pad for _, pad in supports] == [(1, 1, 0, 0), (1, 0, 0, 1), (0, 1, 1, 0), (0, 0, 1, 1)]


def test_the_9x9_tail_of_the_paper_becomes_5x5() -> None:
    kernel, pads = polyphase.commute_with_shuffle(integers(3, 64, 9, 9), 2, (4, 4, 4, 4))
    assert kernel.shape == (12, 256, 5, 5)
    assert pads == (2, 2, 2, 2)


def test_support_of_zero_weights_keeps_the_pixel_itself() -> None:
    small, pads = polyphase.support(np.zeros((2, 2, 3, 3), np.float32), (1, 1, 1, 1))
    assert small.shape == (2, 2, 1, 1)
    assert pads == (0, 0, 0, 0)

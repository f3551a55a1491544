"""Weights in int8: as fine as their channel allows, never too much for sums of two products in 16 bits."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray

from srgan_trt.compiler import graph
from srgan_trt.compiler.int8.quantisation import QuantisedConv, quantised
from srgan_trt.compiler.int8.weights import corrected_bias, nearest, weight_scales

from ..graphs import Network, picture


def levels_of(weight: NDArray[np.float32]) -> NDArray[np.int8]:
    out = len(weight)
    return nearest(weight.reshape(out, -1), weight_scales(weight)).reshape(weight.shape)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 65])
def test_products_of_two_neighbouring_channels_fit_16_bits(channels: int) -> None:
    levels = levels_of(np.random.default_rng(3).normal(0, 1, (32, channels, 3, 3)).astype(np.float32)).astype(int)
    padded = np.concatenate([levels, np.zeros((32, channels % 2, 3, 3), int)], axis=1)
    pairs = 255 * padded.reshape(32, -1, 2, 3, 3)
    assert np.maximum(pairs, 0).sum(axis=2).max() < 2**15
    assert np.minimum(pairs, 0).sum(axis=2).min() >= -(2**15)


def test_what_has_no_neighbour_of_its_sign_uses_all_127_levels() -> None:
    weight = np.array([[[[0.5]], [[-0.5]]], [[[0.02]], [[0.0]]]], np.float32)
    np.testing.assert_array_equal(levels_of(weight).reshape(2, 2), [[127, -127], [127, 0]])


def test_neighbours_of_one_sign_share_127_levels() -> None:
    np.testing.assert_array_equal(levels_of(np.full((1, 2, 1, 1), -0.3, np.float32)).reshape(2), [-64, -64])


def test_a_channel_of_zeros_stays_one() -> None:
    weight = np.zeros((2, 3, 1, 1), np.float32)
    np.testing.assert_array_equal(weight_scales(weight), [1, 1])
    assert not levels_of(weight).any()


@pytest.mark.parametrize("positive", [False, True])
def test_openvino_adds_the_largest_levels_exactly(positive: bool) -> None:
    """Whole numbers: every processor must give the same sums, those without VNNI among them."""
    random = np.random.default_rng(5)
    levels = levels_of(random.normal(0, 1, (64, 64, 3, 3)).astype(np.float32))
    net = Network()
    x = net.node("Relu", "input") if positive else "input"
    model = net.model(net.conv(x, 64, 64, pads=[0, 0, 0, 0]), ("batch", 64, 16, 16))
    (conv,) = (node for node in model.graph if node.op_type == "Conv")
    ones, zeros = np.ones(64, np.float32), np.zeros(64, np.float32)
    whole = QuantisedConv(limit=127.0, rule="", levels=levels, scales=ones, bias=zeros, noise=0.0)
    proto = graph.to_proto(quantised(model, {conv.outputs[0].name or "": whole}))
    core = openvino.Core()
    network = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    batch = random.integers(-127, 128, (1, 64, 16, 16)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.maximum(batch, 0) if positive else batch, (3, 3), axis=(2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, levels.astype(np.float32))
    np.testing.assert_array_equal(network(batch)[0], expected)


def test_the_bias_takes_up_what_quantisation_takes_from_the_mean() -> None:
    exact = picture(200, 3, 2, 2).reshape(200, 12)
    weight = np.random.default_rng(7).normal(0, 1, (5, 12)).astype(np.float32)
    rounded, shifted = weight * np.float32(0.9), exact + np.float32(0.03)
    bias = corrected_bias(None, weight, rounded, exact, shifted, np.ones((200, 1), np.float32))
    np.testing.assert_allclose((shifted @ rounded.T + bias).mean(axis=0), (exact @ weight.T).mean(axis=0), atol=1e-5)

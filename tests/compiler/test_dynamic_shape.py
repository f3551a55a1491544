"""Graphs exported at one size run at every size, where their nodes allow that."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.dynamic_shape import make_dynamic

from .graphs import Network, kinds, picture, run


def test_a_convolutional_network_is_free() -> None:
    net = Network()
    sizes = net.constant(np.array([1, 8, 18, 22], np.int64))
    enlarged = net.node("Resize", net.conv("input", 3, 8), "", "", sizes, mode="linear")
    model = net.model(net.conv(enlarged, 8, 3), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    assert make_dynamic(model) == []
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)
    assert run(model, picture(2, 3, 5, 6)).shape == (2, 3, 10, 12)
    assert graph.dims(model.graph.inputs[0]) == [None, 3, None, None]


@pytest.mark.parametrize(("pad", "stride"), [("SAME_UPPER", 2), ("SAME_LOWER", 2), ("SAME_UPPER", 3)])
def test_a_transposed_convolution_to_given_sides_keeps_its_pads(pad: str, stride: int) -> None:
    net = Network()
    weight = net.constant(net.random.normal(0, 0.1, (3, 3, 5, 5)).astype(np.float32))
    end = net.node(
        "ConvTranspose", "input", weight, strides=[stride] * 2, auto_pad=pad, output_shape=[9 * stride, 11 * stride]
    )
    model = net.model(end, (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    assert make_dynamic(model) == []
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)
    assert run(model, picture(1, 3, 4, 5)).shape == (1, 3, 4 * stride, 5 * stride)


def test_a_slope_per_pixel_ties_the_network() -> None:
    net = Network()
    slopes = net.constant(np.full((8, 9, 11), 0.1, np.float32))
    model = net.model(net.conv(net.node("PRelu", net.conv("input", 3, 8), slopes), 8, 3), (1, 3, 9, 11))
    (tie,) = make_dynamic(model)
    assert "one value per pixel" in tie
    assert graph.dims(model.graph.inputs[0]) == [1, 3, 9, 11]


def test_flattening_the_picture_ties_the_network() -> None:
    net = Network()
    flat = net.node("Reshape", "input", net.constant(np.array([1, -1], np.int64)))
    back = net.node("Reshape", flat, net.constant(np.array([1, 3, 9, 11], np.int64)))
    model = net.model(net.conv(back, 3, 3), (1, 3, 9, 11))
    assert len(make_dynamic(model)) == 2


def test_squeeze_and_excitation_is_free() -> None:
    net = Network()
    features = net.conv("input", 3, 8)
    pooled = net.node("GlobalAveragePool", features)
    weights = net.node("Sigmoid", net.conv(pooled, 8, 8, 1))
    model = net.model(net.conv(net.node("Mul", features, weights), 8, 3), (1, 3, 9, 11))
    assert make_dynamic(model) == []
    assert run(model, picture(1, 3, 20, 7)).shape == (1, 3, 20, 7)
    assert "GlobalAveragePool" in kinds(model)


@pytest.mark.parametrize(("axis", "free"), [(1, True), (2, False)])
def test_channels_may_be_cut_out_but_not_rows(axis: int, free: bool) -> None:
    net = Network()
    cut = net.node(
        "Slice", net.conv("input", 3, 8), *(net.constant(np.array([value], np.int64)) for value in (0, 3, axis))
    )
    model = net.model(net.conv(cut, 3 if axis == 1 else 8, 3), (1, 3, 9, 11))
    assert (make_dynamic(model) == []) == free


@pytest.mark.parametrize("ends", [(-1, -1), (8, 10)])
def test_a_border_that_is_cut_off_is_cut_off_at_every_size(ends: tuple[int, int]) -> None:
    """As Cropping2D does, whose ends exporters may count from the size that they saw."""
    net = Network()
    cut = (net.constant(np.array(values, np.int64)) for values in ((1, 1), ends, (2, 3)))
    model = net.model(
        net.node("Add", net.conv("input", 3, 3, pads=[0] * 4), net.node("Slice", "input", *cut)), (1, 3, 9, 11)
    )
    assert make_dynamic(model) == []
    assert run(model, picture(1, 3, 7, 5)).shape == (1, 3, 5, 3)

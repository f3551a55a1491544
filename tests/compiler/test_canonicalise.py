"""One spelling for PReLU, enlargement and shuffles; the network computes what it did."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from srgan_trt.compiler.canonicalise import canonicalise

from .graphs import Network, kinds, picture, run


def prelu_of_keras(net: Network, x: str, channels: int) -> str:
    negative = net.node("Relu", net.node("Neg", x))
    return net.node("Add", net.node("Relu", x), net.node("Mul", negative, net.vector(channels, low=-0.4, high=0.4)))


def prelu_by_subtraction(net: Network, x: str, channels: int) -> str:
    negative = net.node("Mul", net.vector(channels), net.node("Relu", net.node("Neg", x)))
    return net.node("Sub", net.node("Relu", x), negative)


def prelu_by_absolute_value(net: Network, x: str, channels: int) -> str:
    below = net.node("Mul", net.vector(channels), net.node("Sub", x, net.node("Abs", x)))
    return net.node("Add", net.node("Mul", below, net.constant(np.float32(0.5))), net.node("Relu", x))


@pytest.mark.parametrize("spell", [prelu_of_keras, prelu_by_subtraction, prelu_by_absolute_value])
def test_prelu_has_one_spelling(spell: Callable[[Network, str, int], str]) -> None:
    net = Network()
    model = net.model(net.conv(spell(net, net.conv("input", 3, 8), 8), 8, 3), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    canonicalise(model)
    assert kinds(model) == ["Conv", "PRelu", "Conv"]
    np.testing.assert_allclose(run(model, x), expected, atol=1e-6)


def test_prelu_per_pixel_loses_its_transposes() -> None:
    net = Network()
    x = net.conv("input", 3, 8)
    slopes = net.constant(net.random.normal(0, 0.2, (9, 11, 8)).astype(np.float32))
    below = net.node("Transpose", net.node("Relu", net.node("Neg", x)), perm=[0, 2, 3, 1])
    back = net.node("Transpose", net.node("Mul", below, slopes), perm=[0, 3, 1, 2])
    model = net.model(net.node("Add", net.node("Relu", x), back), (1, 3, 9, 11))
    batch = picture(1, 3, 9, 11)
    expected = run(model, batch)
    canonicalise(model)
    assert kinds(model) == ["Conv", "PRelu"]
    np.testing.assert_allclose(run(model, batch), expected, atol=1e-6)


def test_leaky_relu_by_maximum() -> None:
    net = Network()
    x = net.conv("input", 3, 8)
    model = net.model(net.node("Max", x, net.node("Mul", net.constant(np.float32(0.2)), x)), (1, 3, 9, 11))
    batch = picture(1, 3, 9, 11)
    expected = run(model, batch)
    canonicalise(model)
    assert kinds(model) == ["Conv", "LeakyRelu"]
    np.testing.assert_allclose(run(model, batch), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("coordinates", "rounding"),
    [("tf_half_pixel_for_nn", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")],
)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_nearest_enlargement_has_one_spelling(coordinates: str, rounding: str, factor: int) -> None:
    net = Network()
    sizes = net.constant(np.array([1, 3, 9 * factor, 11 * factor], np.int64))
    resized = net.node(
        "Resize", "input", "", "", sizes,
        mode="nearest", coordinate_transformation_mode=coordinates, nearest_mode=rounding,
    )  # fmt: skip
    model = net.model(net.conv(resized, 3, 3), (1, 3, 9, 11))
    batch = picture(1, 3, 9, 11)
    expected = run(model, batch)
    canonicalise(model)
    resize = next(node for node in model.graph if node.op_type == "Resize")
    assert resize.attributes["coordinate_transformation_mode"].as_string() == "asymmetric"
    np.testing.assert_allclose(run(model, batch), expected, atol=1e-6)


def test_linear_enlargement_is_left_alone() -> None:
    net = Network()
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    resized = net.node("Resize", "input", "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
    model = net.model(net.conv(resized, 3, 3), (1, 3, 9, 11))
    canonicalise(model)
    resize = next(node for node in model.graph if node.op_type == "Resize")
    assert resize.attributes["mode"].as_string() == "linear"


def test_pytorch_shuffles_become_tensorflow_ones() -> None:
    net = Network()
    x = net.node("DepthToSpace", net.conv("input", 3, 12), blocksize=2, mode="CRD")
    model = net.model(net.conv(x, 3, 3), (1, 3, 9, 11))
    batch = picture(1, 3, 9, 11)
    expected = run(model, batch)
    canonicalise(model)
    shuffle = next(node for node in model.graph if node.op_type == "DepthToSpace")
    assert shuffle.attributes["mode"].as_string() == "DCR"
    np.testing.assert_allclose(run(model, batch), expected, atol=1e-6)


def test_padding_by_name_becomes_explicit() -> None:
    net = Network()
    model = net.model(net.conv("input", 3, 8, 5, auto_pad="SAME_UPPER"), (1, 3, 9, 11))
    batch = picture(1, 3, 9, 11)
    expected = run(model, batch)
    canonicalise(model)
    conv = next(iter(model.graph))
    assert list(conv.attributes["pads"].as_ints()) == [2, 2, 2, 2]
    np.testing.assert_array_equal(run(model, batch), expected)

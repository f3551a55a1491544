"""Transposes meet those that take them back; constants are as small as what they say; the network computes the same."""

from __future__ import annotations

import numpy as np

from srgan_trt.compiler import graph
from srgan_trt.compiler.canonicalise import canonicalise
from srgan_trt.compiler.dynamic_shape import make_dynamic

from .graphs import Network, kinds, picture, run


def same_and_free(net: Network, output: str) -> list[str]:
    """The kinds of nodes of the network, which takes any size and gives what it gave."""
    model = net.model(output, (1, 3, 6, 8))
    batch = picture(1, 3, 6, 8)
    expected = run(model, batch)
    canonicalise(model)
    graph.infer_shapes(model)
    assert make_dynamic(model) == []
    np.testing.assert_allclose(run(model, batch), expected, atol=1e-6)
    run(model, picture(1, 3, 9, 5))
    return kinds(model)


def test_an_activation_spelled_out_in_nhwc_loses_its_transposes() -> None:
    net = Network()
    there = net.node("Transpose", net.conv("input", 3, 8), perm=[0, 2, 3, 1])
    half = net.node("Mul", there, net.constant(np.float32(0.5)))
    slopes = net.node("Mul", net.node("Erf", there), net.constant(np.linspace(0, 1, 8, dtype=np.float32)))
    back = net.node("Transpose", net.node("Add", half, slopes), perm=[0, 3, 1, 2])
    found = same_and_free(net, net.conv(back, 8, 3))
    assert "Transpose" not in found


def test_a_comparison_with_a_constant_of_the_pictures_size_takes_any_size() -> None:
    net = Network()
    there = net.node("Transpose", net.conv("input", 3, 8), perm=[0, 2, 3, 1])
    small = net.node("Cast", net.node("LessOrEqual", there, net.constant(np.float32(0.1))), to=1)
    ones = net.constant(np.full((1, 6, 8, 8), 0.7, np.float32))
    back = net.node("Transpose", net.node("Mul", ones, net.node("Mul", small, there)), perm=[0, 3, 1, 2])
    assert "Transpose" not in same_and_free(net, net.conv(back, 8, 3))


def test_a_constant_with_one_value_a_pixel_stays() -> None:
    net = Network()
    slopes = net.constant(np.random.default_rng(0).random((1, 1, 6, 8), np.float32))
    model = net.model(net.conv(net.node("Mul", net.conv("input", 3, 8), slopes), 8, 3), (1, 3, 6, 8))
    canonicalise(model)
    assert "one value per pixel" in make_dynamic(model)[0]


def test_repetitions_between_activations_in_nhwc_take_any_size() -> None:
    """Keras: UpSampling2D, LeakyReLU and BatchNormalization, twice, with one transpose at either end."""
    net = Network()
    x, sides = net.node("Transpose", net.conv("input", 3, 8), perm=[0, 2, 3, 1]), np.array([1, 6, 8, 8])
    for _ in range(2):
        for axis in (1, 2):
            tiles = np.insert(np.ones(4, np.int64), axis + 1, 2)
            x = net.node("Unsqueeze", x, net.constant(np.array([axis + 1])))
            x = net.node("Tile", x, net.constant(tiles))
            sides = sides * np.where(np.arange(4) == axis, 2, 1)
            x = net.node("Reshape", x, net.constant(sides))
        x = net.node("Mul", net.node("LeakyRelu", x), net.constant(np.linspace(0.5, 1, 8, dtype=np.float32)))
    found = same_and_free(net, net.conv(net.node("Transpose", x, perm=[0, 3, 1, 2]), 8, 3))
    assert found.count("Resize") == 2
    assert not {"Transpose", "Tile", "Reshape"} & set(found)

"""Repetition and shuffles are recognised by what they do, however they are spelled."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.movement import name_movements

from .graphs import Network, kinds, picture, run


def shape(*sides: int) -> np.ndarray:
    return np.array(sides, np.int64)


def repeated(net: Network, x: str, factor: int = 2) -> str:
    """Of (1, 4, 5, 7), its pixels so many times along either side, in NHWC, as Keras 3 writes it."""
    times, height, width = net.constant(shape(1, 1, 1, factor, 1)), 5 * factor, 7 * factor
    rows = net.node("Tile", net.node("Unsqueeze", x, net.constant(shape(3))), times)
    tall = net.node("Reshape", net.node("Transpose", rows, perm=[0, 2, 3, 4, 1]), net.constant(shape(1, height, 7, 4)))
    columns = net.node("Tile", net.node("Unsqueeze", tall, net.constant(shape(3))), times)
    return net.node("Reshape", columns, net.constant(shape(1, height, width, 4)))


def test_keras_3_repetition_is_an_enlargement() -> None:
    net = Network()
    wide = repeated(net, "input")
    model = net.model(net.node("Relu", net.node("Transpose", wide, perm=[0, 3, 1, 2])), (1, 4, 5, 7))
    x = picture(1, 4, 5, 7)
    expected = run(model, x)
    graph.infer_shapes(model)
    assert name_movements(model) == 1
    assert kinds(model) == ["Resize", "Relu"]
    np.testing.assert_array_equal(run(model, x), expected)


def test_a_repetition_that_ends_in_nhwc_is_one_before_a_transpose() -> None:
    net = Network()
    wide = repeated(net, "input")
    model = net.model(net.node("Relu", wide), (1, 4, 5, 7))
    x = picture(1, 4, 5, 7)
    expected = run(model, x)
    graph.infer_shapes(model)
    assert name_movements(model) == 1
    assert kinds(model) == ["Resize", "Transpose", "Relu"]
    np.testing.assert_array_equal(run(model, x), expected)


def test_enlargements_of_one_map_keep_their_own_factors() -> None:
    net = Network()
    two, four = (net.node("Transpose", repeated(net, "input", factor), perm=[0, 3, 1, 2]) for factor in (2, 4))
    model = net.model(net.node("Add", net.nearest(net.node("Relu", two), 2), four), (1, 4, 5, 7))
    x = picture(1, 4, 5, 7)
    expected = run(model, x)
    graph.infer_shapes(model)
    assert name_movements(model) == 2
    assert sorted(kinds(model)) == ["Add", "Relu", "Resize", "Resize", "Resize"]
    np.testing.assert_array_equal(run(model, x), expected)


@pytest.mark.parametrize(
    ("split", "perm", "mode"),
    [((1, 3, 2, 2, 5, 7), (0, 1, 4, 2, 5, 3), "CRD"), ((1, 2, 2, 3, 5, 7), (0, 3, 4, 1, 5, 2), "DCR")],
)
def test_a_shuffle_written_with_shapes_gets_its_name(split: tuple[int, ...], perm: tuple[int, ...], mode: str) -> None:
    net = Network()
    six = net.node("Reshape", "input", net.constant(shape(*split)))
    flat = net.node("Reshape", net.node("Transpose", six, perm=list(perm)), net.constant(shape(1, 3, 10, 14)))
    model = net.model(net.node("Relu", flat), (1, 12, 5, 7))
    x = picture(1, 12, 5, 7)
    expected = run(model, x)
    graph.infer_shapes(model)
    assert name_movements(model) == 1
    assert kinds(model) == ["DepthToSpace", "Relu"]
    assert next(iter(model.graph)).attributes["mode"].as_string() == mode
    np.testing.assert_array_equal(run(model, x), expected)


def test_moves_that_lead_nowhere_go() -> None:
    net = Network()
    there = net.node("Transpose", "input", perm=[0, 2, 3, 1])
    flat = net.node("Reshape", there, net.constant(shape(1, 35, 4)))
    back = net.node("Transpose", net.node("Reshape", flat, net.constant(shape(1, 5, 7, 4))), perm=[0, 3, 1, 2])
    model = net.model(net.node("Relu", back), (1, 4, 5, 7))
    graph.infer_shapes(model)
    assert name_movements(model) == 1
    assert kinds(model) == ["Relu"]


def test_tiling_is_no_enlargement() -> None:
    net = Network()
    tiled = net.node("Tile", "input", net.constant(shape(1, 1, 2, 2)))
    model = net.model(net.node("Relu", tiled), (1, 4, 5, 7))
    graph.infer_shapes(model)
    assert name_movements(model) == 0
    assert kinds(model) == ["Tile", "Relu"]

"""Nearest enlargement and a convolution: sub-pixel convolutions that compute the same picture."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.compiler.subpixel import Lowering, rewrite_subpixel

from .graphs import Network, kinds, picture, run


@pytest.mark.parametrize("lowering", ["phases", "dense", "transposed"])
@pytest.mark.parametrize("factor", [2, 3])
def test_every_form_computes_what_the_enlargement_did(lowering: Lowering, factor: int) -> None:
    net = Network()
    wide = net.conv(net.nearest("input", factor), 8, 32)
    model = net.model(net.conv(net.node("Relu", wide), 32, 3), (1, 8, 5, 7))
    x = picture(1, 8, 5, 7)
    expected = run(model, x)
    assert rewrite_subpixel(model, lowering=lowering) == 1
    assert "Resize" not in kinds(model)
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_forms_are_what_their_names_say() -> None:
    found = {}
    for lowering in ("phases", "dense", "transposed"):
        net = Network()
        model = net.model(net.conv(net.nearest("input", 2), 8, 32), (1, 8, 5, 7))
        rewrite_subpixel(model, lowering=lowering)  # type: ignore[arg-type]
        found[lowering] = kinds(model)
    assert found["phases"] == ["Conv"] * 4 + ["Concat", "DepthToSpace"]
    assert found["dense"] == ["Conv", "DepthToSpace"]
    assert found["transposed"] == ["ConvTranspose"]


def test_few_channels_are_computed_all_at_once() -> None:
    net = Network()
    model = net.model(net.conv(net.nearest("input", 2), 8, 3, 9), (1, 8, 5, 7))
    assert rewrite_subpixel(model) == 1
    assert kinds(model) == ["Conv", "DepthToSpace"]


def test_an_enlargement_that_others_read_is_left_alone() -> None:
    net = Network()
    enlarged = net.nearest("input", 2)
    model = net.model(net.node("Add", net.conv(enlarged, 8, 8), enlarged), (1, 8, 5, 7))
    assert rewrite_subpixel(model) == 0


@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"dilations": [2, 2]}, {"pads": [0, 0, 0, 0]}])
def test_convolutions_that_change_the_size_are_left_alone(attributes: dict[str, list[int]]) -> None:
    net = Network()
    model = net.model(net.conv(net.nearest("input", 2), 8, 8, **attributes), (1, 8, 5, 7))
    assert rewrite_subpixel(model) == 0


def test_phases_are_chosen_where_their_shuffle_can_sink_and_transposed_elsewhere() -> None:
    net = Network()
    first = net.node("Relu", net.conv(net.nearest("input", 2), 8, 32))
    second = net.node("Relu", net.conv(net.nearest(first, 2), 32, 32))
    model = net.model(net.conv(second, 32, 3, 9), (1, 8, 5, 7))
    x = picture(1, 8, 5, 7)
    expected = run(model, x)
    assert rewrite_subpixel(model) == 2
    assert kinds(model) == ["ConvTranspose", "Relu"] + ["Conv"] * 4 + ["Concat", "DepthToSpace", "Relu", "Conv"]
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)

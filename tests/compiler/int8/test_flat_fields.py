"""What int8 does to flat colours, which calibration pictures hardly have."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.calibration import COLOURS, flat_fields
from srgan_trt.compiler.int8.flat_fields import FlatFields
from srgan_trt.compiler.int8.quantisation import fit, quantised

from ...handmade import small_spec
from ..graphs import Network, picture

UNIT = small_spec(scale=1, shuffle=1, input_range=(0.0, 1.0), output_range=(0.0, 1.0))


def copies(*factors: float) -> ir.Model:
    """Red, green and blue times these, by a convolution of one tap."""
    net = Network()
    weight = np.diag(factors).astype(np.float32)[:, :, None, None]
    return net.model(net.node("Conv", "input", net.constant(weight)), ("batch", 3, "height", "width"))


def test_there_is_a_picture_of_every_grey_and_of_every_corner_of_the_colour_cube() -> None:
    made = flat_fields(6, 5)
    assert made.shape == (len(COLOURS), 6, 5, 3)
    assert made.dtype == np.uint8
    assert {tuple(one[3, 2]) for one in made} == set(COLOURS)
    assert len(set(COLOURS)) == 11
    assert all((one == one[0, 0]).all() for one in made)


def test_the_worst_colour_counts() -> None:
    exact = FlatFields(copies(1, 1, 1), UNIT, flat_fields(4, 4))
    assert exact.max_shift(copies(1, 1, 1)) == 0
    assert exact.max_shift(copies(1, 1 - 3 / 255, 1)) == pytest.approx(3, abs=1e-3), "green at 255"


def test_what_the_exact_network_misses_itself_is_allowed_again() -> None:
    exact = FlatFields(copies(1, 1 - 20 / 255, 1), UNIT, flat_fields(4, 4))
    assert exact.max_shift(copies(1, 1 - 35 / 255, 1)) == 0
    assert exact.max_shift(copies(1, 1 - 42 / 255, 1)) == pytest.approx(2, abs=1e-3)


def test_only_the_middle_of_a_picture_counts() -> None:
    """A convolution of nine taps feels the zeros around the picture for one pixel of it."""

    def model(beside: float) -> ir.Model:
        net = Network()
        weight = np.zeros((3, 3, 3, 3), np.float32)
        weight[range(3), range(3), 1, 1] = 1 - beside
        weight[range(3), range(3), 1, 2] = beside
        return net.model(net.node("Conv", "input", net.constant(weight), pads=[1] * 4), ("batch", 3, "height", "width"))

    exact = FlatFields(model(0.0), UNIT, flat_fields(4, 4))
    assert exact.max_shift(model(0.5)) == pytest.approx(0, abs=1e-3)


def test_the_phases_of_a_pixel_count_as_what_they_are_shuffled_to() -> None:
    def model(blue: float) -> ir.Model:
        net = Network()
        weight = np.tile(np.eye(3, dtype=np.float32), (4, 1))
        weight[2, 2] = blue
        return net.model(
            net.node("Conv", "input", net.constant(weight[:, :, None, None])), ("batch", 3, "height", "width")
        )

    exact = FlatFields(model(1.0), small_spec(scale=2, output_range=(0.0, 1.0)), flat_fields(4, 4))
    assert exact.max_shift(model(1 - 8 / 255)) == pytest.approx(2, abs=1e-3), "one blue of four"


def test_a_range_that_clips_white_is_seen_where_photographs_do_not_show_it() -> None:
    model = copies(1, 1, 1)
    (site,) = sites(model)
    photographs = picture(4, 3, 9, 9) * 0.05 + 0.5
    seen = observe(model, [site], photographs)[site.name]
    convs = {limit: fit(site, seen, limits={"given": limit}) for limit in (0.9, 1.0)}
    exact = FlatFields(model, UNIT, flat_fields(4, 4))
    assert exact.max_shift(quantised(model, {site.name: convs[0.9]})) > 20
    assert exact.max_shift(quantised(model, {site.name: convs[1.0]})) < 1.5

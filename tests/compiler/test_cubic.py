"""Cubic enlargement in plain nodes: what TensorFlow computes, borders included."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.cubic import lower_cubic, phase_weights

from .graphs import Network, kinds, picture, run


def cubic(factor: int, *, channels: int = 3, coefficient: float = -0.5, exclude: int = 1) -> tuple[Network, str]:
    net = Network()
    scales = net.constant(np.array([1, 1, factor, factor], np.float32))
    resized = net.node(
        "Resize", "input", "", scales, mode="cubic", coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=coefficient, exclude_outside=exclude,
    )  # fmt: skip
    return net, net.node("Relu", resized)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize(("sides", "channels"), [((7, 9), 3), ((1, 5), 3), ((2, 2), 4)])
def test_it_is_the_resize_of_the_oracle(factor: int, sides: tuple[int, int], channels: int) -> None:
    net, end = cubic(factor, channels=channels)
    shape = (1, channels, *sides)
    model = net.model(end, shape)
    x = picture(*shape)
    expected = run(model, x)
    graph.infer_shapes(model)
    assert lower_cubic(model) == 1
    assert "Resize" not in kinds(model)
    np.testing.assert_allclose(run(model, x), expected, atol=2e-5)


def test_it_is_tensorflows_bicubic() -> None:
    tf = pytest.importorskip("tensorflow")
    net, _ = cubic(4)
    model = net.model("v1", (1, 3, 6, 8))
    x = picture(1, 3, 6, 8)
    expected = tf.image.resize(x.transpose(0, 2, 3, 1), (24, 32), method="bicubic").numpy().transpose(0, 3, 1, 2)
    graph.infer_shapes(model)
    lower_cubic(model)
    np.testing.assert_allclose(run(model, x), expected, atol=2e-5)


def test_weights_of_a_phase_add_up_to_one() -> None:
    np.testing.assert_allclose(phase_weights(4, -0.5).sum(axis=1), 1, atol=1e-12)


def test_a_cubic_that_clamps_the_border_is_left_alone() -> None:
    net, end = cubic(2, exclude=0)
    model = net.model(end, (1, 3, 7, 9))
    graph.infer_shapes(model)
    assert lower_cubic(model) == 0

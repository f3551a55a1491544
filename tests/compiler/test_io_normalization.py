"""Range mappings at both ends of a graph are taken off and remembered."""

from __future__ import annotations

import numpy as np

from srgan_trt.compiler.io_normalization import strip_normalization

from .graphs import Network, kinds, picture, run


def scalar(net: Network, value: float) -> str:
    return net.constant(np.float32(value))


def test_both_ends_come_off_and_put_back_give_the_same_picture() -> None:
    net = Network()
    x = net.node("Sub", net.node("Div", "input", scalar(net, 127.5)), scalar(net, 1))
    y = net.node("Tanh", net.conv(x, 3, 3))
    y = net.node("Mul", net.node("Add", scalar(net, 1), y), scalar(net, 127.5))
    model = net.model(net.node("Clip", y, scalar(net, 0), scalar(net, 255)), (1, 3, 9, 11))
    batch = np.abs(picture(1, 3, 9, 11)) * 100
    expected = run(model, batch)
    ends = strip_normalization(model)
    assert kinds(model) == ["Conv", "Tanh"]
    np.testing.assert_allclose(ends.bare_input_range((0, 255)), (-1, 1), atol=1e-6)
    np.testing.assert_allclose(ends.bare_output_range((0, 255)), (-1, 1), atol=1e-6)
    assert (ends.low, ends.high) == (0, 255)
    bare = run(model, (batch * ends.input_gain + ends.input_shift).astype(np.float32))
    np.testing.assert_allclose(
        np.clip(bare * ends.output_gain + ends.output_shift, ends.low, ends.high), expected, atol=1e-4
    )


def test_a_clip_forbids_wider_ranges() -> None:
    net = Network()
    end = net.node("Clip", net.conv("input", 3, 3), scalar(net, 0), scalar(net, 1))
    ends = strip_normalization(net.model(end, (1, 3, 9, 11)))
    assert ends.allows((0, 1))
    assert not ends.allows((-1, 1))
    assert not ends.allows((0, 255))


def test_different_values_per_channel_stay_in_the_graph() -> None:
    net = Network()
    x = net.node("Sub", "input", net.constant(np.array([0.4, 0.5, 0.6], np.float32).reshape(1, 3, 1, 1)))
    model = net.model(net.conv(x, 3, 3), (1, 3, 9, 11))
    ends = strip_normalization(model)
    assert kinds(model) == ["Sub", "Conv"]
    assert ends.bare_input_range((0, 1)) == (0, 1)


def test_an_input_that_two_nodes_read_keeps_its_mapping() -> None:
    net = Network()
    x = net.node("Mul", "input", scalar(net, 0.5))
    model = net.model(net.node("Add", net.conv(x, 3, 3), "input"), (1, 3, 9, 11))
    strip_normalization(model)
    assert kinds(model) == ["Mul", "Conv", "Add"]


def test_a_negative_scale_is_no_range() -> None:
    net = Network()
    model = net.model(net.conv(net.node("Mul", "input", scalar(net, -1)), 3, 3), (1, 3, 9, 11))
    strip_normalization(model)
    assert kinds(model) == ["Mul", "Conv"]

"""The last shuffle sinks through the tail and leaves the graph; the picture stays."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt.compiler.polyphase import shuffled
from srgan_trt.compiler.tail import detach_shuffle, sink_shuffles

from .graphs import Network, kinds, picture, run


def paper_tail(net: Network) -> str:
    """Sub-pixel convolution, PReLU, 9x9 to RGB, tanh: how the paper's generator ends."""
    large = net.node("DepthToSpace", net.conv("input", 8, 32), blocksize=2)
    active = net.node("PRelu", large, net.constant(net.random.uniform(0, 0.4, (8, 1, 1)).astype(np.float32)))
    return net.node("Tanh", net.conv(active, 8, 3, 9))


def test_the_papers_tail_moves_before_the_shuffle() -> None:
    net = Network()
    model = net.model(paper_tail(net), (1, 8, 5, 7))
    x = picture(1, 8, 5, 7)
    expected = run(model, x)
    assert sink_shuffles(model) == 3
    assert kinds(model) == ["Conv", "PRelu", "Conv", "Tanh", "DepthToSpace"]
    assert detach_shuffle(model, scale=2) == 2
    result = run(model, x)
    assert result.shape == (1, 12, 5, 7)
    np.testing.assert_allclose(shuffled(result, 2), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub", "Div"])
def test_per_channel_constants_move_with_their_channels(kind: str) -> None:
    net = Network()
    large = net.node("DepthToSpace", net.conv("input", 8, 12), blocksize=2, mode="DCR")
    model = net.model(net.node(kind, large, net.vector(3)), (1, 8, 5, 7))
    x = picture(1, 8, 5, 7)
    expected = run(model, x)
    assert sink_shuffles(model) == 1
    assert detach_shuffle(model, scale=2) == 2
    np.testing.assert_allclose(shuffled(run(model, x), 2), expected, atol=1e-6)


def test_a_wide_convolution_stays_behind_its_shuffle() -> None:
    """64 channels at high resolution fill the lanes: before the shuffle they would cost four times as much."""
    net = Network()
    large = net.node("DepthToSpace", net.conv("input", 8, 64), blocksize=2)
    model = net.model(net.node("Relu", net.conv(large, 16, 64)), (1, 8, 5, 7))
    assert sink_shuffles(model) == 0


def test_a_skip_around_the_tail_keeps_the_shuffle_in_the_graph() -> None:
    net = Network()
    large = net.node("DepthToSpace", net.conv("input", 3, 12), blocksize=2)
    model = net.model(net.node("Add", large, net.nearest("input", 2)), (1, 3, 5, 7))
    x = picture(1, 3, 5, 7)
    expected = run(model, x)
    sink_shuffles(model)
    assert detach_shuffle(model, scale=2) == 1
    np.testing.assert_array_equal(run(model, x), expected)


def test_a_shuffle_larger_than_the_scale_stays() -> None:
    """The network folds its input first (FFDNet): the shuffle undoes that, too."""
    net = Network()
    small = net.node("SpaceToDepth", "input", blocksize=2)
    model = net.model(net.node("DepthToSpace", net.conv(small, 12, 48), blocksize=4), (1, 3, 4, 6))
    x = picture(1, 3, 4, 6)
    expected = run(model, x)
    assert detach_shuffle(model, scale=2) == 1
    np.testing.assert_array_equal(run(model, x), expected)


def test_a_transposed_convolution_to_rgb_ends_in_a_shuffle() -> None:
    net = Network()
    weight = net.constant(net.random.normal(0, 0.1, (16, 3, 4, 4)).astype(np.float32))
    end = net.node("ConvTranspose", net.conv("input", 3, 16), weight, strides=[2, 2], pads=[1, 1, 1, 1])
    model = net.model(net.node("Tanh", end), (1, 3, 5, 7))
    x = picture(1, 3, 5, 7)
    expected = run(model, x)
    assert sink_shuffles(model) == 2
    assert detach_shuffle(model, scale=2) == 2
    np.testing.assert_allclose(shuffled(run(model, x), 2), expected, atol=1e-5)


def test_a_clip_moves_with_its_bounds() -> None:
    net = Network()
    large = net.node("DepthToSpace", net.conv("input", 3, 12), blocksize=2)
    bounds = (net.constant(np.float32(-0.2)), net.constant(np.float32(0.2)))
    model = net.model(net.node("Clip", large, *bounds), (1, 3, 5, 7))
    x = picture(1, 3, 5, 7)
    expected = run(model, x)
    assert sink_shuffles(model) == 1
    assert detach_shuffle(model, scale=2) == 2
    np.testing.assert_array_equal(shuffled(run(model, x), 2), expected)


@pytest.mark.parametrize("channels", [3, 1])
def test_the_sum_of_two_shuffles_is_one(channels: int) -> None:
    """A skip that is a sub-pixel convolution, too; or a luma network's Y and the colours of its picture."""
    net = Network()
    one, other = (net.node("DepthToSpace", net.conv("input", 3, 4 * count), blocksize=2) for count in (3, channels))
    model = net.model(net.node("Add", one, other), (1, 3, 5, 7))
    x = picture(1, 3, 5, 7)
    expected = run(model, x)
    assert sink_shuffles(model) == 1
    assert detach_shuffle(model, scale=2) == 2
    np.testing.assert_allclose(shuffled(run(model, x), 2), expected, atol=1e-6)

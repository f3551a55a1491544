"""Per-channel scales and shifts go into convolutions, exactly, at the zero-padded border too."""

from __future__ import annotations

import numpy as np

from srgan_trt.compiler.batch_norm import fold_batch_norm

from .graphs import Network, kinds, picture, run


def batch_norm(net: Network, x: str, channels: int, *, zero_scale: bool = False) -> str:
    gamma = net.random.uniform(0.5, 1.5, channels)
    if zero_scale:
        gamma[0] = 0
    beta, mean = net.random.normal(0, 0.3, (2, channels))
    variance = net.random.uniform(0.5, 2, channels)
    parts = [net.constant(part.astype(np.float32)) for part in (gamma, beta, mean, variance)]
    return net.node("BatchNormalization", x, *parts, epsilon=1e-3)


def test_batch_norm_after_a_convolution_is_part_of_it() -> None:
    net = Network()
    model = net.model(net.node("Relu", batch_norm(net, net.conv("input", 3, 8), 8)), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    assert fold_batch_norm(model) == 1
    assert kinds(model) == ["Conv", "Relu"]
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_batch_norm_after_an_activation_gives_its_scale_to_the_next_convolution() -> None:
    net = Network()
    normed = batch_norm(net, net.node("Relu", net.conv("input", 3, 8)), 8)
    model = net.model(net.conv(normed, 8, 3), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    assert fold_batch_norm(model) > 0
    assert kinds(model) == ["Conv", "Relu", "Add", "Conv"]
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_a_channel_scaled_to_zero_is_left_alone() -> None:
    net = Network()
    normed = batch_norm(net, net.node("Relu", net.conv("input", 3, 8)), 8, zero_scale=True)
    model = net.model(net.conv(normed, 8, 3), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    fold_batch_norm(model)
    assert "Mul" in kinds(model)
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_batch_norm_that_others_read_stays() -> None:
    net = Network()
    normed = batch_norm(net, net.node("Relu", net.conv("input", 3, 8)), 8)
    model = net.model(net.node("Add", net.conv(normed, 8, 8), normed), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    fold_batch_norm(model)
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_depthwise_convolution_takes_the_scale_too() -> None:
    net = Network()
    scaled = net.node("Mul", net.node("Relu", net.conv("input", 3, 8)), net.vector(8))
    weight = net.constant(net.random.normal(0, 0.3, (8, 1, 3, 3)).astype(np.float32))
    model = net.model(net.node("Conv", scaled, weight, group=8, pads=[1, 1, 1, 1]), (1, 3, 9, 11))
    x = picture(1, 3, 9, 11)
    expected = run(model, x)
    assert fold_batch_norm(model) == 1
    assert kinds(model) == ["Conv", "Relu", "Conv"]
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)

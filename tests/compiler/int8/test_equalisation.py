"""Channel equalisation is exact: whatever the factors, the network computes the same, borders included."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.equalisation import factors, rescale, tied_channels
from srgan_trt.compiler.int8.quantisation import fit, quantised

from ..graphs import Network, picture, run

_SIZE = ("batch", 3, 12, 10)


def _slopes(net: Network, channels: int) -> str:
    return net.constant(net.random.uniform(-0.2, 0.5, (channels, 1, 1)).astype(np.float32))


def _residual(*, spread: float = 1.0) -> tuple[Network, str]:
    """Two residual blocks tied by their additions, a sub-pixel convolution, a last convolution; channels of the trunk
    differ by up to ``spread``."""
    net = Network()
    trunk = net.node("PRelu", net.conv("input", 3, 8), _slopes(net, 8))
    if spread != 1:
        scale = np.geomspace(1, spread, 8, dtype=np.float32).reshape(1, 8, 1, 1)
        trunk = net.node("Relu", net.node("Conv", trunk, net.constant(np.diag(scale.ravel())[:, :, None, None])))
    for _ in range(2):
        inner = net.node("PRelu", net.conv(trunk, 8, 12), _slopes(net, 12))
        trunk = net.node("Add", net.conv(inner, 12, 8), trunk)
    shifted = net.node("Add", trunk, net.vector(8))
    up = net.node("DepthToSpace", net.conv(shifted, 8, 32), blocksize=2, mode="DCR")
    last = net.conv(net.node("LeakyRelu", up, alpha=0.1), 8, 3)
    return net, net.node("Tanh", last)


def _model(made: tuple[Network, str]) -> ir.Model:
    return made[0].model(made[1], _SIZE)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_any_factors_leave_the_result_as_it_was(mode: str) -> None:
    net, _ = made = _residual()
    for node in net.nodes:
        if node.op_type == "DepthToSpace":
            node.attribute[1 if node.attribute[1].name == "mode" else 0].s = mode.encode()
    model = _model(made)
    x = picture(2, 3, 12, 10)
    before = run(model, x)
    channels = tied_channels(model)
    factor = np.random.default_rng(3).uniform(0.1, 10, len(channels.fixed)).astype(np.float32)
    factor[channels.fixed] = 1
    changed = rescale(model, channels, factor)
    # 8 of the trunk, made three times; 12 inside each block; 8 after the shuffle, each made by 4 phases
    assert changed == 3 * 8 + 2 * 12 + 32
    np.testing.assert_allclose(run(model, x), before, atol=2e-6)


def test_the_input_the_output_and_what_a_tanh_reads_stay_as_they_are() -> None:
    model = _model(_residual())
    channels = tied_channels(model)
    tanh = next(node for node in model.graph if node.op_type == "Tanh")
    for value in (model.graph.inputs[0], tanh.inputs[0], model.graph.outputs[0]):
        assert channels.fixed[channels.of(value.name or "")].all()
    assert np.count_nonzero(~channels.fixed) == 8 + 2 * 12 + 8


def test_the_tensors_of_a_residual_trunk_share_their_factors() -> None:
    model = _model(_residual())
    channels = tied_channels(model)
    sums = [node.outputs[0].name or "" for node in model.graph if node.op_type == "Add"]
    assert all(np.array_equal(channels.of(name), channels.of(sums[0])) for name in sums)


def test_concatenated_channels_keep_to_themselves() -> None:
    net = Network()
    parts = [net.node("Relu", net.conv("input", 3, 4)) for _ in range(2)]
    model = net.model(net.conv(net.node("Concat", *parts, axis=1), 8, 3), _SIZE)
    channels = tied_channels(model)
    joined = next(node for node in model.graph if node.op_type == "Concat").outputs[0].name or ""
    assert len(set(channels.of(joined))) == 8
    x, factor = picture(1, 3, 12, 10), np.ones(len(channels.fixed), np.float32)
    factor[~channels.fixed] = np.arange(1, 9)
    before = run(model, x)
    rescale(model, channels, factor)
    np.testing.assert_allclose(run(model, x), before, atol=1e-6)


def test_depthwise_convolutions_and_what_is_not_homogeneous_are_left_alone() -> None:
    net = Network()
    x = net.node("Relu", net.conv("input", 3, 4))
    depthwise = net.node("Conv", x, net.constant(picture(4, 1, 3, 3)), group=4, pads=[1, 1, 1, 1])
    model = net.model(net.conv(net.node("Sigmoid", depthwise), 4, 3), _SIZE)
    assert tied_channels(model).fixed.all()


def test_channels_of_very_different_range_lose_less_to_int8_once_equal() -> None:
    model = _model(_residual(spread=200))
    x = picture(4, 3, 12, 10)
    exact = run(model, x)
    found = sites(model)[2:]
    seen = observe(model, found, x)
    losses = []
    channels = tied_channels(model)
    for strength in (0.0, 1.0):
        factor = factors(channels, {site.source: seen[site.name].spread() for site in found}, strength=strength)
        copy = graph.from_proto(graph.to_proto(model))
        rescale(copy, channels, factor)
        convs = {
            site.name: fit(site, seen[site.name].scaled(factor[channels.of(site.source)])) for site in sites(copy)[2:]
        }
        losses.append(np.square(run(quantised(copy, convs), x) - exact).mean())
    assert losses[1] < losses[0]

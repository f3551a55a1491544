"""What becomes int8 where: on OpenVINO, too, a quantised network gives what its plan says."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import openvino
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.quantisation import fit, quantised
from srgan_trt.compiler.int8.time_model import seconds_won

from ..graphs import Floats, Network, picture, run


def joined(*, shuffled: bool) -> ir.Model:
    """Four convolutions side by side, an activation, a shuffle or none, one convolution of their channels."""
    net = Network()
    first = net.node("Relu", net.conv("input", 3, 16))
    parts = [net.conv(first, 16, 16) for _ in range(4)]
    wide = net.node("Relu", net.node("Concat", *parts, axis=1))
    if shuffled:
        wide = net.node("DepthToSpace", wide, blocksize=2, mode="DCR")
    return net.model(net.conv(wide, 16 if shuffled else 64, 12, 5), ("batch", 3, 20, 20))


def all_int8(model: ir.Model) -> ir.Model:
    found = sites(model)
    seen = observe(model, found, picture(4, 3, 20, 20))
    limit = {"one": 2.0}  # for those that read the same tensor
    return quantised(model, {site.name: fit(site, seen[site.name], limits=limit) for site in found})


def by_openvino(model: ir.Model, batch: Floats) -> Floats:
    core = openvino.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}
    network = core.read_model(graph.to_proto(model).SerializeToString())
    result: Floats = core.compile_model(network, "CPU", settings)(batch)[0]
    return result


@pytest.mark.parametrize("shuffled", [False, True])
def test_openvino_gives_what_the_plan_says(shuffled: bool) -> None:
    model = all_int8(joined(shuffled=shuffled))
    x = picture(1, 3, 20, 20, seed=5)
    expected = run(model, x)
    # a value between two levels may fall to either
    assert np.sqrt(np.square(by_openvino(model, x) - expected).mean()) < 0.01 * expected.std()


@pytest.mark.parametrize("shuffled", [False, True])
def test_what_reads_joined_channels_stays_in_the_high_precision(shuffled: bool) -> None:
    assert [site.number for site in sites(joined(shuffled=shuffled))] == [0, 1, 2, 3, 4]


def test_one_pass_serves_all_that_read_a_tensor() -> None:
    """The convolutions side by side read a tensor that one convolution makes: its levels cost none of them a pass."""
    model = joined(shuffled=False)
    *_, part = sites(model)
    assert seconds_won(model, part) == seconds_won(model, part, free=True)

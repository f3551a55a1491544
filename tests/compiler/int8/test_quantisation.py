"""Quantised graphs: what stands in them, and that they compute what the arithmetic of levels says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.quantisation import fit, quantised
from srgan_trt.compiler.int8.ranges import fake_quantize
from srgan_trt.resolve import open_plan

from ..graphs import Network, kinds, picture, run


@pytest.fixture
def residual() -> ir.Model:
    """conv, PReLU, conv, added to its input; shuffled, and a last conv."""
    net = Network()
    x = net.conv("input", 3, 8)
    y = net.node("PRelu", net.conv(x, 8, 8), net.constant(np.full((8, 1, 1), 0.2, np.float32)))
    total = net.node("Add", net.conv(y, 8, 8), x)
    up = net.node("DepthToSpace", net.conv(total, 8, 32), blocksize=2, mode="DCR")
    return net.model(net.conv(up, 8, 3), ("batch", 3, 12, 10))


def _all_int8(model: ir.Model, *, shared: bool = False) -> ir.Model:
    found = sites(model)
    seen = observe(model, found, picture(4, 3, 12, 10))
    convs = {site.name: fit(site, seen[site.name]) for site in found}
    return quantised(model, convs, shared=[site.source for site in found] if shared else [])


def test_one_convolution_computes_with_levels_of_input_and_weights_and_a_float_bias() -> None:
    net = Network()
    model = net.model(net.conv("input", 3, 5, pads=[0, 0, 0, 0]), ("batch", 3, 9, 9))
    (site,) = sites(model)
    conv = fit(site, observe(model, [site], picture(4, 3, 9, 9))[site.name])
    x = picture(1, 3, 9, 9, seed=5)
    windows = np.lib.stride_tricks.sliding_window_view(fake_quantize(x, conv.limit)[0], (3, 3), axis=(1, 2))
    weight = conv.levels * conv.scales[:, None, None, None]
    expected = np.einsum("chwij,ocij->ohw", windows, weight) + conv.bias[:, None, None]
    np.testing.assert_allclose(run(quantised(model, {site.name: conv}), x)[0], expected, atol=1e-5)
    assert 63 <= np.abs(conv.levels).max() <= 127
    assert conv.levels.dtype == np.int8


@pytest.mark.parametrize("shared", [False, True])
def test_the_whole_network_stays_near_the_exact_one(residual: ir.Model, shared: bool) -> None:
    x = picture(1, 3, 12, 10, seed=7)
    exact, found = run(residual, x), run(_all_int8(residual, shared=shared), x)
    assert np.square(found - exact).mean() < 0.01 * np.square(exact).mean()


def test_the_graph_holds_symmetric_int8_per_tensor_in_and_per_channel_weights_and_is_valid(residual: ir.Model) -> None:
    model = _all_int8(residual)
    onnx.checker.check_model(graph.to_proto(model), full_check=True)
    assert kinds(model).count("Conv") == 5
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = graph.constant(node.inputs[1]), graph.constant(node.inputs[2])
            assert scale is not None
            assert zero is not None
            assert zero.dtype == np.int8
            assert not zero.any()
            assert (scale > 0).all()
        if node.op_type == "Conv":
            values, weights, bias = node.inputs
            assert values.producer().op_type in ("DequantizeLinear", "DepthToSpace")
            assert weights.producer().op_type == "DequantizeLinear"
            assert graph.constant(weights.producer().inputs[0]).dtype == np.int8
            assert graph.constant(bias).dtype == np.float32


def test_the_shuffle_moves_levels_not_floats(residual: ir.Model) -> None:
    model = _all_int8(residual)
    (shuffle,) = (node for node in model.graph if node.op_type == "DepthToSpace")
    assert shuffle.inputs[0].producer().op_type == "DequantizeLinear"


def test_only_what_is_named_is_quantised_and_the_exact_model_stays_as_it_is(residual: ir.Model) -> None:
    before = kinds(residual)
    found = sites(residual)
    seen = observe(residual, found, picture(4, 3, 12, 10))
    model = quantised(residual, {found[1].name: fit(found[1], seen[found[1].name])})
    assert kinds(residual) == before
    assert kinds(model).count("QuantizeLinear") == 1
    assert quantised(residual, {}).graph.outputs[0].name == residual.graph.outputs[0].name


def test_a_network_of_one_picture_at_a_time_is_observed_picture_by_picture() -> None:
    net = Network()
    model = net.model(net.conv("input", 3, 4), (1, 3, 12, 10))
    (site,) = sites(model)
    assert observe(model, [site], picture(4, 3, 12, 10))[site.name].patches.shape[1:] == (3, 3, 3)


def test_shared_levels_are_read_by_the_addition_too(residual: ir.Model) -> None:
    (add,) = (node for node in _all_int8(residual, shared=True).graph if node.op_type == "Add")
    assert "DequantizeLinear" in {value.producer().op_type for value in add.inputs}
    (add,) = (node for node in _all_int8(residual).graph if node.op_type == "Add")
    assert "DequantizeLinear" not in {value.producer().op_type for value in add.inputs}


def test_a_convolution_without_a_bias_gets_one() -> None:
    net = Network()
    x = net.node("Conv", "input", net.constant(picture(4, 3, 1, 1)), pads=[0, 0, 0, 0])
    model = _all_int8(net.model(x, ("batch", 3, 12, 10)))
    (conv,) = (node for node in model.graph if node.op_type == "Conv")
    assert len(conv.inputs) == 3
    assert model.graph.outputs[0].name == "output"
    assert run(model, picture(1, 3, 12, 10)).shape == (1, 4, 12, 10)


@pytest.mark.parametrize(
    ("name", "values", "wide", "of_levels"), [("srresnet-photo-x4", 9, 4, 4), ("srgan-photo-x4", 6, 0, 6)]
)
def test_shipped_chains_are_what_tensorrt_fuses(name: str, values: int, wide: int, of_levels: int) -> None:
    """Explicit quantisation as NVIDIA's guide wants it (TensorRT developer guide, "Working with Quantized Types"):
    levels are made after the activation or the sum, once, and sums add levels, so that a convolution reads and writes
    8 bits. ``values`` levels are made after a convolution or a sum, of which the first ``wide`` are added in more bits,
    too; ``of_levels`` of the nine sums add levels: fewer where the gate asks for more bits (selection.py)."""
    joined = open_plan(name).int8
    assert joined is not None
    nodes = onnx.load_from_string(joined.network()).graph.node
    maker = {given: node for node in nodes for given in node.output}
    readers = Counter(source for node in nodes for source in node.input)
    quantisers = [node for node in nodes if node.op_type == "QuantizeLinear"]
    assert len(quantisers) > 10
    added = []
    for node in quantisers:
        source = maker[node.input[0]]
        assert source.op_type in ("Conv", "Relu", "Add")
        alone = readers[node.input[0]] == 1
        if source.op_type == "Relu":
            assert alone, "nothing reads it in more bits"
        else:
            added.append(alone)
    assert added == [False] * wide + [True] * (values - wide)
    sums = [[maker[source].op_type for source in node.input] for node in nodes if node.op_type == "Add"]
    assert len(sums) == 9
    assert sums.count(["DequantizeLinear", "Conv"]) == of_levels
    activated = [maker[node.input[0]].op_type for node in nodes if node.op_type == "Relu"]
    assert activated == ["Conv"] * 8

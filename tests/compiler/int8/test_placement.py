"""Tensors become levels before they are joined or shuffled, and that changes no number."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler.int8 import quantisation
from srgan_trt.compiler.int8.activations import observe, sites
from srgan_trt.compiler.int8.quantisation import fit, quantised
from srgan_trt.compiler.int8.time_model import seconds_won

from ..graphs import Network, picture, run


@pytest.fixture
def joined() -> ir.Model:
    """Four convolutions side by side, an activation, one convolution of their channels."""
    net = Network()
    first = net.node("Relu", net.conv("input", 3, 8))
    parts = [net.conv(first, 8, 6) for _ in range(4)]
    wide = net.node("LeakyRelu", net.node("Concat", *parts, axis=1), alpha=0.2)
    return net.model(net.conv(wide, 24, 3), ("batch", 3, 12, 10))


def all_int8(model: ir.Model) -> ir.Model:
    found = sites(model)
    seen = observe(model, found, picture(4, 3, 12, 10))
    limit = {"one": 2.0}  # for those that read the same tensor
    return quantised(model, {site.name: fit(site, seen[site.name], limits=limit) for site in found})


def test_what_is_joined_are_levels(joined: ir.Model) -> None:
    model = all_int8(joined)
    (concat,) = (node for node in model.graph if node.op_type == "Concat")
    for value in concat.inputs:
        chain = [value.producer()]
        while chain[-1].op_type != "Conv":
            chain.append(chain[-1].inputs[0].producer())
        assert [node.op_type for node in chain] == ["DequantizeLinear", "QuantizeLinear", "LeakyRelu", "Conv"]
    (reader,) = concat.outputs[0].uses()
    assert reader.node.op_type == "Conv"


def test_not_one_number_changes(joined: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    x = picture(2, 3, 12, 10, seed=5)
    moved = run(all_int8(joined), x)
    monkeypatch.setattr(quantisation, "before_concats", lambda model: None)
    np.testing.assert_array_equal(moved, run(all_int8(joined), x))


def test_a_join_that_others_read_stays_as_it_is() -> None:
    net = Network()
    parts = net.node("Concat", *(net.conv("input", 3, 4) for _ in range(4)), axis=1)
    model = net.model(net.node("Add", net.conv(parts, 16, 16), parts), ("batch", 3, 12, 10))
    (concat,) = (node for node in all_int8(model).graph if node.op_type == "Concat")
    assert {value.producer().op_type for value in concat.inputs} == {"Conv"}


def test_one_pass_serves_all_that_read_a_tensor(joined: ir.Model) -> None:
    """The convolution after the join has its levels for nothing; those before it read a tensor that one makes."""
    *_, part, last = sites(joined)
    assert seconds_won(joined, last) == seconds_won(joined, last, free=True)
    assert seconds_won(joined, part) == seconds_won(joined, part, free=True)

"""The lowerings of a sub-pixel convolution: each computes the same, and any network is brought from one to another."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler import graph
from srgan_trt.compiler.lowerings import LOWERINGS, Lowering, other_lowerings, relower
from srgan_trt.compiler.subpixel import rewrite_subpixel

from .graphs import Floats, Network, kinds, picture, run


def enlarger(factor: int = 2, size: int = 3) -> ir.Model:
    """Nearest enlargement and a convolution to 20 channels, then one to 3."""
    net = Network()
    wide = net.node("Relu", net.conv(net.nearest("input", factor), 8, 20, size))
    return net.model(net.conv(wide, 20, 3), (1, 8, 5, 7))


def whole_numbers(model: ir.Model) -> None:
    """Weights that float arithmetic adds up exactly, in any order."""
    for value in model.graph.initializers.values():
        array = graph.constant(value)
        if array is not None and array.dtype == np.float32 and array.size > 4:
            value.const_value = ir.tensor(np.rint(array * 20).astype(np.float32), name=value.name)


def levels(shape: tuple[int, ...]) -> Floats:
    return np.random.default_rng(2).integers(-9, 10, shape).astype(np.float32)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize(("factor", "size"), [(2, 3), (2, 5), (3, 3), (4, 3), (2, 4)])
def test_every_form_gives_the_very_same_numbers(lowering: Lowering, factor: int, size: int) -> None:
    model = enlarger(factor, size)
    whole_numbers(model)
    x = levels((1, 8, 5, 7))
    expected = run(model, x)
    assert rewrite_subpixel(model, lowering=lowering) == 1
    np.testing.assert_array_equal(run(model, x), expected)


@pytest.mark.parametrize("start", ["phases", "transposed"])
@pytest.mark.parametrize("lowering", LOWERINGS)
def test_any_form_becomes_any_other(start: Lowering, lowering: Lowering) -> None:
    model = enlarger()
    whole_numbers(model)
    x = levels((1, 8, 5, 7))
    rewrite_subpixel(model, lowering=start)
    expected = run(model, x)
    changed = relower(model, lowering)
    np.testing.assert_array_equal(run(model, x), expected)
    assert changed == (lowering != start and not (start == "phases" and lowering == "transposed"))
    if changed:
        made = {
            "phases": ["Conv"] * 4 + ["Concat"],
            "dense": ["Conv"],
            "shifted": ["Conv"] + ["Slice"] * 4 + ["Concat"],
        }
        assert kinds(model)[: len(made[lowering])] == made[lowering]


@pytest.mark.parametrize("lowering", ["dense", "shifted"])
def test_levels_and_their_scales_are_kept(lowering: Lowering) -> None:
    """int8 convolutions side by side: the same levels, scale by scale, in one."""
    net = Network()
    zero, scale = net.constant(np.int8(0)), net.constant(np.float32(0.25))
    read = net.node("DequantizeLinear", net.node("QuantizeLinear", "input", scale, zero), scale, zero)
    parts = []
    for top, left in ((1, 1), (1, 0), (0, 1), (0, 0)):
        values = net.constant(net.random.integers(-127, 128, (6, 8, 2, 2)).astype(np.int8))
        steps = net.constant(np.exp2(net.random.integers(-3, 2, 6)).astype(np.float32))
        weight = net.node("DequantizeLinear", values, steps, net.constant(np.zeros(6, np.int8)), axis=0)
        bias = net.constant(net.random.integers(-9, 9, 6).astype(np.float32))
        parts.append(net.node("Conv", read, weight, bias, pads=[top, left, 1 - top, 1 - left]))
    joined = net.node("Concat", *parts, axis=1)
    model = net.model(net.node("DepthToSpace", joined, blocksize=2, mode="DCR"), (1, 8, 5, 7))
    x = picture(1, 8, 5, 7)
    expected = run(model, x)
    assert other_lowerings(model) == ("dense", "shifted")
    assert relower(model, lowering) == 1
    np.testing.assert_array_equal(run(model, x), expected)
    assert kinds(model).count("Conv") == 1
    (conv,) = (node for node in model.graph if node.op_type == "Conv")
    weight = conv.inputs[1]
    assert weight is not None
    made = weight.producer()
    assert made is not None
    assert made.op_type == "DequantizeLinear"


def test_which_forms_there_are_depends_on_how_the_network_enlarges() -> None:
    model = enlarger()
    assert other_lowerings(model) == ()
    rewrite_subpixel(model, lowering="transposed")
    assert other_lowerings(model) == ("phases", "dense", "shifted")
    model = enlarger()
    rewrite_subpixel(model, lowering="phases")
    assert other_lowerings(model) == ("dense", "shifted")


def test_convolutions_side_by_side_that_are_no_phases_are_left_alone() -> None:
    net = Network()
    three = net.node("Concat", *(net.conv("input", 8, 4) for _ in range(3)), axis=1)
    assert other_lowerings(net.model(three, (1, 8, 5, 7))) == ()
    net = Network()
    mixed = net.node("Concat", *(net.conv("input", 8, count) for count in (4, 4, 4, 5)), axis=1)
    assert other_lowerings(net.model(mixed, (1, 8, 5, 7))) == ()
    net = Network()
    other = net.node("Relu", "input")
    apart = net.node("Concat", *(net.conv(source, 8, 4) for source in ("input", other) * 2), axis=1)
    assert other_lowerings(net.model(apart, (1, 8, 5, 7))) == ()

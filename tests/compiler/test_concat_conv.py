"""A convolution of joined phases is a sum of convolutions of each: the same numbers, and nothing joined."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from srgan_trt.compiler.concat_conv import has_concat_convs, split_concat_convs, sum_concat_convs

from .graphs import Floats, Network, kinds, picture, run
from .test_lowerings import levels, whole_numbers


def joined(activation: str = "Relu", *, widths: tuple[int, ...] = (20, 20, 20, 20), out: int = 5) -> ir.Model:
    """Convolutions of one map side by side, an activation, a convolution of all their channels."""
    net = Network()
    wide = net.node("Concat", *(net.conv("input", 3, width, 1 + 2 * (width > 20)) for width in widths), axis=1)
    if activation == "PRelu":
        slope = net.random.integers(1, 4, (sum(widths), 1, 1)).astype(np.float32)
        wide = net.node("PRelu", wide, net.constant(slope))
    elif activation == "one slope":
        wide = net.node("PRelu", wide, net.constant(np.full((1, 1, 1), 2, np.float32)))
    elif activation == "LeakyRelu":
        wide = net.node("LeakyRelu", wide, alpha=0.5)
    elif activation:
        wide = net.node(activation, wide)
    return net.model(net.conv(wide, sum(widths), out, 5), (1, 3, 9, 7))


@pytest.mark.parametrize("activation", ["", "Relu", "PRelu", "one slope", "LeakyRelu"])
@pytest.mark.parametrize("widths", [(20, 20, 20, 20), (20, 24, 28), (40, 20)])
def test_the_very_same_numbers(activation: str, widths: tuple[int, ...]) -> None:
    model = joined(activation, widths=widths)
    whole_numbers(model)
    x: Floats = levels((1, 3, 9, 7))
    expected = run(model, x)
    assert split_concat_convs(model) == 1
    np.testing.assert_array_equal(run(model, x), expected)
    assert "Concat" not in kinds(model)
    assert kinds(model).count("Conv") == 2 * len(widths)
    assert kinds(model).count("Add") == len(widths) - 1


def test_it_is_done_once() -> None:
    model = joined()
    assert (split_concat_convs(model), split_concat_convs(model)) == (1, 0)


def test_what_would_be_added_up_too_often_or_is_read_elsewhere_stays() -> None:
    assert split_concat_convs(joined(out=6)) == 0, "20 channels a phase for 6 results"
    net = Network()
    wide = net.node("Concat", *(net.conv("input", 3, 16) for _ in range(4)), axis=1)
    twice = net.node("Add", net.conv(wide, 64, 4), net.conv(wide, 64, 4))
    assert split_concat_convs(net.model(twice, (1, 3, 9, 7))) == 0
    net = Network()
    dense = net.node("Concat", "input", net.conv("input", 3, 61), axis=1)
    assert split_concat_convs(net.model(net.conv(dense, 64, 4), (1, 3, 9, 7))) == 0, "not all of it are convolutions"
    net = Network()
    part = net.conv("input", 3, 16)
    wide = net.node("Concat", part, net.conv(part, 16, 16), axis=1)
    model = net.model(net.conv(wide, 32, 4), (1, 3, 9, 7))
    assert split_concat_convs(model) == 0, "one of them is read by another"


class TestDenseBlocks:
    """The form of networks that join all maps before every convolution, as RRDB and RDN do."""

    @staticmethod
    def block(*, growth: int = 6, count: int = 3) -> ir.Model:
        """Maps of 8 + growth * count channels; each convolution reads all maps before it, the last one, too."""
        net = Network()
        maps = [net.conv("input", 3, 8)]
        for number in range(count):
            joined = net.node("Concat", *maps, axis=1) if number else maps[0]
            maps.append(net.node("LeakyRelu", net.conv(joined, 8 + growth * number, growth), alpha=0.5))
        last = net.node("Concat", *maps, axis=1)
        out = net.node("Add", net.conv(last, 8 + growth * count, 8), maps[0])
        return net.model(net.conv(out, 8, 3), (1, 3, 9, 7))

    def test_the_same_numbers_and_nothing_is_joined(self) -> None:
        model = self.block()
        x = picture(1, 3, 9, 7)
        expected = run(model, x)
        assert has_concat_convs(model) == 3
        assert sum_concat_convs(model) == 3
        np.testing.assert_allclose(run(model, x), expected, atol=2e-6)
        assert "Concat" not in kinds(model)
        assert kinds(model).count("Conv") == 3 + 2 + 3 + 4
        assert has_concat_convs(model) == sum_concat_convs(model) == 0

    def test_a_bias_is_added_once_and_joined_maps_of_joined_maps_are_taken_apart(self) -> None:
        net = Network()
        inner = net.node("Concat", "input", net.conv("input", 3, 5), axis=1)
        outer = net.node("Concat", inner, net.conv("input", 3, 4), axis=1)
        model = net.model(net.conv(outer, 12, 3), (1, 3, 9, 7))
        x: Floats = levels((1, 3, 9, 7))
        expected = run(model, x)
        assert sum_concat_convs(model) == 2
        np.testing.assert_allclose(run(model, x), expected, atol=1e-4)
        assert sum(node.op_type == "Conv" and len(node.inputs) > 2 for node in model.graph) == 3

    def test_what_is_no_sum_stays(self) -> None:
        net = Network()
        rows = net.node("Concat", "input", "input", axis=2)
        assert sum_concat_convs(net.model(net.conv(rows, 3, 3), (1, 3, 9, 7))) == 0, "joined along another axis"
        net = Network()
        wide = net.node("Concat", "input", "input", axis=1)
        strided = net.conv(wide, 6, 3, strides=[2, 2])
        assert sum_concat_convs(net.model(strided, (1, 3, 9, 7))) == 0, "a smaller map"
        net = Network()
        alone = net.node("Concat", "input", axis=1)
        assert sum_concat_convs(net.model(net.conv(alone, 3, 3), (1, 3, 9, 7))) == 0, "one map only"

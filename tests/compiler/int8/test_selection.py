"""From a network to its int8 plan: what is chosen holds, what does not is refused, TensorRT builds what is planned."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from PIL import Image

from srgan_trt.compiler import graph
from srgan_trt.compiler.analysis import layers
from srgan_trt.compiler.build import build
from srgan_trt.compiler.int8 import calibration
from srgan_trt.compiler.int8.activations import Observed, sites
from srgan_trt.compiler.int8.comparison import decibels
from srgan_trt.compiler.int8.gate import Gate, Verdict
from srgan_trt.compiler.int8.quantisation import fit
from srgan_trt.compiler.int8.selection import select, select_within_budget
from srgan_trt.compiler.int8.sensitivity import Sensitivity
from srgan_trt.compiler.plan import Plan, load_plan
from srgan_trt.errors import ModelError, PictureError
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.upscaler import Upscaler

from ...handmade import differences, noise, small_model, small_spec
from ..graphs import Network, picture, save_sharpener


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sharpener(tmp_path_factory.mktemp("model") / "sharper.onnx")


@pytest.fixture(scope="module")
def plan(file: Path) -> Plan:
    return build(file, out=file.with_name("int8.plan.onnx"), precision="int8", input_range=(0, 1), output_range=(0, 1))


class TestAPlan:
    def test_is_int8_where_its_report_says_so(self, plan: Plan) -> None:
        assert plan.spec.precision == "int8"
        rows = plan.report["int8"]["layers"]
        chosen = {row["name"] for row in rows if row["int8"]}
        assert chosen
        assert len(chosen) < len(rows)
        for node in graph.from_proto(onnx.load(plan.path)).graph:
            if node.op_type == "Conv":
                quantised = node.inputs[1].producer() is not None
                assert quantised == (node.outputs[0].name in chosen)

    def test_counts_the_same_work_as_in_float32(self, plan: Plan, file: Path) -> None:
        exact = build(file, out=file.with_name("fp32.plan.onnx"), input_range=(0, 1), output_range=(0, 1))
        found = layers(graph.from_proto(onnx.load(plan.path)))
        assert [layer.macs for layer in found] == [
            layer.macs for layer in layers(graph.from_proto(onnx.load(exact.path)))
        ]
        assert plan.spec.macs == exact.spec.macs

    def test_passed_its_gate_and_says_by_how_much(self, plan: Plan) -> None:
        gate = plan.report["int8"]["gate"]
        assert gate["fidelity"] >= 45
        assert gate["drop"] <= 0.1
        assert load_plan(plan.path).report == plan.report

    def test_carries_a_picture_that_devices_are_held_to(self, plan: Plan) -> None:
        stored = load_plan(plan.path).self_test
        assert stored is not None
        assert stored.fidelity > 40
        with Upscaler(plan, device="cpu") as up:
            stored.check(up(stored.picture), what="this CPU")
        assert differences(stored.expected, np.full_like(stored.expected, 128)).max() > 20, "a picture, not nothing"

    def test_runs_on_the_cpu_and_is_near_the_exact_network(self, plan: Plan, file: Path) -> None:
        image = noise(40, 56, seed=3) // 4 + 90
        exact = build(file, out=file.with_name("fp32.plan.onnx"), input_range=(0, 1), output_range=(0, 1))
        with Upscaler(plan, device="cpu") as mine, Upscaler(exact, device="cpu", precision="fp32") as theirs:
            apart = differences(mine(image), theirs(image))
        assert apart.mean() < 1.5

    def test_of_a_user_s_own_pictures(self, file: Path, tmp_path: Path) -> None:
        folder = tmp_path / "pictures"
        folder.mkdir()
        for number in range(3):
            smooth = noise(20, 30, seed=number)
            Image.fromarray(smooth).resize((240, 160), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        plan = build(
            file,
            out=tmp_path / "plan.onnx",
            precision="int8",
            input_range=(0, 1),
            output_range=(0, 1),
            calibration=folder,
        )
        assert "2 pictures of pictures, 1 others held out" in plan.report["int8"]["pictures"]

    def test_tensorrt_builds_the_planned_convolutions_in_int8_and_no_others(self, plan: Plan) -> None:
        pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")
        from srgan_trt.runtime.tensorrt.build import build_engine
        from srgan_trt.runtime.tensorrt.library import find_library

        settings = EngineSettings(precision="int8", tile=(64, 96), batch=2, compute_capability=(8, 9))
        built = build_engine(plan.path.read_bytes(), settings, library=find_library("tensorrt-rtx"))
        planned = sum(row["int8"] for row in plan.report["int8"]["layers"])
        found = [layer.filters for layer in built.layers if layer.filters]
        assert found.count("int8") == planned
        assert [layer.reads for layer in built.layers if layer.filters == "int8"] == ["int8"] * planned


class TestWhatIsRefused:
    def test_a_drop_that_nothing_keeps(self, file: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"sharper\.onnx loses too much in int8"):
            build(
                file,
                out=tmp_path / "plan.onnx",
                precision="int8",
                input_range=(0, 1),
                output_range=(0, 1),
                max_drop=-50,
            )
        assert not (tmp_path / "plan.onnx").exists()

    def test_a_folder_with_one_picture(self, tmp_path: Path) -> None:
        Image.fromarray(noise(64, 64)).save(tmp_path / "one.png")
        with pytest.raises(PictureError, match="holds one picture"):
            calibration.from_folder(tmp_path, scale=2)


class TestPictures:
    def test_the_built_in_set_is_always_the_same_and_holds_others_out(self) -> None:
        one, other = calibration.built_in(scale=4), calibration.built_in(scale=4)
        assert np.array_equal(one.tiles, other.tiles)
        assert len(one.tiles) + len(one.hard) == calibration.TILES
        assert one.tiles.dtype == np.uint8
        for truth, low in one.held_out:
            assert truth.shape == (256, 256, 3)
            assert low.shape == (64, 64, 3)

    @pytest.mark.parametrize(("multiple", "shape"), [(7, None), (1, (96, 128)), (1, (300, 280))])
    def test_tiles_have_the_size_that_the_network_takes(self, multiple: int, shape: tuple[int, int] | None) -> None:
        found = calibration.built_in(scale=2, multiple=multiple, shape=shape)
        sides = found.tiles.shape[1:3]
        assert found.hard.shape[1:3] == sides
        assert sides == shape if shape else all(side % multiple == 0 for side in sides)
        assert all(low.shape[0] * 2 == truth.shape[0] for truth, low in found.held_out)

    def test_values_span_the_network_s_range(self) -> None:
        tiles = np.array([0, 255], np.uint8).repeat(12).reshape(2, 2, 2, 3)
        assert np.allclose(calibration.values(tiles, (-1, 1)), np.array([-1, 1]).repeat(12).reshape(2, 3, 2, 2))


class TestTheGate:
    @pytest.fixture(scope="class")
    def gate(self) -> Gate:
        return Gate(graph.from_proto(small_model()), small_spec(), calibration.built_in(scale=4))

    def test_the_exact_network_passes_its_own(self, gate: Gate) -> None:
        verdict = gate.judge(graph.from_proto(small_model()))
        assert verdict.failures(max_drop=0, min_fidelity=100) == []
        assert verdict.drop == 0
        assert verdict.shift == (0, 0, 0)

    def test_a_shifted_colour_is_seen_and_measured(self, gate: Gate) -> None:
        model = graph.from_proto(small_model(last="Identity"))
        exact = Gate(model, small_spec(), calibration.built_in(scale=4))
        proto = small_model(last="Identity")
        values = np.zeros(12, np.float32)
        values[::3] = 4 / 255  # the red of every phase; two levels in a range of -1..1
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, "shift"))
        proto.graph.node[4].input.append("shift")
        verdict = exact.judge(graph.from_proto(proto))
        assert 0.5 < verdict.shift[0] <= 2.01
        assert verdict.shift[1:] == (0, 0)
        assert any("colours shifted" in failure for failure in verdict.failures(max_drop=1, min_fidelity=0))


GOOD = Verdict(
    fidelity=50,
    hard=40,
    drop=0.01,
    most_drop=0.2,
    shift=(0.1, 0, 0),
    flat=1.0,
    levels=(250, 249),
    step=(1, 1.5),
    seam=(0.1, 0.2),
)


def test_a_verdict_names_everything_that_fails() -> None:
    assert GOOD.failures(max_drop=0.1, min_fidelity=45) == []
    for change, word in [
        ({"fidelity": 44.9}, "fidelity"),
        ({"hard": 20.0}, "dark"),
        ({"drop": 0.11}, "truth"),
        ({"most_drop": 0.51}, "in one picture"),
        ({"shift": (0.0, -0.6, 0.0)}, "colours"),
        ({"flat": 1.6}, "flat colour"),
        ({"levels": (250, 200)}, "bands"),
        ({"step": (1.0, 9.0)}, "bands"),
        ({"seam": (0.1, 0.9)}, "seams"),
    ]:
        (failure,) = dataclasses.replace(GOOD, **change).failures(max_drop=0.1, min_fidelity=45)  # type: ignore[arg-type]
        assert word in failure


class Judge:
    """In the gate's place: fidelity by the number of convolutions in int8."""

    def __init__(self, fidelities: dict[int, float]) -> None:
        self._fidelities = fidelities
        self.judged: list[int] = []

    def judge(self, candidate: ir.Model) -> Verdict:
        convs = [node for node in candidate.graph if node.op_type == "Conv"]
        count = sum(node.inputs[1] is not None and node.inputs[1].producer() is not None for node in convs)
        self.judged.append(count)
        return dataclasses.replace(GOOD, fidelity=self._fidelities[count])


def four(layers: list[tuple[float, float]]) -> tuple[ir.Model, list[Sensitivity]]:
    """Four convolutions in a row, of which each costs such an error and wins such a time."""
    net = Network()
    value = "input"
    for channels in (3, 4, 4, 4):
        value = net.node("Relu", net.conv(value, channels, 4))
    model = net.model(value, ("batch", 3, 9, 9))
    seen = Observed(picture(8, 4, 3, 3), np.ones(4, np.float32))
    first = Observed(picture(8, 3, 3, 3), np.ones(3, np.float32))
    measured = [
        Sensitivity(
            site=site, conv=fit(site, seen if site.number else first), error=error, seconds=(won, won), total=10
        )
        for site, (error, won) in zip(sites(model), layers, strict=True)
    ]
    return model, measured


@pytest.mark.parametrize(
    ("fidelities", "judged"),
    [
        ({4: 46.0}, [4]),
        ({4: 44.0, 3: 46.0}, [4, 3]),
        # one alone leaves room for one and a half
        ({4: 44.0, 3: 43.0, 1: 49.0, 2: 45.5}, [4, 3, 1, 2]),
        # for four, it seems, then for half of them, then for a quarter
        ({4: 44.0, 3: 43.0, 1: 52.0, 2: 45.5}, [4, 3, 1, 4, 3, 2]),
        ({4: 44.0, 3: 43.0, 1: 52.0, 2: 44.5}, [4, 3, 1, 4, 3, 2]),
    ],
)
def test_layers_go_until_the_gate_lets_the_rest_through_and_come_back_as_far_as_it_does(
    fidelities: dict[int, float], judged: list[int]
) -> None:
    model, measured = four([(8e-6, 1.0)] * 4)
    judge = Judge(fidelities)
    found = select(model, measured, judge, name="four", min_fidelity=45.0)  # type: ignore[arg-type]
    assert judge.judged == judged
    best = max(count for count in judged if fidelities[count] >= 45)
    assert len(found.chosen) == best
    assert found.verdict.fidelity == fidelities[best]


def test_a_large_layer_that_only_just_fits_stays_and_small_ones_go() -> None:
    model, measured = four([(2.4e-5, 10.0), *[(2.5e-6, 1.0)] * 3])
    judge = Judge({4: 44.9, 3: 45.1, 2: 45.2, 1: 45.3})
    found = select(model, measured, judge, name="four", min_fidelity=45.0)  # type: ignore[arg-type]
    assert [each.site.number for each in found.chosen] == [0, 1], "won 11, where the three small ones win 3"


def test_the_cheapest_decibels_per_time_won_are_bought_first() -> None:
    net = Network()
    model = net.model(net.conv(net.conv(net.conv("input", 3, 4), 4, 4), 4, 3), ("batch", 3, 9, 9))
    found = sites(model)
    seen = Observed(picture(8, 3, 3, 3), np.ones(3, np.float32))
    conv = fit(found[0], seen)

    def one(number: int, error: float, won: float) -> Sensitivity:
        return Sensitivity(site=found[number], conv=conv, error=error, seconds=(won, won), total=10)

    measured = [one(0, 4e-5, 1.0), one(1, 1e-5, 5.0), one(2, 1e-7, -1.0)]
    assert [each.site.number for each in select_within_budget(measured, 1e-4)] == [0, 1]
    assert [each.site.number for each in select_within_budget(measured, 4.5e-5)] == [1]
    assert select_within_budget(measured, 1e-6) == []
    assert decibels(1e-4) == pytest.approx(40)
    large = [one(0, 1e-5, 1.0), one(1, 1e-5, 1.0), one(2, 9e-5, 5.0)]
    assert [each.site.number for each in select_within_budget(large, 1.05e-4)] == [0, 2], "not the two small ones"

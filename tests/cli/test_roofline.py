"""`srgan-trt info --roofline`: what it prints, and that it says what it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest

from srgan_trt.compiler.plan import Plan, load_plan, save_plan
from srgan_trt.runtime.accelerators import ACCELERATORS

from ..command_line import Command
from ..handmade import nearest_model, small_plan


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def plan(command: Command) -> Plan:
    """Of a network that repeats pixels x4: one convolution to 48 channels, whose shuffle the plan leaves out."""
    onnx.save(nearest_model(scale=4), "nearest.onnx")
    assert command("build", "nearest.onnx", "--input-range", "0,1", "--output-range", "0,1").status == 0
    return load_plan(Path("nearest.plan.onnx"))


def tables(text: str) -> dict[str, list[list[str]]]:
    """The tables of layers by the words before the colon, each as the fields of its lines."""
    return {
        part.split(":")[0]: [line.split() for line in part.splitlines()[2:]]
        for part in text.split("\n\n")
        if "floor of each layer" in part
    }


def test_it_says_that_it_is_a_bound(command: Command, plan: Plan) -> None:
    done = command("info", plan.path, "--roofline")
    assert done.status == 0
    assert "a bound from what the GPUs can do on paper, not a measurement" in done.out.splitlines()[0]
    headings = [part.splitlines()[0] for part in done.out.split("\n\n") if "seconds" in part.splitlines()[0]]
    assert len(headings) == 5
    assert all("bound" in heading for heading in headings)


def test_layers_before_and_after(command: Command, plan: Plan) -> None:
    found = tables(command("info", plan.path, "--roofline").out)
    assert list(found) == [
        f"{state} the rewrites, {precision}" for state in ("before", "after") for precision in ("fp16", "int8")
    ]
    kinds = {title: [line[1] for line in table[:-2]] for title, table in found.items()}
    assert kinds["before the rewrites, fp16"] == ["pack", "Conv", "DepthToSpace", "unpack"]
    assert kinds["after the rewrites, fp16"] == ["pack", "Conv", "unpack"]


def test_figures_by_hand(command: Command, plan: Plan) -> None:
    """A tile of 100 x 100: 3 x 48 x 9 multiply-accumulates a pixel, 3 channels in and 48 out in float16."""
    found = tables(command("info", plan.path, "--roofline", "--tile", "100").out)
    _, conv, _, all_, least = found["after the rewrites, fp16"]
    operations = 2 * 3 * 48 * 9 * 1e4
    weights = 3 * 48 * 9 * 2
    traffic = (3 + 48) * 2 * 1e4 + weights
    assert conv[:9] == ["1", "Conv", "48", "x", "3", "x", "3", "x", "3"]
    assert conv[9:11] == [f"{operations / 1e9:.3f}", f"{traffic / 1e6:.3f}"]
    assert all_[1:3] == [f"{operations / 1e9:.3f}", f"{(traffic + 9e4 + 144e4) / 1e6:.3f}"]
    for gpu, time, whole, shortest in zip(ACCELERATORS, conv[11:], all_[3:], least[1:], strict=True):
        seconds = max(operations / (gpu.fp16_tflops * 1e12), traffic / (gpu.bandwidth * 1e9))
        assert float(time) == pytest.approx(seconds * 1e6, abs=0.05)
        kernels = (9e4 + 144e4) / (gpu.bandwidth * 1e9)
        assert float(whole) == pytest.approx((seconds + kernels) * 1e6, abs=0.05)
        pictures = 51e4 / (gpu.bandwidth * 1e9)
        assert float(shortest) == pytest.approx(max(operations / (gpu.fp16_tflops * 1e12), pictures) * 1e6, abs=0.05)


def test_a_megapixel_is_so_many_tiles(command: Command, plan: Plan) -> None:
    lines = command("info", plan.path, "--roofline", "--tile", "500").out.split("in all, ")[1].splitlines()
    tile, megapixel = ([float(time) for time in lines[row].split()[-6:]] for row in (2, 3))
    assert megapixel == pytest.approx([4 * time for time in tile], abs=0.003)


def test_every_peak_has_its_source(command: Command, plan: Plan) -> None:
    peaks = command("info", plan.path, "--roofline").out.split("\n\n")[-1]
    assert "not with the documents themselves" in " ".join(peaks.split())
    for gpu in ACCELERATORS:
        assert " ".join(gpu.source.split()[:6]) in " ".join(peaks.split())


def test_a_plan_without_the_list_of_its_layers(command: Command, tmp_path: Path) -> None:
    done = command("info", small_plan(tmp_path).path, "--roofline")
    assert done.status == 0
    assert "before the rewrites: not known" in done.out
    assert list(tables(done.out)) == ["after the rewrites, fp16", "after the rewrites, int8"]


def test_a_plan_for_one_size(command: Command, tmp_path: Path) -> None:
    path = small_plan(tmp_path, fixed_shape=(24, 20)).path
    assert "One tile of 20 x 24 pixels" in command("info", path, "--roofline").out
    done = command("info", path, "--roofline", "--tile", "64")
    assert (done.status, len(done.err)) == (1, 1)
    assert "runs in tiles of 20 x 24 only: leave --tile out" in done.err[0]


def test_a_tile_is_rounded_up_to_what_the_network_takes(command: Command, plan: Plan) -> None:
    """The spec of a network that takes multiples of 8."""
    spec = dataclasses.replace(plan.spec, multiple=8)
    save_plan(onnx.load(str(plan.path)), spec, plan.path, report=plan.report)
    assert "One tile of 104 x 104 pixels" in command("info", plan.path, "--roofline", "--tile", "100").out


def test_only_plans_have_one(command: Command) -> None:
    onnx.save(nearest_model(), "nearest.onnx")
    done = command("info", "nearest.onnx", "--roofline")
    assert (done.status, done.out) == (1, "")
    assert done.err == [
        "srgan-trt: nearest.onnx is not a plan, and only a plan has a roofline: "
        "run 'srgan-trt build nearest.onnx' first"
    ]


def test_a_tile_without_a_roofline(command: Command, plan: Plan) -> None:
    done = command("info", plan.path, "--tile", "64")
    assert (done.status, done.out) == (2, "")
    assert "--roofline" in done.err[0]

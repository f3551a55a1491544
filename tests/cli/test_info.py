"""`srgan-trt info`, and what `build` prints."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from srgan_trt.cli.info import _with_sensitivities, describe_file
from srgan_trt.compiler.plan import load_plan
from srgan_trt.models import registry as registry
from srgan_trt.resolve import resolve
from srgan_trt.runtime.cpu import processor
from srgan_trt.runtime.cpu.processor import Cpu

from ..command_line import Command, rows
from ..handmade import small_plan
from ..shipped import ship, ship_int8


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_plan(command: Command, model: str) -> None:
    command("build", model)
    done = command("info", "nearest.plan.onnx")
    assert done.status == 0
    table = rows(done.out)
    spec = load_plan(Path("nearest.plan.onnx")).spec
    assert table["source"] == f"sha256 {spec.source_hash}"
    assert table["operators"] == "1 Conv"
    assert table["sees"].startswith("1 pixels around each pixel")
    assert table["runs in"].split()[0] in ("bf16", "fp32")
    assert "OpenVINO" in table["runs in"]
    layers = done.out.split("\n\n")[1].splitlines()
    assert layers[1].split() == ["1", "Conv", "12", "x", "3", "x", "3", "x", "3", "x1", "0.000"]


def test_a_plan_without_a_report(command: Command, tmp_path: Path) -> None:
    done = command("info", small_plan(tmp_path, fixed_shape=(24, 20)).path)
    assert done.status == 0
    assert rows(done.out)["tiles"] == "of 20 x 24 only, a halo of 3 pixels, 4 for exactness"
    assert rows(done.out)["work"] == "0.001 MMAC per input pixel"


def test_the_layers_add_up(command: Command, tmp_path: Path) -> None:
    """Of the small network: 600 + 1152 at scale 1, 432 at scale 2."""
    lines = command("info", small_plan(tmp_path).path).out.split("\n\n")[1].splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["0.001", "0.001", "0.002", "0.003"]
    assert [line.split()[-2] for line in lines[1:-1]] == ["x1", "x1", "x2"]


def test_an_onnx_file_that_is_no_plan(command: Command, model: str) -> None:
    table = rows(command("info", model).out)
    assert table["model"].startswith("nearest.onnx: ONNX, opset 18")
    assert table["inputs"] == "input (batch, 3, height, width)"
    assert table["operators"] == "1 Conv, 1 DepthToSpace"
    assert table["plan"] == "none yet: srgan-trt build nearest.onnx"


@pytest.mark.parametrize(
    ("name", "kind", "layers"),
    [
        ("fastsrgan_r2.h5", "Keras 2 .h5, written by Keras 2.2.4-tf", "2 TensorFlowOpLayer"),
        ("vee_x2.h5", "Keras 2 .h5, written by Keras 2.3", "Conv2D"),
        ("ned_x4.keras", "Keras 3 .keras, written by Keras 3.0.5", "2 PixelShuffle"),
        ("krasserm_srgan_x4_savedmodel", "a TensorFlow SavedModel", None),
    ],
)
def test_keras_files(command: Command, shared_models: Path, name: str, kind: str, layers: str | None) -> None:
    done = command("info", shared_models / name)
    assert done.status == 0
    table = rows(done.out)
    assert kind in table["model"]
    assert layers is None or layers in table["layers"]
    assert table["plan"].startswith("none yet: srgan-trt build")


def test_what_is_no_model(command: Command) -> None:
    Path("notes.txt").write_text("notes")
    for name, message in [("notes.txt", "is not a model"), (".", "without a saved_model.pb"), ("none", "there is no")]:
        done = command("info", name)
        assert (done.status, done.out, len(done.err)) == (1, "", 1)
        assert message in done.err[0]


def test_a_plan_that_was_changed(command: Command, tmp_path: Path) -> None:
    path = small_plan(tmp_path).path
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    done = command("info", path)
    assert done.status == 1
    assert "build" in done.err[0]


def test_columns_stay_apart_however_long_a_range_is_named(tmp_path: Path) -> None:
    layer = {"number": 0, "shape": "3 to 64, 9 x 9", "fidelity": 50.0, "won": 0.1, "int8": True}
    layers = [layer | {"range": "percentile 99.999 x 1.24"}, layer | {"range": "entropy"}]
    plan = dataclasses.replace(small_plan(tmp_path), report={"int8": {"layers": layers, "time": "modelled"}})
    head, long, short, _ = _with_sensitivities("text", plan).splitlines()[2:]
    assert long.endswith("percentile 99.999 x 1.24  int8")
    assert head.index("precision") == long.index("int8") == short.index("int8")


@pytest.mark.parametrize(
    ("kind", "precision", "why"),
    [
        (
            "AVX512-VNNI",
            "int8 and bf16",
            "int8 is at least 1.42 times as fast as the next best on CPUs with AVX512-VNNI",
        ),
        (None, "bf16", "int8 is left out: this CPU has, or tells of, none of AMX, "),
    ],
)
def test_what_a_model_with_two_plans_runs_in_is_told_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str | None, precision: str, why: str
) -> None:
    monkeypatch.setattr(registry, "SHIPPED", tmp_path)
    cpu = Cpu("a CPU", "2026.4.1", ("BF16", "FP32"), 2, kind)
    monkeypatch.setattr(processor, "find_cpu", lambda: cpu)
    plan = ship(tmp_path)
    int8_plan = ship_int8(plan)
    told = " ".join(describe_file(resolve(plan.path)).split())
    assert f"runs in {precision} on this CPU (a CPU), by OpenVINO 2026.4.1" in told
    assert f"int8 plan {int8_plan.path} (" in told
    assert why in told

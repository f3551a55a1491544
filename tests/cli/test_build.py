"""`srgan-trt build`: plans in every precision from models and plans, and engines."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt import Upscaler, load_plan
from srgan_trt.cli import build as commands
from srgan_trt.cli.main import main
from srgan_trt.cli.sample_image import photo
from srgan_trt.compiler.conversion import convert_plan
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.resolve import open_plan
from srgan_trt.runtime import devices
from srgan_trt.runtime.gpu.device import Gpu
from srgan_trt.runtime.tensorrt import from_plan
from srgan_trt.runtime.tensorrt.build import PORTABLE
from srgan_trt.runtime.tensorrt.file import read_header
from srgan_trt.runtime.tensorrt.library import Library

from ..compiler.graphs import save_sharpener
from ..handmade import differences, expected, small_plan, witnessed

needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason='pip install ".[tensorrt-rtx]"')


SMALL = ["--target", "tensorrt-rtx", "--tile", "32", "--batch", "1"]


def with_a_gpu(monkeypatch: pytest.MonkeyPatch, name: str = "NVIDIA L4", capability: tuple[int, int] = (8, 9)) -> None:
    """As if there were two of that kind, as far as nothing runs on them."""
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: [name, name])
    monkeypatch.setattr(devices, "gpu_packages", lambda: None)
    monkeypatch.setattr(from_plan, "find_gpu", lambda number: Gpu(number, name, capability, "13.0", 24 << 30, 58))


@pytest.fixture
def ready(quantised: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The int8 plan is there already: making it takes a minute. TensorRT-RTX stands in for TensorRT, which has int8."""

    def built(path: Path, target: Path, precision: str, *_: Any) -> Plan:
        assert precision == "int8"
        shutil.copyfile(quantised.path, target)
        return load_plan(target)

    monkeypatch.setattr(commands, "_built", built)
    monkeypatch.setattr(Library, "check_precision", lambda *_: None)


@pytest.fixture(scope="module")
def quantised() -> Plan:
    """A real network in int8: the package's, since making one takes a minute."""
    plan = open_plan("srresnet-photo-x4").int8
    assert plan is not None
    return plan


WAYS = {
    "plan": [],
    "int8": ["--precision", "int8"],
    "auto": ["--precision", "auto"],
    "engine": SMALL,
    "engine, auto": [*SMALL, "--precision", "auto"],
}


class TestNothingOfTheUsersIsReplaced:
    """Whatever is built, and by whatever name the file is named; and it is refused before any work."""

    @pytest.fixture(autouse=True)
    def _no_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def worked(*_: Any, **__: Any) -> None:
            raise AssertionError("refused too late")

        for name in ("_built", "_fastest", "_fastest_engine", "_plan_for"):
            monkeypatch.setattr(commands, name, worked)

    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("named", ["itself", "relative", "by a link", "by a hard link"])
    def test_the_model_that_it_is_built_from(
        self, way: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = tmp_path / "model.h5"
        model.write_bytes(b"\x89HDF\r\n\x1a\n and more")
        (tmp_path / "link.onnx").symlink_to(model)
        os.link(model, tmp_path / "hard.onnx")
        monkeypatch.chdir(tmp_path)
        names = {
            "itself": str(model), "relative": "./model.h5", "by a link": "link.onnx", "by a hard link": "hard.onnx",
        }  # fmt: skip
        before = model.read_bytes()
        assert main(["build", str(model), "-o", names[named], *WAYS[way]]) == 1
        assert "is the file that it is built from; name another file with -o" in capsys.readouterr().err
        assert model.read_bytes() == before

    @pytest.mark.parametrize("way", WAYS)
    def test_a_file_in_the_folder_that_it_is_built_from(
        self, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "saved"
        folder.mkdir()
        (folder / "saved_model.pb").write_bytes(b"model")
        for out in (folder / "saved_model.pb", folder / "new.onnx", folder):
            assert main(["build", str(folder), "-o", str(out), *WAYS[way]]) == 1
            assert "name another file with -o" in capsys.readouterr().err
        assert (folder / "saved_model.pb").read_bytes() == b"model"

    @pytest.mark.parametrize("way", WAYS)
    def test_another_file_that_is_no_plan_or_engine(
        self, way: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "model.h5").write_bytes(b"a model")
        (tmp_path / "photo.jpg").write_bytes(b"a photo")
        assert main(["build", str(tmp_path / "model.h5"), "-o", str(tmp_path / "photo.jpg"), *WAYS[way]]) == 1
        assert "which would be lost" in capsys.readouterr().err
        assert (tmp_path / "photo.jpg").read_bytes() == b"a photo"


class TestPlans:
    def test_a_plan_becomes_one_in_fp16(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan, out = small_plan(tmp_path), tmp_path / "half.onnx"
        assert main(["build", str(plan.path), "--precision", "fp16", "-o", str(out)]) == 0
        assert "fp16 in the plan" in capsys.readouterr().out
        half = load_plan(out)
        assert (half.spec.precision, half.spec.name) == ("fp16", plan.spec.name)
        assert out.stat().st_size < plan.path.stat().st_size
        with Upscaler(half, precision="fp32") as up:
            assert differences(up(photo(40, 50)), expected(plan, photo(40, 50))).max() <= 1

    def test_auto_keeps_what_is_fastest(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Whatever the clock says: here it says that the one plan is faster, and then the other."""
        plan, real = small_plan(tmp_path), commands._built

        def built(path: Path, target: Path, precision: str, *rest: Any) -> Any:
            # A network of three convolutions on noise does not pass the gate: fp16 stands for it.
            return real(path, target, "fp16" if precision == "int8" else precision, *rest)

        for fast in ("fp32", "int8"):
            out = tmp_path / f"{fast}.onnx"
            monkeypatch.setattr(commands, "_built", built)
            monkeypatch.setattr(
                commands, "_times", lambda files, fast=fast, **_: {name: (float(name != fast), "x") for name in files}
            )
            assert main(["build", str(plan.path), "--precision", "auto", "-o", str(out)]) == 0
            told = capsys.readouterr()
            assert f"{fast} is the fastest here" in told.err + told.out
            assert load_plan(out).spec.precision == {"fp32": "fp32", "int8": "fp16"}[fast]
            monkeypatch.undo()

    def test_a_cpu_that_gives_another_picture_is_said_and_left_out_of_auto(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The plan is another machine's to use: it is built all the same."""
        plan, real = small_plan(tmp_path), commands._built

        def built(path: Path, target: Path, precision: str, *rest: Any) -> Plan:
            if precision != "int8":
                return real(path, target, precision, *rest)
            return witnessed(plan, target, shift=20)  # whose arithmetic no CPU follows

        monkeypatch.setattr(commands, "_built", built)
        out = tmp_path / "int8.onnx"
        assert main(["build", str(plan.path), "--precision", "int8", "-o", str(out)]) == 0
        assert "not for this machine's CPU: " in capsys.readouterr().err
        assert out.exists()
        out = tmp_path / "auto.onnx"
        assert main(["build", str(plan.path), "--precision", "auto", "-o", str(out)]) == 0
        told = capsys.readouterr().err
        assert "int8 is left out: " in told
        assert "fp32 is the fastest here" in told
        assert load_plan(out).self_test is None

    def test_auto_needs_a_choice(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        half = convert_plan(small_plan(tmp_path), tmp_path / "half.onnx", precision="fp16")
        assert main(["build", str(half.path), "--precision", "auto", "-o", str(tmp_path / "new.onnx")]) == 1
        assert "in one precision already: precision auto needs the model" in capsys.readouterr().err

    def test_times_are_measured_in_turns(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        times = commands._times({"one": plan.path, "two": plan.path}, device="cpu")
        assert set(times) == {"one", "two"}
        assert all(milliseconds > 0 for milliseconds, _ in times.values())

    def test_a_plan_of_the_package_is_timed_without_its_twin(self) -> None:
        plan = open_plan("srresnet-photo-x4")
        assert plan.int8 is not None
        times = commands._times({"fp32": plan.path, "int8": plan.int8.path}, device="cpu")
        assert ["int8" in runs_in for _, runs_in in times.values()] == [False, True]

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ("--max-drop 0.2", "max_drop: of int8 only: add --precision int8"),
            ("--calibration . --precision fp16", "calibration: of int8 only"),
            ("--precision fp16 --input-range 0,1", "is a plan, built already: leave input_range out"),
            ("--precision int8 --calibration nowhere", "nowhere"),
        ],
    )
    def test_what_does_not_fit_together_is_said(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: str, said: str
    ) -> None:
        plan, out = small_plan(tmp_path), tmp_path / "new.onnx"
        assert main(["build", str(plan.path), "-o", str(out), *options.split()]) == 1
        assert said in capsys.readouterr().err
        assert not out.exists()

    def test_a_plan_is_known_by_its_content(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = small_plan(tmp_path)
        named = tmp_path / "fast.plan"
        assert main(["build", str(plan.path), "--precision", "fp16", "-o", str(named), "-q"]) == 0
        with Upscaler(named) as up:
            assert up.plan.path == named
        # And one that is there is built anew.
        assert main(["build", str(plan.path), "--precision", "fp16", "-o", str(named), "-q"]) == 0

    def test_a_plan_is_converted_once(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        half = small_plan(tmp_path, precision="fp16")
        assert main(["build", str(half.path), "--precision", "int8", "-o", str(tmp_path / "new.onnx")]) == 1
        assert "only one in fp32 can be converted" in capsys.readouterr().err

    def test_the_plan_is_not_overwritten(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = small_plan(tmp_path)
        before = plan.path.read_bytes()
        assert main(["build", str(plan.path), "--precision", "fp16", "-o", str(plan.path)]) == 1
        assert "is the file that it is built from" in capsys.readouterr().err
        assert plan.path.read_bytes() == before


class TestEngines:
    @needs_rtx
    def test_an_engine_tells_what_was_built(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan, out = small_plan(tmp_path), tmp_path / "small.engine"
        options = "--target tensorrt-rtx --tile 64 --batch 2 --compute-capability 8.9"
        assert main(["build", str(plan.path), "-o", str(out), *options.split()]) == 0
        told = capsys.readouterr().out
        assert "convolutions as built: 3 in fp16" in told
        assert "at most 64 x 64 pixels, at most 2 at once" in told
        assert "GPUs of compute capability 8.9" in told
        assert main(["info", str(out)]) == 0
        assert capsys.readouterr().out == told

    @needs_rtx
    @pytest.mark.usefixtures("ready")
    @pytest.mark.parametrize(
        ("fast", "said", "device"),
        [("fp16", ["--precision", "auto"], "cuda:0"), ("int8", [], "cuda:0"), ("fp16", ["--gpu-id", "1"], "cuda:1")],
    )
    def test_on_the_gpu_s_own_machine_the_fastest_is_kept(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        fast: str,
        said: list[str],
        device: str,
    ) -> None:
        """As far as no GPU is needed: both engines are really built; the clock says what it is told to."""
        asked: list[str] = []

        def times(files: Any, *, device: str) -> Any:
            asked.append(device)
            return {name: (float(name != fast), "x") for name in files}

        out = tmp_path / "fast.engine"
        with_a_gpu(monkeypatch)
        monkeypatch.setattr(commands, "_times", times)
        assert main(["build", "srresnet-photo-x4", *SMALL, *said, "-o", str(out)]) == 0
        told = capsys.readouterr()
        assert f"{fast} is the fastest here" in told.err + told.out
        assert read_header(out).settings.precision == fast
        assert asked == [device]

    @needs_rtx
    def test_for_other_gpus_than_the_one_that_is_here_it_is_built_as_without(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plan, out = small_plan(tmp_path), tmp_path / "small.engine"
        with_a_gpu(monkeypatch, "NVIDIA H100", (9, 0))
        assert main(["build", str(plan.path), *SMALL, "-o", str(out)]) == 0
        header = read_header(out)
        assert (header.settings.precision, header.compute_capabilities) == ("fp16", PORTABLE)
        assert main(["build", str(plan.path), *SMALL, "--precision", "auto"]) == 1
        assert "the NVIDIA H100 here has 9.0, not 8.0, 8.6, 8.9 or 12.0: use --precision" in capsys.readouterr().err

    @needs_rtx
    def test_a_named_compute_capability_that_is_here_is_timed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Answered before anything is built: the plan has one precision. TensorRT-RTX, which has no int8, stands in for
        TensorRT here."""
        monkeypatch.setattr(Library, "check_precision", lambda *_: None)
        monkeypatch.setattr(devices, "int8_blocker", lambda target: None)
        half = convert_plan(small_plan(tmp_path), tmp_path / "half.onnx", precision="fp16")
        with_a_gpu(monkeypatch)
        for capability, said in (("8.9", "in one precision already"), ("8.6", "the NVIDIA L4 here has 8.9, not 8.6:")):
            options = [*SMALL, "--precision", "auto", "--compute-capability", capability]
            assert main(["build", str(half.path), *options]) == 1
            assert said in capsys.readouterr().err

    @needs_rtx
    @pytest.mark.usefixtures("ready")
    def test_int8_that_tensorrt_does_not_build_is_left_out(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        real, out = devices.build_engine_file, tmp_path / "fast.engine"

        def build_engine_file(*arguments: Any, precision: str, **options: Any) -> None:
            if precision == "int8":
                raise DeviceError("TensorRT-RTX has no int8 for this GPU")
            real(*arguments, precision=precision, **options)

        with_a_gpu(monkeypatch)
        monkeypatch.setattr(devices, "build_engine_file", build_engine_file)
        monkeypatch.setattr(commands, "_times", lambda files, device: dict.fromkeys(files, (1.0, "x")))
        assert main(["build", "srresnet-photo-x4", *SMALL, "-o", str(out)]) == 0
        assert "int8 is left out: TensorRT-RTX has no int8 for this GPU" in capsys.readouterr().err
        assert read_header(out).settings.precision == "fp16"

    @needs_rtx
    def test_int8_is_not_for_tensorrt_rtx(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Which is said before any plan is made in it."""
        out = tmp_path / "small.engine"
        with_a_gpu(monkeypatch)
        plan = str(small_plan(tmp_path).path)
        assert main(["build", plan, *SMALL, "--precision", "int8", "-o", str(out)]) == 1
        assert "int8 convolutions write float32" in capsys.readouterr().err
        assert main(["build", plan, *SMALL, "--precision", "auto", "-o", str(out)]) == 0
        assert "int8 is left out: TensorRT-RTX" in capsys.readouterr().err
        assert read_header(out).settings.precision == "fp16"

    @needs_rtx
    @pytest.mark.usefixtures("ready")
    def test_what_was_there_stays_until_the_new_one_is_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, replace = tmp_path / "fast.engine", os.replace
        out.write_bytes(b"srgan-trt engine, an old one")

        def full(source: Any, target: Any) -> None:
            if Path(target) == out:
                raise OSError(28, "No space left on device")
            replace(source, target)

        with_a_gpu(monkeypatch)
        monkeypatch.setattr(os, "replace", full)
        monkeypatch.setattr(commands, "_times", lambda files, device: dict.fromkeys(files, (1.0, "x")))
        assert main(["build", "srresnet-photo-x4", *SMALL, "-o", str(out)]) == 1
        assert "fast.engine: No space left on device" in capsys.readouterr().err
        assert out.read_bytes() == b"srgan-trt engine, an old one"
        assert [path.name for path in tmp_path.iterdir()] == ["fast.engine"]

    def test_auto_without_the_gpu_says_what_to_do(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        options = "--target tensorrt-rtx --precision auto"
        assert main(["build", str(small_plan(tmp_path).path), *options.split()]) == 1
        assert "none is here: use --precision fp16 or int8" in capsys.readouterr().err

    @needs_rtx
    def test_it_goes_beside_the_plan(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        path = plan.path.rename(tmp_path / "mine.plan.onnx")
        assert main(["build", str(path), "--target", "tensorrt-rtx", "--compute-capability", "8.6", "-q"]) == 0
        assert (tmp_path / "mine.engine").is_file()

    @needs_rtx
    def test_an_engine_is_run_only_if_it_is_trusted_and_only_on_a_gpu(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from PIL import Image

        plan, engine, picture = small_plan(tmp_path), tmp_path / "small.engine", tmp_path / "picture.png"
        options = "--target tensorrt-rtx --compute-capability 8.9 -q"
        assert main(["build", str(plan.path), "-o", str(engine), *options.split()]) == 0
        Image.fromarray(photo(20, 30)).save(picture)
        capsys.readouterr()
        assert main(["upscale", str(picture), "--model", str(engine)]) == 1
        assert "use --trust-model" in capsys.readouterr().err
        assert main(["upscale", str(picture), "--model", str(engine), "--trust-model", "--device", "cpu"]) == 1
        assert "is an engine for NVIDIA GPUs" in capsys.readouterr().err
        assert main(["upscale", str(picture), "--model", str(engine), "--trust-model", "--input-range", "0,1"]) == 1
        assert "is an engine, built already: leave input_range out" in capsys.readouterr().err

    def test_what_is_asked_for_is_what_is_built(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Zeros too: the first GPU, or no loss at all, is not the same as no wish."""
        asked: dict[str, Any] = {}
        monkeypatch.setattr(
            "srgan_trt.cli.build._build_engine",
            lambda args, console, settings, quantising, **options: asked.update(options, quantising=quantising),
        )
        options = "--target tensorrt --gpu-id 0 --batch 2 --max-drop 0 --precision int8"
        assert main(["build", str(small_plan(tmp_path).path), *options.split()]) == 0
        assert asked == {"target": "tensorrt", "gpu_id": 0, "batch": 2, "quantising": {"max_drop": 0}}

    @needs_rtx
    def test_for_a_gpu_of_this_machine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plan, out = small_plan(tmp_path), tmp_path / "small.engine"
        with_a_gpu(monkeypatch)
        options = [*SMALL, "--precision", "fp16", "--gpu-id", "1", "-o", str(out)]
        assert main(["build", str(plan.path), *options]) == 0
        assert read_header(out).compute_capabilities == ((8, 9),)
        assert main(["build", str(plan.path), *options, "--compute-capability", "8.6"]) == 1
        assert "GPU 1 (NVIDIA L4) has compute capability 8.9: leave --gpu-id or" in capsys.readouterr().err

    @needs_rtx
    def test_for_a_gpu_of_this_machine_there_must_be_one(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        options = [*SMALL, "--precision", "fp16", "--gpu-id", "0"]
        assert main(["build", str(small_plan(tmp_path).path), *options]) == 1
        assert "there is no" in capsys.readouterr().err

    def test_options_of_engines_need_a_target(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plan = small_plan(tmp_path)
        assert main(["build", str(plan.path), "--tile", "64", "--batch", "3"]) == 2
        assert "--tile, --batch: of engines only: add --target" in capsys.readouterr().err


def test_a_picture_of_the_int8_plan_is_that_of_fp32(quantised: Plan) -> None:
    """The gate's promise, on a picture that neither calibration nor gate has seen."""
    assert quantised.report["int8"]["gate"]["fidelity"] >= 45
    image = np.asarray(photo(96, 96))[::-1].copy()
    with Upscaler("srresnet-photo-x4", precision="fp32") as wide, Upscaler(quantised, precision="fp32") as narrow:
        apart = differences(narrow(image), wide(image)).astype(np.float64)
        assert narrow.info["precision"] == "int8 and fp32"
    with Upscaler(quantised, precision="int8") as asked:
        assert str(asked.info["precision"]).startswith("int8 and ")
    assert 10 * np.log10(255**2 / np.mean(apart**2)) > 42


def test_a_model_file_becomes_a_plan_in_int8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = save_sharpener(tmp_path / "sharper.onnx"), tmp_path / "int8.plan.onnx"
    ranges = ["--input-range", "0,1", "--output-range", "0,1"]
    assert main(["build", str(file), "--precision", "int8", *ranges, "-o", str(out)]) == 0
    assert "int8" in capsys.readouterr().out
    with Upscaler(out) as up:
        assert up.plan.spec.precision == "int8"
        assert str(up.info["precision"]).startswith("int8")

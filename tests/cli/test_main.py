"""build, info, doctor, usage errors, and how the command ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from PIL import Image

from srgan_trt import __version__
from srgan_trt.cli.main import COMMANDS
from srgan_trt.cli.upscale import FORMATS
from srgan_trt.compiler.plan import load_plan
from srgan_trt.imaging import encode

from ..command_line import Command
from ..handmade import nearest_model, small_plan


@pytest.fixture
def command(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capfdbinary, monkeypatch)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model() -> str:
    onnx.save(nearest_model(), "nearest.onnx")
    return "nearest.onnx"


def rows(text: str) -> dict[str, str]:
    """A printed table by its labels; rows without one belong to the label above."""
    found: dict[str, str] = {}
    label = ""
    for line in text.split("\n\n")[0].splitlines():
        label = line[:12].strip() or label
        found[label] = f"{found[label]}\n{line[12:]}" if label in found else line[12:]
    return found


class TestUsage:
    @pytest.mark.parametrize("device", ["auto", "cuda:1", "cpu"])
    @pytest.mark.parametrize("command_line", [["upscale", "a.png"], ["tune"], ["evaluate", "--hr", "."]])
    def test_a_device_is_named_in_one_way(self, command: Command, command_line: list[str], device: str) -> None:
        """Whichever came last used to win, and nobody was told."""
        for options in (["--gpu-id", "0", "--device", device], ["--device", device, "--gpu-id", "0"]):
            done = command(*command_line, *options)
            assert done.status == 2
            assert "not allowed with argument" in done.err[-1]

    @pytest.mark.parametrize("numbers", ["", "x", "-1", "0,", "1.5"])
    def test_gpus_have_numbers(self, command: Command, numbers: str) -> None:
        done = command("upscale", "a.png", f"--gpu-id={numbers}")
        assert done.status == 2
        assert "argument --gpu-id: " in done.err[-1]

    @pytest.mark.parametrize("size", ["0", "-1", "x", "inf"])
    def test_memory_is_a_number_of_gigabytes(self, command: Command, size: str) -> None:
        done = command("upscale", "a.png", f"--max-vram={size}")
        assert done.status == 2
        assert "is not a number of gigabytes" in done.err[-1]

    def test_a_picture_alone_is_upscaled(self, command: Command, tmp_path: Path) -> None:
        plan = small_plan(tmp_path)
        for name in ("photo.png", "photo"):
            Image.new("RGB", (8, 6)).save(name, "PNG")
        for name in ("photo.png", "./ph*.png", "photo"):
            done = command(name, "--model", str(plan.path), "-o", "big.png", "--overwrite")
            assert done.status == 0
            with Image.open("big.png") as big:
                assert big.size == (32, 24)
        # What cannot be one is a command that there is not.
        assert "invalid choice: 'upscal'" in command("upscal", "photo.png").err[-1]

    def test_verbose_tells_where_an_error_came_from(self, model: str) -> None:
        Path("model.h5").write_bytes(b"no model")
        program = [sys.executable, "-m", "srgan_trt", "build", "model.h5"]
        quiet, verbose = (
            subprocess.run([*program, *options], capture_output=True, text=True, check=False)
            for options in ([], ["-v"])
        )
        assert quiet.returncode == verbose.returncode == 1
        assert quiet.stderr.count("\n") == 1
        lines = verbose.stderr.splitlines()
        assert "Traceback (most recent call last):" in lines
        assert lines[-1] == quiet.stderr.strip()

    def test_the_version(self, command: Command) -> None:
        assert command("--version").out == f"srgan-trt {__version__}\n"

    @pytest.mark.parametrize(
        "arguments", [[], ["build"], ["upscale"], ["frobnicate"], ["upscale", "a.png", "--jbos", "2"]]
    )
    def test_wrong_usage_is_status_2_and_said(self, command: Command, arguments: list[str]) -> None:
        done = command(*arguments)
        assert done.status == 2
        assert "error: " in done.err[-1]

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("--tile=0", "less than 1"),
            ("--tile=wide", "not a whole number"),
            ("--halo=-1", "less than 0"),
            ("--jobs=0", "less than 1"),
            ("--format=gif", "invalid choice"),
            ("--input-range=1", "two numbers like -1,1"),
            ("--input-range=1,-1", "the smaller number first"),
            ("--output-range=0,inf", "the smaller number first"),
        ],
    )
    def test_values_that_cannot_be(self, command: Command, option: str, message: str) -> None:
        done = command("upscale", "photo.png", option)
        assert done.status == 2
        assert message in done.err[-1]

    def test_every_command_has_help(self, command: Command) -> None:
        for name in COMMANDS:
            done = command(name, "--help")
            assert done.status == 0
            assert done.out.startswith(f"usage: srgan-trt {name}")

    def test_only_the_command_that_is_called_is_loaded(self) -> None:
        program = (
            "import sys; from srgan_trt.cli.main import main\n"
            "try: main(['--help'])\nexcept SystemExit: print(*(name for name in sys.modules if 'srgan_trt' in name))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        loaded = set(done.stdout.splitlines()[-1].split())
        assert loaded.isdisjoint(f"srgan_trt.cli.{name}" for name in COMMANDS)

    def test_the_formats_are_those_that_can_be_written(self) -> None:
        assert encode.FORMATS == FORMATS

    @pytest.mark.parametrize("name", ["upscale", "info", "train", "evaluate", "models", "doctor"])
    def test_help_loads_nothing_heavy(self, name: str) -> None:
        program = (
            f"import sys; from srgan_trt.cli.main import main\n"
            f"try: main(['{name}', '-h'])\nexcept SystemExit: print(*sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert {"numpy", "openvino", "onnx", "PIL"}.isdisjoint(done.stdout.split())

    def test_it_runs_as_a_module_too(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "srgan_trt", "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout == f"srgan-trt {__version__}\n"


class TestBuild:
    def test_it_tells_what_it_found_and_proved(self, command: Command, model: str) -> None:
        done = command("build", model)
        assert (done.status, done.err) == (0, [])
        table = rows(done.out)
        assert table["model"] == "nearest.onnx: ONNX"
        assert table["scale"] == "x2"
        assert table["input"].startswith("0..255, found (")
        assert "dB consistent, the runner-up" in table["input"]
        assert "as good: 0..1 to 0..1" in table["output"]
        assert (
            "last shuffle into the unpack kernel: 1 done, moved the output by 0.0e+00 of its range" in table["rewrites"]
        )
        assert "enlargements into sub-pixel convolutions: nothing to do" in table["rewrites"]
        assert table["work"] == "0.000 -> 0.000 MMAC per input pixel"
        assert table["difference"].startswith("at most 0.0e+00 of the range, proven")
        assert table["layout"] == "3 channels 0..255 in, 12 channels 0..255 out, shuffled by 2 on the way out"
        assert table["plan"].startswith("nearest.plan.onnx (0.0 MB), built in ")
        assert load_plan(Path("nearest.plan.onnx")).spec.scale == 2

    def test_options_reach_the_compiler(self, command: Command, model: str) -> None:
        done = command("build", model, "-o", "new/half.onnx", "--precision", "fp16", "--input-range", "0,1", "--quiet")
        assert (done.status, done.out) == (0, "")
        spec = load_plan(Path("new/half.onnx")).spec
        assert (spec.precision, spec.input_range, spec.output_range) == ("fp16", (0.0, 1.0), (0.0, 1.0))

    @pytest.mark.parametrize(
        "ranges", [["--input-range=-1,1", "--output-range=-1,1"], "--input-range -1,1 --output-range -1,1".split()]
    )
    def test_ranges_may_begin_with_a_minus(self, command: Command, model: str, ranges: list[str]) -> None:
        done = command("build", model, *ranges)
        assert done.status == 0
        assert rows(done.out)["input"].startswith("-1..1, given")
        assert load_plan(Path("nearest.plan.onnx")).spec.input_range == (-1.0, 1.0)

    def test_a_network_of_scale_1_is_a_restorer(self, command: Command) -> None:
        onnx.save(nearest_model(scale=1), "same.onnx")
        assert rows(command("build", "same.onnx").out)["scale"] == "x1: a restorer, it keeps the size"

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("none.h5", None, "there is no model none.h5"),
            ("empty.h5", b"", "empty.h5 is empty (0 bytes)"),
            ("text.h5", b"no model", "text.h5 is not a Keras file"),
            ("text.onnx", b"no model at all", "text.onnx"),
        ],
    )
    def test_what_is_no_model(self, command: Command, name: str, content: bytes | None, message: str) -> None:
        if content is not None:
            Path(name).write_bytes(content)
        done = command("build", name)
        assert done.status == 1
        assert len(done.err) == 1
        assert done.err[0].startswith("srgan-trt: ")
        assert message in done.err[0]

    def test_a_plan_that_cannot_be_written(self, command: Command, model: str) -> None:
        Path("file").touch()
        for output, reason in [("file/plan.onnx", f"{Path('file').absolute()} is no folder"), (".", "it is a folder")]:
            done = command("build", model, "-o", output)
            assert (done.status, len(done.err)) == (1, 1)
            assert done.err[0].startswith(f"srgan-trt: cannot write the plan {output}: {reason}; name")

    def test_a_plan_is_built_already(self, command: Command, model: str) -> None:
        command("build", model)
        done = command("build", "nearest.plan.onnx", "-o", "again.onnx")
        assert done.err == [
            "srgan-trt: nearest.plan.onnx is a plan, built already: name the model file that it was built from"
        ]


class TestInfo:
    def test_a_plan(self, command: Command, model: str) -> None:
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

    def test_a_plan_without_a_report(self, command: Command, tmp_path: Path) -> None:
        done = command("info", small_plan(tmp_path, fixed_shape=(24, 20)).path)
        assert done.status == 0
        assert rows(done.out)["tiles"] == "of 20 x 24 only, a halo of 3 pixels, 4 for exactness"
        assert rows(done.out)["work"] == "0.001 MMAC per input pixel"

    def test_the_layers_add_up(self, command: Command, tmp_path: Path) -> None:
        """Of the small network: 600 + 1152 at scale 1, 432 at scale 2."""
        lines = command("info", small_plan(tmp_path).path).out.split("\n\n")[1].splitlines()
        assert [line.split()[-1] for line in lines[1:]] == ["0.001", "0.001", "0.002", "0.003"]
        assert [line.split()[-2] for line in lines[1:-1]] == ["x1", "x1", "x2"]

    def test_an_onnx_file_that_is_no_plan(self, command: Command, model: str) -> None:
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
    def test_keras_files(self, command: Command, shared_models: Path, name: str, kind: str, layers: str | None) -> None:
        done = command("info", shared_models / name)
        assert done.status == 0
        table = rows(done.out)
        assert kind in table["model"]
        assert layers is None or layers in table["layers"]
        assert table["plan"].startswith("none yet: srgan-trt build")

    def test_what_is_no_model(self, command: Command) -> None:
        Path("notes.txt").write_text("notes")
        for name, message in [("notes.txt", "is no model"), (".", "without a saved_model.pb"), ("none", "there is no")]:
            done = command("info", name)
            assert (done.status, done.out, len(done.err)) == (1, "", 1)
            assert message in done.err[0]

    def test_a_plan_that_was_changed(self, command: Command, tmp_path: Path) -> None:
        path = small_plan(tmp_path).path
        data = bytearray(path.read_bytes())
        data[300] ^= 1
        path.write_bytes(data)
        done = command("info", path)
        assert done.status == 1
        assert "build" in done.err[0]

    def test_whoever_stops_reading_is_no_trouble(self, tmp_path: Path) -> None:
        plan = small_plan(tmp_path).path
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 1); from srgan_trt.cli.main import main;"
            f"sys.exit(main(['info', {str(plan)!r}]))"
        )
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", program, str(writer)], pass_fds=[writer], capture_output=True, text=True, check=False
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, "")

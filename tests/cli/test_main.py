"""Usage, help, and how the command ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from srgan_trt import __version__
from srgan_trt.cli.main import COMMANDS
from srgan_trt.cli.upscale import FORMATS
from srgan_trt.imaging import encode

from ..command_line import Command
from ..handmade import small_plan


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
        (line,) = done.err
        assert line.startswith("srgan-trt")
        assert "error: " in line
        assert "--help' shows what there is" in line

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

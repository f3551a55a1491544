"""The driver's version, read from what Linux and NVML say."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from srgan_trt.runtime.tensorrt import driver
from srgan_trt.runtime.tensorrt.driver import driver_version

CLOSED = """\
NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""
OPEN = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22-I3)
GCC version:  gcc version 13.3.0 (Ubuntu 13.3.0-6ubuntu2~24.04)
"""


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(driver, "_MODULE", tmp_path / "version")
    monkeypatch.setattr(ctypes, "CDLL", without)
    driver_version.cache_clear()
    yield
    driver_version.cache_clear()


def without(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


class Nvml:
    def __init__(self, *, starts: bool = True, tells: bool = True) -> None:
        self._starts, self._tells = starts, tells
        self.running = 0

    def nvmlInit_v2(self) -> int:
        self.running += self._starts
        return 0 if self._starts else 9

    def nvmlSystemGetDriverVersion(self, buffer: Any, length: int) -> int:
        assert len(buffer) == length
        buffer.value = b"576.02"
        return 0 if self._tells else 3

    def nvmlShutdown(self) -> int:
        self.running -= 1
        return 0


@pytest.mark.parametrize(("text", "version"), [(CLOSED, "535.104.05"), (OPEN, "580.65.06")])
def test_linux_tells_it(tmp_path: Path, text: str, version: str) -> None:
    (tmp_path / "version").write_text(text)
    assert driver_version() == version


@pytest.mark.parametrize("text", [None, "", "something else"])
@pytest.mark.parametrize(
    ("nvml", "version"), [(Nvml(), "576.02"), (Nvml(starts=False), ""), (Nvml(tells=False), ""), (None, "")]
)
def test_else_nvml_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, nvml: Nvml | None, version: str
) -> None:
    if text is not None:
        (tmp_path / "version").write_text(text)
    if nvml is not None:
        monkeypatch.setattr(driver, "ctypes", SimpleNamespace(
            CDLL=lambda name: nvml, create_string_buffer=ctypes.create_string_buffer
        ))  # fmt: skip
    assert driver_version() == version
    assert nvml is None or nvml.running == 0

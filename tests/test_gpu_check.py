"""scripts/gpu_check.py: what it measures, on the stand-in driver, and how its report reads."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from srgan_trt.runtime import devices
from srgan_trt.runtime.devices import gpu_packages, nvidia_gpus

from .cuda_driver import build, standin
from .cuda_host import build as host
from .handmade import HALO, small_plan

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "scripts"
needs_stand_in = pytest.mark.skipif(
    bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}"
)


def script(name: str = "gpu_check") -> ModuleType:
    """A module of scripts/, which sees the others as it does when it is started."""
    if str(SCRIPTS) not in sys.path:
        sys.path.append(str(SCRIPTS))
    return importlib.import_module(name)


def reports() -> ModuleType:
    return script("gpu_report")


def measured(plan: Path) -> dict[str, Any]:
    import srgan_trt.runtime.tensorrt.cache as engine_cache

    from .tensorrt_double.engine import SourceDouble

    engine_cache.EngineCache = lambda plan, **_: SourceDouble(plan.path)  # type: ignore[assignment,misc]
    pictures = script("gpu_pictures")
    pictures.SECONDS = 0.01
    return {
        "gpus": script().gpus_here(),
        "models": [pictures.measure(str(plan), precision, sizes=((40, 30),)) for precision in ("fp16", "fp32")],
        "kernels": script("gpu_rates").kernel_rates(pack_side=64, unpack_side=32, repeats=2),
    }


def report_of(**found: Any) -> dict[str, Any]:
    empty = {"gpus": [], "sections": [], "tests": {}, "models": [], "kernels": [], "bare": {}, "problems": []}
    return {"machine": script().machine(), **empty, **found}


def counts(**found: Any) -> dict[str, Any]:
    return {"passed": 3, "failed": [], "skipped": {}, "exit_status": 0, **found}


@needs_stand_in
def test_a_report_of_an_imaginary_gpu(tmp_path: Path) -> None:
    outcome = standin.run(measured, small_plan(tmp_path, default_halo=HALO).path, kernels=host.library(), timeout=120)
    report = report_of(**outcome.value, tests={"tests/a.py": counts(skipped={"no CuPy": 1})})
    assert not outcome.leaks["allocations"]
    assert [gpu["name"] for gpu in report["gpus"]] == ["Imaginary GPU"]
    assert [entry["name"] for entry in report["kernels"]] == ["copy on the GPU", "pack", "unpack"]
    assert reports().problems(report) == []
    for entry in report["models"]:
        assert entry["psnr_db"] is None or entry["psnr_db"] > 50
        assert entry["times"][0]["gpu_ms"] > 0
    text = reports().markdown(report)
    assert "- Imaginary GPU, compute capability 8.9" in text
    assert "tests/a.py: 3 passed, 0 failed, 1 skipped" in text
    assert "1 skipped: no CuPy" in text
    assert "| 40 x 30 |" in text


def test_what_is_wrong_is_a_problem() -> None:
    models = [
        {"model": "m", "precision": "fp16", "psnr_db": 31.0},
        {"model": "m", "precision": "int8", "psnr_db": 41.0},
        {"model": "n", "precision": "int8", "refused": "it loses too much"},
    ]
    report = report_of(tests={"t": counts(failed=["a::b"], exit_status=1)}, models=models)
    assert reports().problems(report) == ["test failed: a::b", "m in fp16 is 31.0 dB from the CPU's picture"]
    assert reports().problems(report_of()) == []


def test_tests_that_did_not_run_are_a_problem() -> None:
    """Skipped one and all, died half-way, or broke before the first."""
    assert reports().problems(report_of(tests={"t": counts(passed=0, skipped={"no GPU": 9})})) == [
        "t: not one test passed"
    ]
    assert reports().problems(report_of(tests={"t": counts(passed=0, exit_status=-11)})) == [
        "t: not one test passed",
        "t: pytest ended by SIGSEGV",
    ]
    assert reports().problems(report_of(tests={"t": counts(exit_status=3)})) == ["t: pytest ended with status 3"]


def test_a_model_that_int8_is_not_for_is_told() -> None:
    refused = {"model": "n", "precision": "int8", "refused": "it loses too much"}
    assert "- no int8 for n: it loses too much" in reports().markdown(report_of(models=[refused]))


# ---- the whole check, whose sections are processes


def check_with(
    monkeypatch: pytest.MonkeyPatch, out: Path, programs: dict[tuple[str, ...], str], **limits: float
) -> tuple[int, dict[str, Any], str]:
    """main's exit status, report.json and report.md; sections are `programs`, which find their answer's path in
    sys.argv[1]."""
    check = script()

    def command(section: list[str], *, quick: bool, answer: Path) -> list[str]:
        assert (out / "report.md").is_file()
        return [sys.executable, "-c", programs[tuple(section)], str(answer)]

    monkeypatch.setattr(devices, "nvidia_gpus", lambda: ["Imaginary GPU"])
    monkeypatch.setattr(devices, "gpu_packages", lambda: None)
    monkeypatch.setattr(check, "sections", lambda quick: [list(each) for each in programs])
    monkeypatch.setattr(check, "_command", command)
    monkeypatch.setattr(check, "_LIMITS", {**check._LIMITS, **limits})
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--out", str(out)])
    monkeypatch.setenv("SRGAN_TRT_CACHE", os.environ["SRGAN_TRT_CACHE"])  # put back afterwards
    try:
        check.main()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    return status, json.loads((out / "report.json").read_text()), (out / "report.md").read_text()


def answers(value: Any) -> str:
    return f"import json, pathlib, sys; pathlib.Path(sys.argv[1]).write_text(json.dumps({value!r}))"


RATES = [{"name": "copy on the GPU", "gigabytes_per_second": 7.0, "share_of_copy": 1.0}]


def test_all_well_is_status_0(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs = {("tests", "t"): answers(counts()), ("kernels",): answers(RATES)}
    status, report, text = check_with(monkeypatch, tmp_path / "out", programs)
    assert (status, report["problems"]) == (0, [])
    assert [entry["outcome"] for entry in report["sections"]] == ["ok", "ok"]
    assert "## Problems\n\n- none" in text
    assert "| copy on the GPU | 7.0 | 100% |" in text


def gone(pid: int) -> bool:
    """Whether a process ends within seconds."""
    state = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_section_that_raises_crashes_or_hangs_costs_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "child"
    hang = (
        "import pathlib, subprocess, sys, time; print('copying', flush=True);"
        f"started = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"pathlib.Path({str(child)!r}).write_text(str(started.pid)); time.sleep(60)"
    )
    programs = {
        ("gpus",): "raise RuntimeError('a sticky error')",
        ("tests", "t"): "import os; print('in test seven', flush=True); os.abort()",
        ("model", "m", "fp16"): hang,
        ("model", "m", "fp32"): "print('nothing to say')",
        ("kernels",): answers(RATES),
    }
    begin = time.monotonic()
    status, report, text = check_with(monkeypatch, tmp_path / "out", programs, model=5)
    assert status == 1
    assert time.monotonic() - begin < 40
    assert [entry["outcome"] for entry in report["sections"]][:3] == [
        "ended with status 1",
        "ended by SIGABRT",
        "did not end within 5 s",
    ]
    assert report["sections"][3]["outcome"].startswith("gave no answer")
    assert report["sections"][4]["outcome"] == "ok"
    assert report["kernels"] == RATES
    assert "- gpus: ended with status 1: RuntimeError: a sticky error" in text
    assert "tests t: ended by SIGABRT: in test seven" in text
    assert "copying" in (tmp_path / "out" / "log.txt").read_text()
    assert "- Imaginary GPU\n" in text
    assert gone(int(child.read_text())), "what the section had started still runs"


def test_a_check_that_is_broken_off_leaves_what_it_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check = script()
    real = check.run_section

    def run_section(section: list[str], **options: Any) -> Any:
        if section == ["kernels"]:
            raise KeyboardInterrupt
        return real(section, **options)

    monkeypatch.setattr(check, "run_section", run_section)
    monkeypatch.setattr(check, "_command", lambda section, quick, answer: [sys.executable, "-c", answers([]), answer])
    monkeypatch.setenv("SRGAN_TRT_CACHE", os.environ["SRGAN_TRT_CACHE"])
    with pytest.raises(KeyboardInterrupt):
        check.check_all(["Imaginary GPU"], [["gpus"], ["kernels"]], check._LIMITS, out=tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["problems"] == ["kernels: not run"]


@needs_stand_in
def test_sections_run_as_the_check_starts_them(tmp_path: Path) -> None:
    """But for the models, for which TensorRT needs more than the stand-in is, and the kernels, which take minutes."""
    check, environment = script(), standin.environment(kernels=host.library())
    path = "tests/csrc/test_cuda_kernels.py::test_ties_round_to_even"
    found = {}
    for section in (["gpus"], ["tests", path]):
        answer = tmp_path / "answer.json"
        command = check._command(section, quick=False, answer=answer)
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
        found[section[0]] = json.loads(answer.read_text())
    assert [gpu["name"] for gpu in found["gpus"]] == ["Imaginary GPU"]
    assert found["tests"] == {"passed": 1, "failed": [], "skipped": {}, "exit_status": 0}


def test_a_pytest_that_dies_leaves_its_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check = script()
    monkeypatch.setattr(check, "ROOT", tmp_path)
    (tmp_path / "test_dies.py").write_text("import os\n\n\ndef test_one():\n    os.abort()\n")
    assert check.run_tests("test_dies.py") == {"passed": 0, "failed": [], "skipped": {}, "exit_status": -6}


def test_jax_leaves_memory_to_the_other_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It takes three quarters of the GPU when it is first used, and gives none back."""
    check = script()
    monkeypatch.setattr(check, "ROOT", tmp_path)
    (tmp_path / "test_settings.py").write_text(
        "import os\n\n\ndef test_one():\n"
        "    assert os.environ['XLA_PYTHON_CLIENT_PREALLOCATE'] == 'false'\n"
        "    assert os.environ['SRGAN_TRT_ON_GPU'] == '1'\n"
    )
    assert check.run_tests("test_settings.py") == counts(passed=1)


def test_every_model_in_every_precision() -> None:
    check = script()
    pairs = {tuple(section[1:]) for section in check.sections(quick=True) if section[0] == "model"}
    assert pairs == {("srgan-fast-x4", precision) for precision in ("fp16", "int8", "fp32")}
    todo = check.sections(quick=False)
    assert len(todo) > len(check.sections(quick=True))
    assert {section[0] for section in todo} == set(check._LIMITS)
    for kind, path in (section for section in todo if section[0] == "tests"):
        assert (ROOT / path).is_file(), kind


def test_pytest_s_file_is_counted() -> None:
    xml = """<testsuites><testsuite>
    <testcase classname="a" name="one"/>
    <testcase classname="a" name="two"><failure message="assert 1 == 2&#10;where"/></testcase>
    <testcase classname="b" name="three"><error/></testcase>
    <testcase classname="b" name="four"><skipped message="no CuPy"/></testcase>
    <testcase classname="b" name="five"><skipped message="no CuPy"/></testcase>
    <testcase classname="" name="c"><skipped message="collection skipped">no g++</skipped></testcase>
    </testsuite></testsuites>"""
    assert script().test_counts(xml) == {
        "passed": 1,
        "failed": ["a::two: assert 1 == 2", "b::three"],
        "skipped": {"no CuPy": 2, "no g++": 1},
    }


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    check = script()
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: None)
    monkeypatch.setattr("sys.argv", ["gpu_check.py"])
    with pytest.raises(SystemExit, match="no NVIDIA GPU that the driver lists"):
        check.main()


def test_git_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert script().machine()["commit"] == "no commit"


@pytest.mark.skipif(os.environ.get("SRGAN_TRT_ON_GPU") == "1", reason="these tests are to see the GPU")
def test_ordinary_tests_see_no_gpu() -> None:
    """`make test` installs what a GPU needs, and is to test the CPU on a machine that has one, too."""
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
    assert not nvidia_gpus()

"""scripts/gpu_check.py --bare: what it brings along, in which order it works, and what its figures mean."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.runtime import devices

from .cuda_driver import standin
from .cuda_host import build as host
from .handmade import HALO, small_plan
from .test_gpu_check import ROOT, SCRIPTS, answers, counts, needs_stand_in, report_of, reports, script

ABSENT = ("openvino", "imagecodecs", "tensorrt", "tensorrt_rtx")
"""What a bare machine has not, and no wheel brings."""


# ---- pictures on the stand-in, where a double runs networks in PyTorch's place


def on_a_bare_machine(path: Path) -> dict[str, Any]:
    for name in ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]
    from srgan_trt.runtime.tensorrt import pytorch

    from .runtime.gpu.array_producers import ByInterface, Producer, context
    from .tensorrt_double import SourceDouble

    pytorch.TorchSource = lambda plan: SourceDouble(plan.path)  # type: ignore[assignment,misc]
    pictures, options = script("gpu_pictures"), {"model": path, "seconds": 0.01}
    context()
    producer = Producer()
    options["to_gpu"] = lambda image: ByInterface(producer, image)
    found = {
        "agreement": [pictures.agreement("torch", each, model=path, large=(90, 70)) for each in ("fp16", "fp32")],
        "times": pictures.times("torch", "fp16", sizes=((60, 40),), **options),
        "timeline": pictures.timeline("torch", "fp16", size=(300, 200), trace=traced, **options),
    }
    producer.close()
    return found


def traced(work: Callable[[], Any]) -> list[dict[str, Any]]:
    """What the stand-in did, as a Chrome trace."""
    standin.trace(forget=True)
    work()
    kinds = {"kernel": "kernel", "host": "kernel", "copy": "gpu_memcpy", "fill": "gpu_memset"}
    return [
        {
            "cat": kinds[line["kind"]], "ts": line["begin"] / 1e3, "dur": (line["end"] - line["begin"]) / 1e3,
            "name": line.get("kernel") or line.get("direction") or "network",
        }
        for line in standin.trace()
        if line["kind"] in kinds
    ]  # fmt: skip


@needs_stand_in
def test_pictures_without_openvino_and_tensorrt(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, default_halo=HALO)
    found = standin.run(on_a_bare_machine, plan.path, kernels=host.library(), timeout=120).value
    for answer, least in zip(found["agreement"], (50, 60), strict=True):
        assert all(each["psnr_db"] is None or each["psnr_db"] > least for each in answer["pictures"])
        assert answer["same_by_threads"]
        assert answer["in_little_memory"]["levels"] <= 1
    (row,) = found["times"]["times"]
    assert min(row[name] for name in ("host_ms", "gpu_ms", "together_ms")) > 0
    there, here, several = (found["timeline"]["ways"][index] for index in (0, 1, 2))
    assert there["up_ms"] > 0 < there["down_ms"]
    assert here["network_ms"] > 0 < here["pixels_ms"]
    assert several["way"] == "host to host, 2 threads"
    bare = {f"agreement {each['precision']}": each for each in found["agreement"]}
    report = report_of(bare=bare | {"times fp16": found["times"], "timeline fp16": found["timeline"]})
    assert reports().problems(report) == []
    text = reports().markdown(report)
    assert "- 1 x 1: " in text
    assert "| 60 x 40 | " in text
    assert "| on the GPU | " in text


# ---- what the figures mean


def test_times_of_host_network_and_copies_are_told_apart() -> None:
    """The network of the second batch runs while the first comes down; 1 ms at the end nothing runs but a copy."""
    events = [
        {"cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "ts": 0, "dur": 1000},
        {"cat": "kernel", "name": "pack_u8_f16", "ts": 1000, "dur": 500},
        {"cat": "kernel", "name": "sm90_xmma_fprop", "ts": 1500, "dur": 2000},
        {"cat": "kernel", "name": "elementwise", "ts": 3000, "dur": 1000},
        {"cat": "kernel", "name": "unpack_f16_u8", "ts": 4500, "dur": 500},
        {"cat": "gpu_memcpy", "name": "Memcpy DtoH (Device -> Pinned)", "ts": 3500, "dur": 2500},
        {"cat": "gpu_memset", "name": "Memset (Device)", "ts": 100, "dur": 100},
        {"cat": "cpu_op", "name": "aten::conv2d", "ts": 0, "dur": 99999},
        {"ph": "M", "name": "process_name"},
    ]
    pictures = script("gpu_pictures")
    assert pictures.time_spent(pictures.spans(events), 2) == {
        "network_ms": 1.25, "pixels_ms": 0.5, "up_ms": 0.5, "down_ms": 1.25, "other_ms": 0.05, "span_ms": 3.0,
        "idle_ms": 0.0, "copies_overlapped": round(1.0 / 3.5, 3),
    }  # fmt: skip


def test_a_profiler_that_saw_nothing_is_an_error() -> None:
    pictures = script("gpu_pictures")
    with pytest.raises(ValueError, match="saw no work on the GPU"):
        pictures.time_spent(pictures.spans([]), 1)


def test_what_is_wrong_on_a_bare_machine_is_a_problem() -> None:
    good, off = {"psnr_db": 66.0, "levels": 1}, {"psnr_db": 31.0, "levels": 9}
    agreed = {"precision": "fp32", "pictures": [good, off], "same_by_threads": False, "in_little_memory": good}
    sanitized = {"summary": "RACECHECK SUMMARY: 3 hazards displayed", "errors": 3, "exit_status": 0}
    bare = {
        "build": {"extension": False},
        "arrays": {"cupy": "the same picture", "jax": "not installed", "torch": "ValueError: no"},
        "agreement fp32": agreed,
        "sanitizer racecheck": sanitized,
        "sanitizer memcheck": {"missing": "there is none", "errors": None},
    }
    assert reports().problems(report_of(bare=bare)) == [
        "build: the C++ extension was not built: NumPy does its work",
        "arrays: torch: ValueError: no",
        "agreement fp32: a picture is 31.0, 9 from what it should be",
        "agreement fp32: threads get other pictures than one at a time",
        "sanitizer racecheck: RACECHECK SUMMARY: 3 hazards displayed",
    ]


# ---- compute-sanitizer


def sanitizer_that_says(folder: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    program = folder / "compute-sanitizer"
    program.write_text('#!/bin/sh\necho "$@" >&2\n' + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_what_a_sanitizer_says_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = "RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)"
    sanitizer_that_says(tmp_path, monkeypatch, "===== 41 passed in 9.3s =====", f"========= {summary}")
    expected = {"summary": summary, "errors": 2, "tests": "41 passed in 9.3s", "exit_status": 0}
    assert script("gpu_bare").sanitizer("racecheck") == expected


def test_a_sanitizer_without_a_summary_has_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sanitizer_that_says(tmp_path, monkeypatch, "========= Error: Device not supported")
    found = script("gpu_bare").sanitizer("memcheck")
    assert found["errors"] is None
    assert reports().problems(report_of(bare={"sanitizer memcheck": found}))


def test_a_machine_without_a_sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert "no compute-sanitizer" in script("gpu_bare").sanitizer("memcheck")["missing"]


def test_the_tests_that_a_sanitizer_sees_are_there() -> None:
    text = (ROOT / script("gpu_bare").KERNEL_TESTS).read_text("utf-8")
    for name in script("gpu_bare")._SANITIZED.split(" or "):
        assert name in text


# ---- wheels


def test_more_than_can_be_carried_is_refused() -> None:
    bare = script("gpu_bare")
    assert bare.carried(20 << 20, 14 << 20) == "20.0 MiB of checkout and 14.0 MiB of wheels"
    with pytest.raises(SystemExit, match="are more than the 64 MiB that can be carried"):
        bare.carried(50 << 20, 15 << 20)


def test_every_wheel_is_pinned() -> None:
    pins = (ROOT / "constraints.txt").read_text("utf-8")
    for name in script("gpu_bare")._WHEELS:
        assert f"\n{name}==" in pins


def test_no_wheels_are_said_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make them where there is a network, by --fetch-wheels"):
        script("gpu_bare").install(tmp_path, tmp_path / "site")


def test_wheels_come_before_what_the_machine_has(tmp_path: Path) -> None:
    """Without a network; in a process of its own, since the path changes."""
    wheel = tmp_path / "msgspec-99.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        made.writestr("msgspec/__init__.py", "version = 99\n")
        made.writestr("msgspec-99.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: msgspec\nVersion: 99.0\n")
        made.writestr("msgspec-99.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        made.writestr("msgspec-99.0.dist-info/RECORD", "")
    program = (
        "import pathlib, subprocess, sys, gpu_bare\n"
        f"gpu_bare.install(pathlib.Path({str(tmp_path)!r}), pathlib.Path({str(tmp_path / 'site')!r}))\n"
        "import msgspec; assert msgspec.version == 99\n"
        "subprocess.run([sys.executable, '-c', 'import msgspec, srgan_trt; print(msgspec.version)'], check=True)"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPTS)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, "99"), done.stderr


# ---- the whole of it


def test_every_section_is_known_and_limited() -> None:
    bare = script("gpu_bare")
    assert {section[0] for section in bare.sections()} == set(bare.LIMITS)
    assert bare.SECONDS <= 7 * 60 - 15, "a call of seven minutes ends in time"


def test_sections_that_no_time_is_left_for_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the one that was at work is ended."""
    check, bare = script(), script("gpu_bare")
    programs = {
        "build": answers({"extension": True, "seconds": 0.1}),
        "tests": answers(counts()),
        "arrays": "import time; time.sleep(60)",
        "kernels": "raise AssertionError",
    }

    def command(section: list[str], *, quick: bool, answer: Path) -> list[str]:
        return [sys.executable, "-c", programs[section[0]], str(answer)]

    monkeypatch.setattr(bare, "install", lambda wheels, site: None)
    monkeypatch.setattr(bare, "sections", lambda: [["build"], ["tests", "t"], ["arrays"], ["kernels"]])
    monkeypatch.setattr(bare, "SECONDS", 8.0)
    monkeypatch.setattr(check, "_command", command)
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: ["Imaginary GPU"])
    monkeypatch.setattr("sys.argv", ["gpu_check.py", "--bare", "wheels", "--out", str(tmp_path)])
    monkeypatch.setenv("SRGAN_TRT_CACHE", os.environ["SRGAN_TRT_CACHE"])
    with pytest.raises(SystemExit):
        check.main()
    report = json.loads((tmp_path / "report.json").read_text("utf-8"))
    ended = [entry["outcome"] for entry in report["sections"]]
    assert ended[:2] == ["ok", "ok"]
    assert ended[2].startswith("did not end within")
    assert ended[3] == "not run: no time was left"
    assert report["bare"] == {"build": {"extension": True, "seconds": 0.1}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.txt", "report.json", "report.md"]


def test_an_extension_that_is_there_is_not_built_again() -> None:
    pytest.importorskip("srgan_trt._pixels")
    assert script("gpu_bare").build()["extension"]


def test_arrays_of_libraries_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that fails costs no other."""
    pictures = script("gpu_pictures")

    class Up:
        def __init__(self, *_: Any, **__: Any) -> None: ...
        def __enter__(self) -> Any:
            return lambda image: np.asarray(image)

        def __exit__(self, *_: Any) -> None: ...

    class Broken:
        @staticmethod
        def device_put(image: Any) -> Any:
            raise RuntimeError("no GPU")

    monkeypatch.setattr(pictures, "Upscaler", Up)
    for name, module in (("cupy", None), ("torch", None), ("jax", Broken)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    assert pictures.arrays("torch") == {
        "cupy": "not installed", "torch": "not installed", "jax": "RuntimeError: no GPU"
    }  # fmt: skip

#!/usr/bin/env python3
"""Everything that only a machine with an NVIDIA GPU can tell: tests without stand-ins, agreement with the CPU, times.

Usage: python scripts/gpu_check.py [--out gpu-report] [--quick]
       python scripts/gpu_check.py --fetch-wheels build/gpu-wheels [--python 3.12]
       python scripts/gpu_check.py --bare build/gpu-wheels [--out gpu-report]

Writes report.md, report.json and what each section printed (log.txt) into --out; exit status 1 if anything is not as it
should be, or there is no GPU. Every section is a process of its own with a time limit, and the report is written again
after each: a driver that hangs or crashes costs one section. Run it by `make gpu-check`, which installs what it needs.
Please send the report with an issue: nothing of the GPU path was measured on a GPU by its makers yet.

--bare is for machines with CUDA 13, PyTorch and pytest, and neither TensorRT nor OpenVINO nor a network: it installs
wheels that --fetch-wheels brought from elsewhere, runs networks by PyTorch, and ends within seven minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import gpu_bare
from gpu_report import ended, markdown, write

ROOT = Path(__file__).resolve().parents[1]
_TESTS = ("tests/gpu/test_on_a_gpu.py", "tests/csrc/test_cuda_kernels.py")
_LIMITS = {"gpus": 300.0, "tests": 3600.0, "model": 3600.0, "kernels": 600.0}
"""Seconds that a section of each kind may take; int8 is measured layer by layer before it is built."""
_SIZES = ((64, 64), (480, 320), (1920, 1080))
_BARE_SIZES = ((480, 320), (1920, 1080), (3840, 2160))
_PACKAGES = """srgan-trt tensorrt tensorrt-rtx torch jax cuda-core cuda-bindings nvidia-cuda-nvrtc cupy-cuda13x openvino
onnxruntime numpy pytest""".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-report"))
    parser.add_argument("--quick", action="store_true", help="two sizes and the default model only")
    bare = parser.add_mutually_exclusive_group()
    bare.add_argument("--bare", type=Path, metavar="WHEELS", help="what is possible on a machine without TensorRT")
    bare.add_argument("--fetch-wheels", type=Path, metavar="WHEELS", help="download what --bare installs, and no more")
    parser.add_argument("--python", default="3.12", metavar="X.Y", help="that the wheels are for (default: 3.12)")
    parser.add_argument("--section", nargs="+", help=argparse.SUPPRESS)  # what this script starts itself with
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        options.answer.write_text(json.dumps(work(options.section, quick=options.quick)), "utf-8")
    elif options.fetch_wheels:
        print(gpu_bare.fetch_wheels(options.fetch_wheels, python=options.python))
    elif options.bare:
        deadline = time.monotonic() + gpu_bare.SECONDS
        with tempfile.TemporaryDirectory(prefix="srgan-trt-site-") as site:
            gpu_bare.install(options.bare, Path(site))
            limits = gpu_bare.LIMITS
            report = check_all(gpus_listed(), gpu_bare.sections(), limits, out=options.out, deadline=deadline)
        finish(report)
    else:
        from srgan_trt.runtime.devices import gpu_packages

        names = gpus_listed()
        if mend := gpu_packages():
            sys.exit(f"TensorRT and cuda-core are needed: {mend}; without TensorRT, --bare checks the rest")
        finish(check_all(names, sections(quick=options.quick), _LIMITS, quick=options.quick, out=options.out))


def gpus_listed() -> list[str]:
    """Names of the GPUs. Exits if there is none."""
    from srgan_trt.runtime.devices import nvidia_gpus

    return nvidia_gpus() or sys.exit("no NVIDIA GPU that the driver lists: this check is for machines that have one")


def finish(report: dict[str, Any]) -> None:
    """Prints the report; exits with status 1 if it has problems."""
    print(markdown(report))
    if report["problems"]:
        sys.exit(1)


def sections(*, quick: bool) -> list[list[str]]:
    """What is done without --bare, in this order; each is the words after --section."""
    from srgan_trt.models.registry import packaged_models

    models = ["srgan-fast-x4"] if quick else [name for name, model in packaged_models().items() if model.find()]
    pairs = [["model", model, precision] for model in models for precision in ("fp16", "int8", "fp32")]
    return [["gpus"], *(["tests", path] for path in _TESTS), ["kernels"], *pairs]


def work(section: list[str], *, quick: bool) -> Any:
    """Does one section, in the process that is for it."""
    kind, *details = section
    if kind == "kernels":
        from gpu_rates import kernel_rates

        return kernel_rates()
    if kind in (
        own := {"gpus": gpus_here, "tests": run_tests, "build": gpu_bare.build, "sanitizer": gpu_bare.sanitizer}
    ):
        return own[kind](*details)
    import gpu_pictures

    if kind == "model":
        return gpu_pictures.measure(*details, sizes=_SIZES[:2] if quick else _SIZES)
    if kind == "times":
        return gpu_pictures.times("torch", *details, sizes=_BARE_SIZES)
    measures = {"agreement": gpu_pictures.agreement, "arrays": gpu_pictures.arrays, "timeline": gpu_pictures.timeline}
    return measures[kind]("torch", *details)


def check_all(
    names: list[str],
    todo: list[list[str]],
    limits: dict[str, float],
    *,
    out: Path,
    quick: bool = False,
    deadline: float = float("inf"),
) -> dict[str, Any]:
    """The whole report. It is in `out` after each section, as far as it got. limits: seconds for each kind of section;
    deadline: of time.monotonic, after which none goes on."""
    report: dict[str, Any] = {
        "machine": machine(),
        "gpus": [{"name": name} for name in names],  # until there is more
        "sections": [{"name": " ".join(section), "outcome": "not run"} for section in todo],
    }
    report |= {"tests": {}, "models": [], "kernels": [], "bare": {}}
    out.mkdir(parents=True, exist_ok=True)
    (log := out / "log.txt").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="srgan-trt-gpu-") as cache:
        os.environ["SRGAN_TRT_CACHE"] = cache
        write(report, out)
        for section, entry in zip(todo, report["sections"], strict=True):
            limit = min(limits[section[0]], deadline - time.monotonic())
            if limit <= 0:
                entry["outcome"] = "not run: no time was left"
                continue
            found, answer = run_section(section, quick=quick, log=log, limit=limit)
            entry |= found
            print(f"{entry['name']}: {found['outcome']} ({found['seconds']} s)", file=sys.stderr, flush=True)
            if found["outcome"] == "ok":
                _enter(report, section, answer)
            write(report, out)
        write(report, out)
    return report


def _enter(report: dict[str, Any], section: list[str], answer: Any) -> None:
    kind = section[0]
    if kind == "tests":
        report["tests"][section[1]] = answer
    elif kind == "model":
        report["models"].append(answer)
    elif kind in ("gpus", "kernels"):
        report[kind] = answer
    else:
        report["bare"][" ".join(section)] = answer


def run_section(section: list[str], *, quick: bool, log: Path, limit: float) -> tuple[dict[str, Any], Any]:
    """Runs a section in its process, for at most `limit` seconds: how that ended ("outcome", "seconds", "last_lines"),
    and its answer or None. What it prints is added to `log`."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, log.open("ab") as said:
        path, answer = Path(folder) / "answer.json", None
        said.write(f"\n==== {' '.join(section)}\n".encode())
        said.flush()
        start = said.tell()
        # A group of its own, so that pytest and what it started end with it.
        process = subprocess.Popen(
            _command(section, quick=quick, answer=path),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(limit)
            outcome = "ok" if status == 0 else ended(status)
            if status == 0:
                answer = json.loads(path.read_text("utf-8"))
        except subprocess.TimeoutExpired:
            outcome = f"did not end within {limit:.0f} s"
        except (OSError, ValueError) as error:
            outcome = f"gave no answer: {error}"
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):  # inside a driver's call nothing can end it
                    process.wait(10)
    printed = log.read_bytes()[start:].decode("utf-8", "replace")
    lines = [line.rstrip()[:300] for line in printed.splitlines() if line.strip()]
    return {"outcome": outcome, "seconds": round(time.monotonic() - begin, 1), "last_lines": lines[-15:]}, answer


def _command(section: list[str], *, quick: bool, answer: Path) -> list[str]:
    command = [sys.executable, str(Path(__file__).resolve()), f"--answer={answer}"]
    return [*command, *(["--quick"] if quick else []), "--section", *section]


def machine() -> dict[str, Any]:
    """Facts for the head of the report, without the GPUs."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    commit, command = "", ["git", "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):  # no git
        commit = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "commit": commit or "no commit",
        "packages": versions,
    }


def gpus_here() -> list[dict[str, Any]]:
    """The GPUs as CUDA tells them."""
    from srgan_trt.runtime.gpu.device import gpus

    return [
        {"name": gpu.name, "compute_capability": "{}.{}".format(*gpu.compute_capability), "driver": gpu.driver,
         "memory_gb": round(gpu.memory / 1e9, 1), "multiprocessors": gpu.multiprocessors}
        for gpu in gpus() or []
    ]  # fmt: skip


def run_tests(path: str) -> dict[str, Any]:
    """Tests that a GPU's machine code and TensorRT's results are for."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", path, f"--junitxml={found}", "-v", "-v"]
        # JAX would take three quarters of the GPU when it is first used, and keep them.
        settings = {"SRGAN_TRT_ON_GPU": "1", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=False)
        try:
            counts = test_counts(found.read_text("utf-8"))
        except (OSError, ElementTree.ParseError):  # it writes the file when all is over, and died before that
            counts = {"passed": 0, "failed": [], "skipped": {}}
    return {**counts, "exit_status": done.returncode}


def test_counts(xml: str) -> dict[str, Any]:
    """From pytest's JUnit file: how many passed, which failed and why, how many were skipped for which reason."""
    cases = list(ElementTree.fromstring(xml).iter("testcase"))
    failed, skipped = [], Counter[str]()
    for case in cases:
        bad = next((each for each in case if each.tag in ("failure", "error")), None)
        if bad is not None:
            why = (bad.get("message") or "").splitlines()[:1]
            failed.append(": ".join([f"{case.get('classname')}::{case.get('name')}", *why])[:300])
        elif (skip := case.find("skipped")) is not None:
            reason = skip.get("message") or "no reason"
            skipped[(skip.text or reason) if reason == "collection skipped" else reason] += 1
    return {"passed": len(cases) - len(failed) - skipped.total(), "failed": failed, "skipped": dict(skipped)}


if __name__ == "__main__":
    main()

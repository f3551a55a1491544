#!/usr/bin/env python3
"""Everything that only a machine with an NVIDIA GPU can tell: tests without stand-ins, agreement with the CPU, times.

Usage: python scripts/gpu_check.py [--out gpu-report] [--quick]

Writes report.md and report.json into --out, and what each section printed beside them; exit status 1 if anything is
not as it should be, or there is no GPU. Every section is a process of its own with a time limit, and the report is
written again after each: a driver that hangs or crashes costs one section. Run it by `make gpu-check`, which installs
what it needs. Please send the report with an issue: nothing of the GPU path was measured on a GPU by its makers yet.
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
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srgan_trt import Upscaler
from srgan_trt.cli.sample_image import photo
from srgan_trt.errors import ModelError
from srgan_trt.models.registry import packaged_models
from srgan_trt.resolve import open_plan
from srgan_trt.runtime.devices import gpu_packages, nvidia_gpus

ROOT = Path(__file__).resolve().parents[1]
_TESTS = ("tests/gpu/test_on_a_gpu.py", "tests/csrc/test_cuda_kernels.py")
_LIMITS = {"gpus": 300.0, "tests": 3600.0, "model": 1800.0, "kernels": 600.0}
"""Seconds that a section of each kind may take; int8 is measured layer by layer before it is built."""
_SIZES = ((64, 64), (480, 320), (1920, 1080))
_SECONDS = 4.0
_LEAST_DB = {"fp32": 60.0, "fp16": 50.0, "int8": 40.0}
"""From the CPU's fp32 picture. A level here and there is 60 dB and more."""
_PACKAGES = "srgan-trt tensorrt tensorrt-rtx cuda-core cuda-bindings cupy-cuda13x openvino numpy pytest".split()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-report"))
    parser.add_argument("--quick", action="store_true", help="two sizes and the default model only")
    parser.add_argument("--section", nargs="+", help=argparse.SUPPRESS)  # what this script starts itself with
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.section:
        options.answer.write_text(json.dumps(work(options.section, quick=options.quick)), "utf-8")
        return
    if not (names := nvidia_gpus()):
        sys.exit("no NVIDIA GPU that the driver lists: this check is for machines that have one")
    if mend := gpu_packages():
        sys.exit(f"TensorRT and cuda-core are needed: {mend}")
    report = check_all(names, sections(quick=options.quick), quick=options.quick, out=options.out)
    print(markdown(report))
    if report["problems"]:
        sys.exit(1)


def sections(*, quick: bool) -> list[list[str]]:
    """What is done, in this order; each is the words after --section."""
    models = ["srgan-fast-x4"] if quick else [name for name, model in packaged_models().items() if model.find()]
    pairs = [["model", model, precision] for model in models for precision in ("fp16", "int8", "fp32")]
    return [["gpus"], *(["tests", path] for path in _TESTS), ["kernels"], *pairs]


def work(section: list[str], *, quick: bool) -> Any:
    """Does one section, in the process that is for it."""
    kind, *details = section
    if kind == "model":
        return measure(*details, sizes=_SIZES[:2] if quick else _SIZES)
    return {"gpus": gpus_here, "tests": run_tests, "kernels": kernel_rates}[kind](*details)


def check_all(names: list[str], todo: list[list[str]], *, quick: bool, out: Path) -> dict[str, Any]:
    """The whole report. It is in `out` after each section, as far as it got."""
    report: dict[str, Any] = {
        "machine": machine(),
        "gpus": [{"name": name} for name in names],  # until there is more
        "sections": [{"name": " ".join(section), "outcome": "not run"} for section in todo],
    }
    report |= {"tests": {}, "models": [], "kernels": []}
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="srgan-trt-gpu-") as cache:
        os.environ["SRGAN_TRT_CACHE"] = cache
        write(report, out)
        for section, entry in zip(todo, report["sections"], strict=True):
            log = out / f"{'-'.join(section).replace('/', '-')}.log"
            found, answer = run_section(section, quick=quick, log=log)
            entry |= found
            print(f"{entry['name']}: {found['outcome']} ({found['seconds']} s)", file=sys.stderr, flush=True)
            if found["outcome"] == "ok":
                _enter(report, section, answer)
            write(report, out)
    return report


def _enter(report: dict[str, Any], section: list[str], answer: Any) -> None:
    kind = section[0]
    if kind == "tests":
        report["tests"][section[1]] = answer
    elif kind == "model":
        report["models"].append(answer)
    else:
        report[kind] = answer


def run_section(section: list[str], *, quick: bool, log: Path) -> tuple[dict[str, Any], Any]:
    """Runs a section in its process: how that ended ("outcome", "seconds", "last_lines"), and its answer or None."""
    begin, limit = time.monotonic(), _LIMITS[section[0]]
    with tempfile.TemporaryDirectory() as folder, log.open("wb") as said:
        path, answer = Path(folder) / "answer.json", None
        # A group of its own, so that pytest and what it started end with it.
        process = subprocess.Popen(
            _command(section, quick=quick, answer=path),
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(limit)
            outcome = "ok" if status == 0 else _ended(status)
            if status == 0:
                answer = json.loads(path.read_text("utf-8"))
        except subprocess.TimeoutExpired:
            outcome = f"did not end within {limit:g} s"
        except (OSError, ValueError) as error:
            outcome = f"gave no answer: {error}"
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(subprocess.TimeoutExpired):  # inside a driver's call nothing can end it
                    process.wait(10)
    lines = [line.rstrip()[:300] for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    return {"outcome": outcome, "seconds": round(time.monotonic() - begin, 1), "last_lines": lines[-15:]}, answer


def _command(section: list[str], *, quick: bool, answer: Path) -> list[str]:
    command = [sys.executable, str(Path(__file__).resolve()), f"--answer={answer}"]
    return [*command, *(["--quick"] if quick else []), "--section", *section]


def _ended(status: int) -> str:
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


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
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "SRGAN_TRT_ON_GPU": "1"}, check=False)
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


def measure(model: str, precision: str, *, sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """One model on the GPU: how long it takes to open (its engine is built then), how far its picture is from the
    CPU's in fp32, and milliseconds for each size, pixels of the host in, pixels of the host out, beside the CPU's."""
    found: dict[str, Any] = {"model": model, "precision": precision}
    with tempfile.TemporaryDirectory() as folder:
        plan: str | Path = model
        if precision == "int8":
            from srgan_trt.compiler.conversion import convert_plan

            try:
                plan = convert_plan(open_plan(model), Path(folder) / "int8.onnx", precision="int8").path
            except ModelError as error:  # that int8 costs this model too much was found on the CPU: nothing failed
                return {**found, "refused": str(error)}
        return {**found, **_compared(plan, model, precision, sizes)}


def _compared(plan: str | Path, model: str, precision: str, sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    image, begin = photo(320, 480), time.perf_counter()
    with Upscaler(plan, device="cuda", precision=precision) as there:
        large = there(image)
        found: dict[str, Any] = {"first_seconds": round(time.perf_counter() - begin, 2), "times": []}
        found |= {"engine": there.info["engine"], "notes": there.info["notes"]}
        with Upscaler(model, device="cpu", precision="fp32") as here:
            apart = large.astype(np.float64) - here(image)
        error = float(np.mean(apart**2))
        found["psnr_db"] = None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
        found["levels"] = int(np.abs(apart).max())
        with Upscaler(model, device="cpu") as here:
            for width, height in sizes:
                picture = photo(height, width)
                gpu_ms, cpu_ms = _median_ms(lambda: there(picture)), _median_ms(lambda: here(picture))  # noqa: B023
                found["times"].append({"width": width, "height": height, "gpu_ms": gpu_ms, "cpu_ms": cpu_ms})
                found["times"][-1]["cpu_precision"] = here.info["precision"]
    return found


def kernel_rates(side: int = 2048, *, repeats: int = 50) -> list[dict[str, Any]]:
    """Gigabytes a second of pack and unpack in fp16 on a picture of side x side in tiles of 256, and their share of
    what a copy on the GPU reaches in the same run."""
    from srgan_trt.imaging.tiles import plan_tiles
    from srgan_trt.runtime.gpu.device import bindings, checked, core, current, find_gpu
    from srgan_trt.runtime.gpu.kernels import BandKernels, PixelKernels
    from srgan_trt.runtime.gpu.tiling import job_table

    spec = open_plan("srgan-fast-x4").spec
    tiles = plan_tiles(side, side, tile=(256, 256), halo=0)
    tile = (tiles.tile_height, tiles.tile_width)
    count, element = len(tiles.tiles), np.dtype(np.float16)
    picture, canvas = side * side * 3, side * side * 3 * spec.scale**2
    driver, gpu = bindings(), find_gpu(0)
    with current(gpu.number):
        kernels, stream = PixelKernels(gpu), core().Device(gpu.number).create_stream()
        jobs = job_table(tiles.tiles, rows=count, scale=spec.scale, top=0, keep_top=0)
        sizes = [picture, canvas, 2 * picture, 2 * canvas, jobs.nbytes, 4 * count]
        memory = [int(checked(driver.cuMemAlloc(size))) for size in sizes]
        image, out, packed, result, table, counts = memory
        checked(driver.cuMemcpyHtoD(table, jobs.ctypes.data, jobs.nbytes))
        checked(driver.cuMemsetD8(image, 100, picture))
        checked(driver.cuMemsetD8(result, 0, 2 * canvas))
        band = BandKernels(
            kernels, spec, dtype=np.dtype(np.uint8), element=element, tile=tile, jobs=jobs, batch=count,
            source=(image, (side, side, 3)), canvas=(out, (side * spec.scale, side * spec.scale, 3)),
            table=table, not_finite=counts,
        )  # fmt: skip
        works: list[tuple[str, int, Callable[[], Any]]] = [
            ("copy on the GPU", 2 * canvas, lambda: checked(driver.cuMemcpyAsync(out, result, canvas, stream.handle))),
            ("pack", 3 * picture, lambda: band.pack(stream, 0, packed)),
            ("unpack", 3 * canvas, lambda: band.unpack(stream, 0, result)),
        ]
        found = []
        for name, moved, work in works:
            rate = moved / _seconds_each(work, stream, repeats=repeats) / 1e9
            found.append({"name": name, "gigabytes_per_second": round(rate, 1)})
        for address in memory:
            checked(driver.cuMemFree(address))
        kernels.close()
        stream.close()
    for entry in found:
        entry["share_of_copy"] = round(entry["gigabytes_per_second"] / found[0]["gigabytes_per_second"], 3)
    return found


def problems(report: dict[str, Any]) -> list[str]:
    """What is not as it should be, in words."""
    found = []
    for entry in report["sections"]:
        if entry["outcome"] != "ok":
            found.append(": ".join([entry["name"], entry["outcome"], *entry.get("last_lines", [])[-1:]]))
    for path, tests in report["tests"].items():
        status, failed = tests["exit_status"], tests["failed"]
        found += [f"test failed: {name}" for name in failed]
        if not tests["passed"]:
            found.append(f"{path}: not one test passed")
        if status != bool(failed):  # pytest's 1 says that tests failed
            found.append(f"{path}: pytest {_ended(status)}")
    for entry in report["models"]:
        if entry.get("psnr_db") is not None and entry["psnr_db"] < _LEAST_DB[entry["precision"]]:
            found.append(f"{entry['model']} in {entry['precision']} is {entry['psnr_db']} dB from the CPU's picture")
    return found


def write(report: dict[str, Any], out: Path) -> None:
    """Both files, each whole at any time."""
    report["problems"] = problems(report)
    for name, text in (("report.json", json.dumps(report, indent=1) + "\n"), ("report.md", markdown(report))):
        partial = out / f"{name}.partial"
        partial.write_text(text, "utf-8")
        os.replace(partial, out / name)


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    facts = report["machine"]
    lines = ["# srgan-trt on a GPU", ""]
    for gpu in report["gpus"]:
        lines.append(
            f"- {gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_gb']} GB, "
            f"{gpu['multiprocessors']} multiprocessors, driver for CUDA {gpu['driver']}"
            if "driver" in gpu
            else f"- {gpu['name']}"
        )
    lines.append(f"- {facts['system']}, Python {facts['python']}, {facts['commit']}, {facts['date']}")
    lines.append("- " + ", ".join(f"{name} {version}" for name, version in facts["packages"].items()))
    lines += ["", "## Problems", "", *(f"- {text}" for text in report["problems"] or ["none"])]
    if report["tests"]:
        lines += ["", "## Tests", ""]
    for path, tests in report["tests"].items():
        skipped = sum(tests["skipped"].values())
        lines.append(f"- {path}: {tests['passed']} passed, {len(tests['failed'])} failed, {skipped} skipped")
        lines += [f"  - {count} skipped: {reason}" for reason, count in tests["skipped"].items()]
    if report["models"]:
        lines += ["", "## Pictures and times", "", *_model_table(report["models"])]
    if report["kernels"]:
        lines += ["", "## The pixel kernels", "", "| | GB/s | of a copy on the GPU |", "|---|---:|---:|"]
        for entry in report["kernels"]:
            lines.append(f"| {entry['name']} | {entry['gigabytes_per_second']} | {entry['share_of_copy']:.0%} |")
    for entry in report["sections"]:
        bad = report["tests"].get(entry["name"].removeprefix("tests "), {}).get("exit_status")
        if entry.get("last_lines") and (entry["outcome"] != "ok" or bad):
            lines += ["", f"## The last lines of: {entry['name']}", "", "```", *entry["last_lines"], "```"]
    return "\n".join(lines) + "\n"


def _model_table(models: list[dict[str, Any]]) -> Iterator[str]:
    measured = [entry for entry in models if "refused" not in entry]
    yield "Pixels of the host in, pixels of the host out; medians. First: opening, building the engine, one picture.\n"
    yield "| model | engine | first, s | from the CPU's fp32: dB, levels | size | GPU, ms | CPU, ms | times |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for entry in measured:
        distance = "identical" if entry["psnr_db"] is None else f"{entry['psnr_db']}, {entry['levels']}"
        head = f"{entry['model']} | {entry['engine']}, {entry['precision']} | {entry['first_seconds']} | {distance}"
        for each in entry["times"]:
            times = f"{each['gpu_ms']} | {each['cpu_ms']} ({each['cpu_precision']})"
            yield f"| {head} | {each['width']} x {each['height']} | {times} | {each['cpu_ms'] / each['gpu_ms']:.1f} |"
            head = " | | | "
    notes = [note for entry in measured for note in entry["notes"]]
    notes += [f"no {each['precision']} for {each['model']}: {each['refused']}" for each in models if "refused" in each]
    yield from ("", *(f"- {note}" for note in dict.fromkeys(notes))) if notes else ()


def _median_ms(work: Callable[[], Any]) -> float:
    work()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < _SECONDS and len(times) < 200):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return round(statistics.median(times) * 1e3, 3)


def _seconds_each(work: Callable[[], Any], stream: Any, *, repeats: int) -> float:
    for _ in range(3):
        work()
    stream.sync()
    begin = time.perf_counter()
    for _ in range(repeats):
        work()
    stream.sync()
    return (time.perf_counter() - begin) / repeats


if __name__ == "__main__":
    main()

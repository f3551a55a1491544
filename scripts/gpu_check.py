#!/usr/bin/env python3
"""Everything that only a machine with an NVIDIA GPU can tell: tests without stand-ins, agreement with the CPU, times.

Usage: python scripts/gpu_check.py [--out gpu-report] [--quick]

Writes report.md and report.json into --out; exit status 1 if a test failed, pictures differ, or there is no GPU. Run it
by `make gpu-check`, which installs what it needs. Please send the report with an issue: nothing of the GPU path was
measured on a GPU by its makers yet.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from srgan_trt import Upscaler
from srgan_trt.commands.photo import photo
from srgan_trt.errors import SrganTrtError
from srgan_trt.models.packaged import packaged_models
from srgan_trt.runtime.devices import gpu_packages, nvidia_gpus

ROOT = Path(__file__).resolve().parents[1]
_TESTS = ("tests/gpu", "tests/csrc/test_cuda_kernels.py")
_SIZES = ((64, 64), (480, 320), (1920, 1080))
_SECONDS = 4.0
_LEAST_DB = {"fp32": 60.0, "fp16": 50.0}
"""From the CPU's fp32 picture. A level here and there is 60 dB and more."""
_PACKAGES = ("srgan-trt", "tensorrt", "tensorrt-rtx", "cuda-core", "cuda-bindings", "openvino", "onnxruntime", "numpy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-report"))
    parser.add_argument("--quick", action="store_true", help="two sizes and the default model only")
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "problems": []}
    names = nvidia_gpus()
    if not names:
        sys.exit("no NVIDIA GPU that the driver lists: this check is for machines that have one")
    if mend := gpu_packages():
        sys.exit(f"TensorRT and cuda-core are needed: {mend}")
    models = ["srgan-fast-x4"] if options.quick else [name for name, model in packaged_models().items() if model.find()]
    sizes = _SIZES[:2] if options.quick else _SIZES
    with tempfile.TemporaryDirectory(prefix="srgan-trt-gpu-") as cache:
        os.environ["SRGAN_TRT_CACHE"] = cache
        for section, work in (
            ("tests", lambda: run_tests()),
            ("models", lambda: [measure(name, precision, sizes) for name, precision in _pairs(models)]),
            ("kernels", lambda: kernel_rates()),
        ):
            print(f"{section} ...", file=sys.stderr, flush=True)
            try:
                report[section] = work()
            except (SrganTrtError, ImportError, OSError, subprocess.SubprocessError) as error:
                report[section] = None
                report["problems"].append(f"{section}: {error}")
                traceback.print_exc()
    report["problems"] += problems(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    text = markdown(report)
    (options.out / "report.md").write_text(text, "utf-8")
    print(text)
    if report["problems"]:
        sys.exit(1)


def machine() -> dict[str, Any]:
    """Facts for the head of the report; GPUs as the driver tells them."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    facts: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or "no commit",
        "packages": versions,
        "gpus": [],
    }
    if nvidia_gpus() and not gpu_packages():
        from srgan_trt.runtime.gpu.device import gpus

        facts["gpus"] = [
            {
                "name": gpu.name,
                "compute_capability": "{}.{}".format(*gpu.compute_capability),
                "driver": gpu.driver,
                "memory_gb": round(gpu.memory / 1e9, 1),
                "multiprocessors": gpu.multiprocessors,
            }
            for gpu in gpus() or []
        ]
    return facts


def run_tests() -> dict[str, Any]:
    """The tests that a GPU's machine code and TensorRT's results are for."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", *_TESTS, f"--junitxml={path}", "-q"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "SRGAN_TRT_ON_GPU": "1"}, check=False, timeout=3600)
        return test_counts(path.read_text("utf-8"))


def test_counts(xml: str) -> dict[str, Any]:
    """From pytest's JUnit file: how many passed, failed, were skipped, and the names of those that failed."""
    cases = list(ElementTree.fromstring(xml).iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return {
        "passed": len(cases) - len(failed) - len(skipped),
        "skipped": len(skipped),
        "failed": [f"{case.get('classname')}::{case.get('name')}" for case in failed],
    }


def measure(model: str, precision: str, sizes: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    """One model on the GPU: how long it takes to open (its engine is built then), how far its picture is from the
    CPU's in fp32, and milliseconds for each size, pixels of the host in, pixels of the host out, beside the CPU's."""
    begin = time.perf_counter()
    found: dict[str, Any] = {"model": model, "precision": precision, "times": []}
    image = photo(320, 480)
    with Upscaler(model, device="cuda", precision=precision) as there:
        large = there(image)
        found["first_seconds"] = round(time.perf_counter() - begin, 2)
        found["engine"] = there.info["engine"]
        found["notes"] = there.info["notes"]
        with Upscaler(model, device="cpu", precision="fp32") as here:
            apart = large.astype(np.float64) - here(image)
        error = float(np.mean(apart**2))
        found["psnr_db"] = None if error == 0 else round(float(10 * np.log10(255**2 / error)), 2)
        found["levels"] = int(np.abs(apart).max())
        with Upscaler(model, device="cpu") as here:
            for width, height in sizes:
                picture = photo(height, width)
                found["times"].append(
                    {
                        "width": width,
                        "height": height,
                        "gpu_ms": _median_ms(lambda: there(picture)),  # noqa: B023  (used before the next round)
                        "cpu_ms": _median_ms(lambda: here(picture)),  # noqa: B023
                        "cpu_precision": here.info["precision"],
                    }
                )
    return found


def kernel_rates(side: int = 2048, *, repeats: int = 50) -> list[dict[str, Any]]:
    """Gigabytes a second of pack and unpack in fp16 on a picture of side x side in windows of 256, and their share of
    what a copy on the GPU reaches in the same run."""
    from srgan_trt.imaging.tiles import plan_tiles
    from srgan_trt.runtime.gpu.device import bindings, checked, core, current, find_gpu
    from srgan_trt.runtime.gpu.kernels import BandKernels, PixelKernels
    from srgan_trt.runtime.gpu.schedule import job_table
    from srgan_trt.upscaler import open_plan

    spec = open_plan("srgan-fast-x4").spec
    tiles = plan_tiles(side, side, tile=(256, 256), halo=0)
    window = (tiles.tile_height, tiles.tile_width)
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
            kernels,
            spec,
            dtype=np.dtype(np.uint8),
            element=element,
            window=window,
            jobs=jobs,
            batch=count,
            source=(image, (side, side, 3)),
            canvas=(out, (side * spec.scale, side * spec.scale, 3)),
            table=table,
            not_finite=counts,
        )
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
    found = [f"test failed: {name}" for name in (report.get("tests") or {}).get("failed", [])]
    for entry in report.get("models") or []:
        if entry["psnr_db"] is not None and entry["psnr_db"] < _LEAST_DB[entry["precision"]]:
            found.append(f"{entry['model']} in {entry['precision']} is {entry['psnr_db']} dB from the CPU's picture")
    return found


def markdown(report: dict[str, Any]) -> str:
    """The report for people."""
    facts = report["machine"]
    lines = ["# srgan-trt on a GPU", ""]
    for gpu in facts["gpus"]:
        lines.append(
            f"- {gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_gb']} GB, "
            f"{gpu['multiprocessors']} multiprocessors, driver for CUDA {gpu['driver']}"
        )
    lines.append(f"- {facts['system']}, Python {facts['python']}, {facts['commit']}, {facts['date']}")
    lines.append("- " + ", ".join(f"{name} {version}" for name, version in facts["packages"].items()))
    lines += ["", "## Problems", "", *(f"- {text}" for text in report["problems"] or ["none"])]
    if tests := report.get("tests"):
        lines += ["", "## Tests", "", f"{tests['passed']} passed, {len(tests['failed'])} failed, "
                  f"{tests['skipped']} skipped."]  # fmt: skip
    if report.get("models"):
        lines += ["", "## Pictures and times", "", *_model_table(report["models"])]
    if report.get("kernels"):
        lines += ["", "## The pixel kernels", "", "| | GB/s | of a copy on the GPU |", "|---|---:|---:|"]
        for entry in report["kernels"]:
            lines.append(f"| {entry['name']} | {entry['gigabytes_per_second']} | {entry['share_of_copy']:.0%} |")
    return "\n".join(lines) + "\n"


def _model_table(models: list[dict[str, Any]]) -> Iterator[str]:
    yield "Pixels of the host in, pixels of the host out; medians. First: opening, building the engine, one picture."
    yield ""
    yield "| model | engine | first, s | from the CPU's fp32: dB, levels | size | GPU, ms | CPU, ms | times |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|"
    for entry in models:
        distance = "identical" if entry["psnr_db"] is None else f"{entry['psnr_db']}, {entry['levels']}"
        head = f"{entry['model']} | {entry['engine']}, {entry['precision']} | {entry['first_seconds']} | {distance}"
        for each in entry["times"]:
            yield (
                f"| {head} | {each['width']} x {each['height']} | {each['gpu_ms']} | {each['cpu_ms']} "
                f"({each['cpu_precision']}) | {each['cpu_ms'] / each['gpu_ms']:.1f} |"
            )
            head = " | | | "
    notes = dict.fromkeys(note for entry in models for note in entry["notes"])
    yield from ("", *(f"- {note}" for note in notes)) if notes else ()


def _pairs(models: list[str]) -> Iterator[tuple[str, str]]:
    for model in models:
        for precision in ("fp16", "fp32"):
            yield model, precision


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

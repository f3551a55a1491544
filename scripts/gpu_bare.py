"""What scripts/gpu_check.py --bare needs beside its measurements: wheels for a machine without a network, and what is
done there, in order. Standard library only: it runs before anything is installed."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KERNEL_TESTS = "tests/csrc/test_cuda_kernels.py"
SECONDS = 400.0
"""For everything, the installation included."""
LIMITS = {
    "build": 90.0, "gpus": 30.0, "agreement": 60.0, "tests": 120.0, "timeline": 60.0, "times": 60.0, "kernels": 60.0,
    "arrays": 60.0, "sanitizer": 60.0,
}  # fmt: skip
_WHEELS = ("cuda-core", "cuda-bindings", "cuda-pathfinder", "msgspec", "platformdirs", "setuptools", "pybind11")
"""That a machine with PyTorch, CuPy, JAX, onnxruntime and pytest may lack, or have in another version. No OpenVINO and
no imagecodecs: nothing here needs them. NVRTC comes with PyTorch; arrays of pycuda are not tried."""
_PLATFORMS = ("2_28", "2_27", "2_24", "2_17")
_MOST = 64 << 20
"""Bytes of checkout and wheels that can be carried."""
_SANITIZED = "windows_that_leave or blocks_full or batch_of_different"
"""Tests of both kernels with every lane at work: a sanitizer slows a kernel down many times."""


def sections() -> list[list[str]]:
    """What is done, in this order: what says most comes first, in case the time does not do."""
    return [
        ["build"], ["gpus"], ["agreement", "fp16"], ["tests", KERNEL_TESTS], ["timeline", "fp16"], ["times", "fp16"],
        ["kernels"], ["agreement", "fp32"], ["arrays"], ["sanitizer", "racecheck"], ["sanitizer", "memcheck"],
        ["times", "fp32"],
    ]  # fmt: skip


def fetch_wheels(folder: Path, *, python: str) -> str:
    """Downloads what `install` takes, for `python` ("3.12") on x86-64 Linux, as constraints.txt pins it; says how much
    that is with the checkout. Exits if it is more than can be carried, or pip fails."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}", f"--dest={folder}"]
    command += [f"--platform=manylinux_{each}_x86_64" for each in _PLATFORMS]
    command += ["-c", str(ROOT / "constraints.txt"), *_WHEELS]
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        sys.exit("pip could not fetch the wheels: see its message above")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    checkout = sum((ROOT / name).lstat().st_size for name in listed.stdout.split("\0") if os.path.lexists(ROOT / name))
    return carried(checkout, sum(wheel.stat().st_size for wheel in folder.iterdir()))


def carried(checkout: int, wheels: int) -> str:
    """How many bytes both are, in words. Exits if they are too many."""
    said = f"{checkout / 2**20:.1f} MiB of checkout and {wheels / 2**20:.1f} MiB of wheels"
    if checkout + wheels > _MOST:
        sys.exit(f"{said} are more than the {_MOST >> 20} MiB that can be carried: take what is not needed away")
    return said


def install(wheels: Path, site: Path) -> None:
    """Puts the wheels and the checkout on the path of this process and of those that it starts. Exits if there are
    none, or pip fails."""
    if not (found := sorted(wheels.glob("*.whl"))):
        sys.exit(f"no wheels in {wheels}: make them where there is a network, by --fetch-wheels, and carry them along")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--upgrade", "--target", str(site), *map(str, found)]
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        sys.exit(f"pip could not install {wheels}: see its message above")
    use(site)


def use(site: Path) -> None:
    """Puts packages in `site`, and this checkout, before all others."""
    first = [str(site), str(ROOT)]
    sys.path[:0] = first
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*first, os.environ.get("PYTHONPATH")]))


def build() -> dict[str, Any]:
    """Compiles the C++ extension into the checkout, if it is not there for this Python."""
    begin = time.monotonic()
    if importlib.util.find_spec("srgan_trt._pixels") is None:
        with tempfile.TemporaryDirectory() as temporary:
            command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace", f"--build-temp={temporary}"]
            subprocess.run(command, cwd=ROOT, check=False)
        importlib.invalidate_caches()
    there = importlib.util.find_spec("srgan_trt._pixels") is not None
    return {"extension": there, "seconds": round(time.monotonic() - begin, 1)}


def sanitizer(tool: str, *, selection: str = _SANITIZED) -> dict[str, Any]:
    """What compute-sanitizer finds in the kernels: "errors", its "summary" and the "exit_status"; or that it is
    "missing" here. errors is None if it never came to its summary."""
    if (program := shutil.which("compute-sanitizer")) is None:
        return {"missing": "there is no compute-sanitizer on the PATH", "errors": None}
    command = [program, "--tool", tool, sys.executable, "-m", "pytest", KERNEL_TESTS, "-k", selection]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=ROOT, env={**os.environ, "SRGAN_TRT_ON_GPU": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    print(done.stdout)
    said = re.findall(r"=+ ((?:ERROR|RACECHECK) SUMMARY: (\d+) .*)", done.stdout)
    tests = re.findall(r"^(?:=+ )?(\d+ passed.*?)(?: =+)?$", done.stdout, re.MULTILINE)
    return {
        "summary": said[-1][0] if said else "",
        "errors": sum(int(count) for _, count in said) if said else None,
        "tests": tests[-1] if tests else "none passed",
        "exit_status": done.returncode,
    }

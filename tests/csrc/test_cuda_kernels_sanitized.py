"""The CUDA kernels' tests once more, in a process of their own, under AddressSanitizer and UBSan."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..cuda_host import build

ROOT = Path(__file__).resolve().parents[2]


def sanitizer(name: str) -> str:
    """Where g++ has the sanitizer's library; it answers with the bare name if it has none."""
    return subprocess.run(
        [build.compiler() or "g++", f"-print-file-name={name}"], capture_output=True, text=True
    ).stdout.strip()


def test_the_kernels_touch_nothing_but_what_is_theirs() -> None:
    if build.compiler() is None or not all(
        Path(sanitizer(name)).is_absolute() for name in ("libasan.so", "libubsan.so")
    ):
        pytest.skip("needs g++ with its sanitizers' libraries")
    environment = os.environ | {
        "LD_PRELOAD": f"{sanitizer('libasan.so')} {sanitizer('libubsan.so')}",
        # Python itself keeps memory until it exits, on purpose.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "SRGAN_TRT_CUDA_HOST_SANITIZE": "1",
    }
    build.library(sanitize=True)  # not under the sanitizers itself
    tests = ["-m", "pytest", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--capture=sys"]
    done = subprocess.run(
        [sys.executable, *tests, "tests/csrc/test_cuda_kernels.py"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout

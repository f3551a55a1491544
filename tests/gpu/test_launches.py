"""The launches of the tests on a GPU, on the stand-in driver: that they bring every array there and back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srgan_trt import _pixels
from srgan_trt.runtime.devices import gpu_packages

from ..cuda_driver import build, standin
from ..cuda_host import build as host
from ..cuda_host import kernels

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}")


def packed_and_unpacked() -> tuple[np.ndarray, np.ndarray, list[int]]:
    kernels.ON_GPU = True
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    tensor = np.zeros((1, 3, 9, 13), np.float32)
    kernels.pack(image, kernels.jobs({"y": -1, "x": 2}), tensor, scale=1 / 255)
    canvas = np.zeros((9, 13, 3), np.uint8)
    region = {"out_height": 9, "out_width": 13}
    counts = kernels.unpack(tensor, kernels.jobs(region), canvas, shuffle=1, scale=255.0)
    return tensor, canvas, counts


def test_arrays_come_back_as_the_cpu_makes_them() -> None:
    outcome = standin.run(packed_and_unpacked, kernels=host.library())
    tensor, canvas, counts = outcome.value
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)
    expected = np.empty((3, 9, 13), np.float32)
    _pixels.pack(image, expected, y=-1, x=2, scale=1 / 255, bias=0.0)
    np.testing.assert_array_equal(tensor[0], expected)
    np.testing.assert_array_equal(canvas, np.rint(expected.transpose(1, 2, 0) * 255).astype(np.uint8))
    assert counts == [0]
    assert [line["kernel"] for line in outcome.executed("kernel")] == ["pack_u8_f32", "unpack_f32_u8"]
    assert not outcome.leaks["allocations"]


def test_the_kernels_cases_run_as_on_a_gpu() -> None:
    """Every launch that `make gpu-check` makes is one that the driver takes.

    But for the picture beyond 2 GB, for which the imaginary GPU is too small.
    """
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/csrc/test_cuda_kernels.py", "-rs"],
        cwd=ROOT,
        env={**standin.environment(kernels=host.library()), "SRGAN_TRT_ON_GPU": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 150
    reasons = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    small = [line for line in reasons if "does not count the sectors" not in line]
    assert len(small) == 1
    assert "it takes 4.3 GB of the GPU's memory, of which 1.1 are free" in small[0]

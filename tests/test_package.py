"""The package's own promises: few names, each there when asked for, and nothing loaded before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import srgan_trt


def python(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = python("import sys, srgan_trt; print('\\n'.join(sys.modules))").split()
    heavy = {"numpy", "onnx", "onnxruntime", "openvino", "tensorflow", "keras", "tf_keras", "PIL", "h5py", "tifffile"}
    assert heavy.isdisjoint(loaded)


def test_importing_the_package_takes_no_time() -> None:
    """Half of the promised 0.3 s; the best of three, as other work may run beside the tests."""
    program = "import time; t = time.perf_counter(); import srgan_trt; print(time.perf_counter() - t)"
    assert min(float(python(program)) for _ in range(3)) < 0.15


def test_upscaling_from_a_plan_needs_no_tensorflow() -> None:
    loaded = python(
        "import sys, srgan_trt.upscaler, srgan_trt.runtime.cpu.openvino; print('\\n'.join(sys.modules))"
    ).split()
    assert {"tensorflow", "keras", "onnxruntime", "h5py"}.isdisjoint(loaded)


def test_the_public_names_are_eleven_at_most_and_all_there() -> None:
    assert len(srgan_trt.__all__) <= 11
    for name in srgan_trt.__all__:
        assert getattr(srgan_trt, name) is not None
        assert name in dir(srgan_trt)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'upscael'"):
        srgan_trt.upscael  # noqa: B018

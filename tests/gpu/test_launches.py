"""The launches of the tests on a GPU, on the stand-in driver: that they bring every array there and back."""

from __future__ import annotations

import numpy as np
import pytest

from srgan_trt import _pixels
from srgan_trt.runtime.devices import gpu_packages

from ..cuda_driver import build, standin
from ..cuda_host import build as host
from ..cuda_host import kernels

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

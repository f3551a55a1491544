"""Devices are found by name, and what is not there is said plainly."""

from __future__ import annotations

from pathlib import Path

import pytest

from srgan_trt.errors import DeviceError
from srgan_trt.runtime.devices import open_pipeline

from ..handmade import small_plan


@pytest.mark.parametrize("device", ["auto", "cpu", "CPU"])
def test_the_cpu_runs_every_plan(tmp_path: Path, device: str) -> None:
    pipeline = open_pipeline(small_plan(tmp_path), device=device)
    assert pipeline.info["device"] == "cpu"
    assert pipeline.info["name"]
    pipeline.close()


@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:1", "TensorRT"])
def test_a_gpu_is_refused_by_this_version(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="this version of srgan-trt has no GPU engine"):
        open_pipeline(small_plan(tmp_path), device=device)


def test_an_unknown_device_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no device 'npu': use one of auto, cpu"):
        open_pipeline(small_plan(tmp_path), device="npu")

"""The table of peaks: complete, cited, and with the ratios that the hardware has."""

from __future__ import annotations

import pytest

from srgan_trt.runtime.accelerators import ACCELERATORS, Accelerator


def test_the_six() -> None:
    assert [gpu.name for gpu in ACCELERATORS] == ["H100", "A100", "L4", "T4", "RTX 4090", "Orin"]


@pytest.mark.parametrize("gpu", ACCELERATORS, ids=lambda gpu: gpu.name)
class TestEach:
    def test_names_its_document(self, gpu: Accelerator) -> None:
        assert "NVIDIA" in gpu.source

    def test_rates_are_dense(self, gpu: Accelerator) -> None:
        """On all of them an int8 operation takes half of a float16 one, to the printed digits."""
        assert gpu.int8_tops == pytest.approx(2 * gpu.fp16_tflops, rel=3e-3)

    def test_only_geforce_halves_sums_in_float32(self, gpu: Accelerator) -> None:
        share = 0.5 if "RTX" in gpu.name else 1.0
        assert gpu.fp16_sums_in_fp32_tflops == pytest.approx(share * gpu.fp16_tflops, rel=1e-3)

"""What is raised when TensorRT refuses: its own words, and want of memory only where it was that."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")


def refused(plan: Plan, script: Script) -> tuple[str, str, Script]:
    """Kind and text of the error that a picture ends with; then the same pipeline does another one."""
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    image = handmade.noise(30, 40)
    out = np.zeros((120, 160, 3), np.uint8)
    answer = ("", "")
    with contextlib.closing(GpuPipeline(plan, source=SourceDouble(plan.path, script))) as pipeline:
        schedule = handmade.scheduled(pipeline, image, tile=24)
        try:
            pipeline.run(image, out, schedule)
        except DeviceError as error:
            answer = (type(error).__name__, str(error))
        script.contextless, script.refuse = False, frozenset()
        pipeline.run(image, out, schedule)
    return *answer, script


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


def outcome(plan: Plan, **script: Any) -> tuple[str, str]:
    kind, text, used = standin.run(refused, plan, Script(**script), kernels=host_build.library()).value
    assert used.violations == []
    assert (used.engines, used.contexts) == (0, 0)
    return kind, text


def test_batch_that_is_not_taken(plan: Plan) -> None:
    kind, text = outcome(plan, refuse=frozenset({0}), says="[context.cpp::executeAsync::7] Error Code 1: Myelin (no)")
    assert kind == "DeviceError"
    assert text.startswith("TensorRT-RTX double cannot take the batch for small: Error Code 1: Myelin (no")
    assert "\n" not in text


def test_batch_that_is_not_taken_without_a_word(plan: Plan) -> None:
    kind, text = outcome(plan, refuse=frozenset({0}))
    assert (kind, text) == (
        "DeviceError",
        "TensorRT did not take the batch for small and gave no reason: use --device cpu",
    )


@pytest.mark.parametrize(
    ("says", "kind", "text"),
    [
        ("", "DeviceMemoryError", "do not fit into the GPU's memory (TensorRT made no execution context for small"),
        ("Error Code 2: OutOfMemory (Requested size was 7 bytes.)", "DeviceMemoryError", "Requested size was 7 bytes"),
        ("Error Code 4: the cuBLAS library is broken", "DeviceError", "the cuBLAS library is broken"),
    ],
)
def test_context_that_cannot_be_made(plan: Plan, says: str, kind: str, text: str) -> None:
    found = outcome(plan, contextless=True, says=says)
    assert found[0] == kind
    assert text in found[1]

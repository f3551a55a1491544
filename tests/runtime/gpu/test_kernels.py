"""The install's fatbin, where the driver does not take it: NVRTC compiles instead, which is said once."""

from __future__ import annotations

import io
import logging
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")

FATBIN = b"\x50\xed\x55\xba" + bytes(60)
"""What the stand-in takes for one."""


def with_fatbin(plan: Plan, fatbin: bytes, fault: str) -> dict[str, Any]:
    from srgan_trt.runtime.gpu import kernels
    from srgan_trt.runtime.gpu.kernel_code import compile_kernels
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    compiled = []

    def compile_and_tell(capability: tuple[int, int]) -> bytes:
        compiled.append(capability)
        return compile_kernels(capability)

    kernels.load_fatbin, kernels.compile_kernels = lambda: fatbin, compile_and_tell
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    standin.faults(fault)
    pipeline = GpuPipeline(plan, source=SourceDouble(plan.path, Script()))
    image = handmade.noise(30, 40)
    out = np.zeros((120, 160, 3), np.uint8)
    for _ in range(2):
        pipeline.run(image, out, handmade.scheduled(pipeline, image, tile=64))
    pipeline.close()
    right = handmade.differences(out, handmade.expected(plan, image)).max() <= 1
    return {"right": right, "compiled": compiled, "log": log.getvalue(), "notes": pipeline.info["notes"]}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


def outcome(plan: Plan, fatbin: bytes, fault: str = "") -> dict[str, Any]:
    ran = standin.run(with_fatbin, plan, fatbin, fault, kernels=host_build.library())
    assert ran.leaks["modules"] == 0
    assert ran.value["right"]
    return dict(ran.value)


def test_fatbin_is_what_runs(plan: Plan) -> None:
    found = outcome(plan, FATBIN)
    assert (found["compiled"], found["notes"], found["log"]) == ([], [], "")


@pytest.mark.parametrize(
    ("fatbin", "fault", "name"),
    [
        (b"nonsense\0", "", "CUDA_ERROR_INVALID_IMAGE"),
        (FATBIN, "cuLibraryLoadData:1:222", "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"),
        (FATBIN, "cuKernelGetFunction:1:209", "CUDA_ERROR_NO_BINARY_FOR_GPU"),  # a driver that loads when it must
        (FATBIN, "cuLibraryGetKernel:1:209", "CUDA_ERROR_NO_BINARY_FOR_GPU"),
    ],
)
def test_fatbin_that_the_driver_refuses_is_compiled_instead(plan: Plan, fatbin: bytes, fault: str, name: str) -> None:
    found = outcome(plan, fatbin, fault)
    assert found["compiled"] == [(8, 9)]
    (note,) = found["notes"]
    assert "no code for Imaginary GPU (compute capability 8.9)" in note
    assert name in note
    assert found["log"].count("NVRTC compiles them") == 1


def test_other_errors_are_errors(plan: Plan) -> None:
    with pytest.raises(standin.StandInError, match=r"the GPU failed .CUDA_ERROR_UNKNOWN"):
        outcome(plan, FATBIN, "cuLibraryLoadData:1:999")

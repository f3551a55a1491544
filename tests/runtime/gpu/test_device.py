"""Which GPUs there are, and what CUDA's errors become."""

from __future__ import annotations

import re
from typing import Any

import pytest

from srgan_trt.errors import DeviceError, DeviceLostError, DeviceMemoryError, MissingPackageError, pip_command
from srgan_trt.runtime.gpu import device as module
from srgan_trt.runtime.gpu.device import Gpu, cuda_errors, find_gpu, gpus
from tests.cuda_driver import build, standin

pytest.importorskip("cuda.bindings", reason="GPUs are found through cuda-bindings")
needs_standin = pytest.mark.skipif(build.missing() is not None, reason=build.missing() or "")


# ---- what runs in the process of the stand-in


def listed() -> Any:
    return gpus()


def found(number: int) -> Any:
    try:
        return find_gpu(number)
    except DeviceError as error:
        return f"{type(error).__name__}: {error}"


def failing(fault: str) -> str:
    standin.faults(fault)
    return str(found(0))


def context_of_the_caller() -> list[bool]:
    """Whether the caller's context is current after ours was."""
    from srgan_trt.runtime.gpu.device import bindings, checked, current

    driver = bindings()
    checked(driver.cuInit(0))
    kept = []
    for make in (lambda: checked(driver.cuCtxCreate(None, 0, 0)), lambda: checked(driver.cuDevicePrimaryCtxRetain(1))):
        context = make()
        checked(driver.cuCtxSetCurrent(context))
        with current(1):
            kept.append(int(checked(driver.cuCtxGetDevice())) == 1)
        kept.append(int(checked(driver.cuCtxGetCurrent())) == int(context))
    return kept


# ---- the tests


@needs_standin
def test_facts() -> None:
    outcome = standin.run(
        listed, devices=2, capability=[(9, 0), (7, 5)], memory=16 << 30, multiprocessors=132, name="Card", version=12080
    )
    facts = {"name": "Card", "driver": "12.8", "memory": 16 << 30, "multiprocessors": 132}
    assert outcome.value == [
        Gpu(number=0, compute_capability=(9, 0), **facts),
        Gpu(number=1, compute_capability=(7, 5), **facts),
    ]


@needs_standin
def test_no_gpu_and_no_such_gpu() -> None:
    assert standin.run(listed, devices=0).value == []
    assert standin.run(found, 0, devices=0).value == "DeviceError: there is no GPU 0: the driver lists none"
    assert standin.run(found, 2, name="Card").value == "DeviceError: there is no GPU 2: the driver lists 0 (Card)"


@needs_standin
def test_driver_that_fails() -> None:
    assert standin.run(failing, "cuInit:1:999").value.startswith("DeviceLostError: the GPU failed (CUDA_ERROR_UNKNOWN)")
    assert standin.run(failing, "cuInit:1:2").value.startswith("DeviceMemoryError")


@needs_standin
def test_context_of_the_caller_is_current_again() -> None:
    assert standin.run(context_of_the_caller, devices=2).value == [True] * 4


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(MissingPackageError, match="cuda-bindings .* " + re.escape(pip_command("tensorrt"))):
        gpus()
    with pytest.raises(MissingPackageError, match="cuda-core"):
        module.core()


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (Exception("CUDA_ERROR_OUT_OF_MEMORY: no"), DeviceMemoryError, "smaller tile"),
        (
            Exception("CUDA_ERROR_LAUNCH_FAILED: An exception"),
            DeviceLostError,
            r"failed \(CUDA_ERROR_LAUNCH_FAILED\): open",
        ),
        (RuntimeError("Failed to create CUDA event"), DeviceLostError, r"failed \(Failed to create CUDA event\)"),
        (DeviceError("ours"), DeviceError, "^ours$"),
        (ValueError("a mistake of ours"), ValueError, "mistake"),
    ],
)
def test_errors_of_cuda(raised: Exception, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words), cuda_errors():
        raise raised

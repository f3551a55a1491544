"""Memory of a GPU, on the stand-in driver."""

from __future__ import annotations

from typing import Any

import pytest

from srgan_trt.errors import DeviceMemoryError
from srgan_trt.runtime.devices import gpu_packages

from ...cuda_driver import build, standin

pytestmark = pytest.mark.skipif(bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}")


def on_windows(size: int) -> str:
    """What is said of `size` bytes where the driver would move others out of the GPU for them."""
    from srgan_trt.runtime.gpu import memory
    from srgan_trt.runtime.gpu.device import core, current, find_gpu

    memory._WINDOWS = True
    find_gpu(0)
    with current(0):
        ours, stream = memory.DeviceMemory(0, None), core().Device(0).create_stream()
        try:
            ours.free(ours.allocate(size, stream), stream)
            return ""
        except DeviceMemoryError as error:
            return str(error)
        finally:
            ours.close()
            stream.close()


def asked(outcome: standin.Outcome) -> list[dict[str, Any]]:
    return [line for line in outcome.trace if line["call"].startswith("cuMemAlloc")]


def test_windows_is_not_asked_for_memory_that_is_not_free() -> None:
    """It would give it, from the host's."""
    outcome = standin.run(on_windows, 65 << 20, memory=64 << 20)
    assert "68.2 MB of GPU memory are needed and 67.1 are free: use a smaller tile" in outcome.value
    assert not asked(outcome)


def test_windows_gives_what_is_free() -> None:
    outcome = standin.run(on_windows, 1 << 20, memory=64 << 20)
    assert outcome.value == ""
    assert asked(outcome)

"""The double refuses what TensorRT refuses, and notes what TensorRT would get wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from tests import handmade
from tests.cuda_driver import build, standin

from .engine import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the double runs on the stand-in driver")


def misused(plan: Plan) -> dict[str, Any]:
    from srgan_trt.runtime.gpu.device import bindings, checked, current, find_gpu

    driver = bindings()
    gpu = find_gpu(0)
    script = Script(refuse=frozenset({1}))
    found: dict[str, Any] = {"script": script}
    with current(0):
        settings = EngineSettings(precision="fp16", tile=(16, 24), batch=2)
        engine = SourceDouble(plan.path, script).open(settings, gpu)
        context = engine.create_execution_context()
        assert context is not None
        found["shapes"] = {
            shape: context.set_input_shape("input", shape)
            for shape in [(3, 3, 16, 24), (2, 3, 17, 24), (2, 4, 16, 24), (0, 3, 16, 24), (2, 3, 16, 24)]
        }
        memory = int(checked(driver.cuMemAlloc(1 << 20)))
        half = memory + (1 << 19)
        found["misaligned"] = context.set_tensor_address("input", memory + 2)
        stream = checked(driver.cuStreamCreate(1))
        found["without addresses"] = context.execute_async_v3(int(stream))
        assert context.set_tensor_address("input", memory)
        assert context.set_tensor_address("output", half)
        found["without memory"] = context.execute_async_v3(int(stream))
        scratch = checked(driver.cuMemAlloc(engine.device_bytes))
        context.set_device_memory(int(scratch), engine.device_bytes - 1)
        script.enqueued = 1
        found["refused"] = context.execute_async_v3(int(stream))

        relaxed = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        checked(driver.cuStreamBeginCapture(stream, relaxed))
        assert context.execute_async_v3(int(stream))
        graph = checked(driver.cuStreamEndCapture(stream))
        runs = checked(driver.cuGraphInstantiate(graph, 0))
        checked(driver.cuMemsetD8Async(memory, 0, 1 << 20, stream))
        assert context.set_input_shape("input", (1, 3, 8, 8))
        checked(driver.cuGraphLaunch(runs, stream))
        checked(driver.cuStreamSynchronize(stream))
        found["computed"] = bool(np.frombuffer((np.ctypeslib.ctypes.c_ubyte * 64).from_address(half), np.float16).any())
        engine.close()
        checked(driver.cuGraphExecDestroy(runs))
        checked(driver.cuGraphDestroy(graph))
        del context
        checked(driver.cuStreamDestroy(stream))
        checked(driver.cuMemFree(memory))
        checked(driver.cuMemFree(scratch))
        found["memory"] = f"{engine.device_bytes - 1} bytes at {int(scratch):x} are not memory for a context"
    return found


def small_engine(plan: Plan) -> tuple[Any, str]:
    from srgan_trt.runtime.gpu.device import find_gpu

    source = SourceDouble(plan.path, largest_tile=(48, 40))
    engine = source.open(EngineSettings(precision="fp16", tile=(16, 40), batch=1), find_gpu(0))
    engine.close()
    try:
        source.open(EngineSettings(precision="fp16", tile=(16, 41), batch=1), find_gpu(0))
    except DeviceError as error:
        return (source.largest_tile, engine.settings.tile), str(error)
    return None, ""


def test_engine_file_has_tiles_of_its_own(tmp_path: Path) -> None:
    outcome = standin.run(small_engine, handmade.small_plan(tmp_path))
    assert outcome.value == (((48, 40), (48, 40)), "the engine takes tiles of at most (48, 40), not (16, 41)")


def test_misuse_is_refused_or_noted(tmp_path_factory: pytest.TempPathFactory) -> None:
    plan = handmade.small_plan(tmp_path_factory.mktemp("plan"))
    outcome = standin.run(misused, plan)
    found = outcome.value
    assert list(found["shapes"].values()) == [False, False, False, False, True]
    assert found["misaligned"] is found["without addresses"] is found["without memory"] is found["refused"] is False
    assert found["computed"]
    assert found["script"].violations == [
        found["memory"],
        "captured (2, 3, 16, 24) after None, without a run in between",
        "a graph of (2, 3, 16, 24) ran when the context had (1, 3, 8, 8)",
        "an engine was closed before its contexts",
    ]
    assert (found["script"].contexts, found["script"].engines) == (0, 0)
    assert not outcome.leaks["allocations"]

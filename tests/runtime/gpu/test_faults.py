"""The GPU pipeline when the driver fails: at every call that it makes, and in the work that it puts on streams.

Whatever fails, the pictures come out right or a DeviceError is raised; all device memory is back after `close`, and
nothing waits for ever.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.imaging.tiles import plan_tiles
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")

OUT_OF_MEMORY, DEVICE_UNAVAILABLE, NO_DEVICE, LAUNCH_FAILED, UNKNOWN = 2, 46, 100, 719, 999
SECONDS = 20
"""After which a process counts as hanging."""
ALLOWED = {"right", "DeviceError", "DeviceMemoryError", "GpuFailure"}
IMAGES = [handmade.noise(24, 50), handmade.noise(30, 20, dtype=np.uint16)]


# ---- what runs in the process of the stand-in


def pictures(source: SourceDouble, plan: Plan, expected: list[NDArray[Any]]) -> str:
    """Opens a pipeline, runs two pictures (fp16, fp32), the first twice, and closes it: "right" or what went wrong."""
    from srgan_trt.runtime.gpu import schedule
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    schedule.TILE = 32  # or most of the time goes into filling memory
    troubles = []
    try:
        pipeline = GpuPipeline(plan, source=source)
    except DeviceError as error:
        return type(error).__name__
    try:
        for image, right in zip([*IMAGES, IMAGES[0]], [*expected, expected[0]], strict=True):
            height, width, channels = image.shape
            out = np.zeros((height * 4, width * 4, channels), image.dtype)
            try:
                pipeline.run(image, out, plan_tiles(height, width, tile=(20, 20), halo=handmade.HALO))
            except DeviceError as error:
                troubles.append(type(error).__name__)
            else:
                if handmade.differences(out, right).max() > 1 + (image.dtype == np.uint16):
                    troubles.append("wrong levels")
    finally:
        pipeline.close()
    return ", ".join(sorted(set(troubles))) or "right"


def in_a_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns in a forked process, whose driver is untouched; {"how": "hangs"} if it does not end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        try:
            answer = work()
        except BaseException:
            answer = {"how": traceback.format_exc()}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    if text:
        return dict(json.loads(text))
    return {"how": "hangs" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else f"ended: {status}"}


def with_faults(plan: Plan, expected: list[NDArray[Any]], code: int, others: list[str], every: int) -> dict[str, Any]:
    """What came of error `code` at every call, or every third and so on, and of `others`; and what was left."""
    import srgan_trt.runtime.gpu.pipeline  # noqa: F401  (before the forks, as all that takes time)
    from srgan_trt.runtime.gpu.device import bindings, core
    from srgan_trt.runtime.gpu.kernel_code import compile_kernels

    bindings()
    core()

    compile_kernels((8, 9))
    source = SourceDouble(plan.path, Script())
    source.session()
    gc.freeze()

    def attempt(fault: str) -> dict[str, Any]:
        standin.faults(fault)
        how = pictures(source, plan, expected)
        standin.faults("")
        gc.collect()
        left = standin.leaks()
        held = [each["call"] for each in left["allocations"]]
        return {"how": how, "left": held, "calls": standin.calls(), "violations": source.script.violations}

    clean = in_a_child(lambda: attempt(""))
    assert "calls" in clean, clean
    orders = others + [f"*:{number}:{code}" for number in range(1, clean["calls"] + 1, every)]
    return {"clean": clean, "found": {order: in_a_child(lambda order=order: attempt(order)) for order in orders}}


# ---- the tests


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


def outcomes(plan: Plan, code: int, others: list[str], every: int = 1, **settings: Any) -> dict[str, dict[str, Any]]:
    """By fault; none hangs, leaves memory or gives a wrong picture."""
    expected = [handmade.expected(plan, image) for image in IMAGES]
    outcome = standin.run(
        with_faults,
        plan,
        expected,
        code,
        others,
        every,
        kernels=host_build.library(),
        multiprocessors=4,
        timeout=300,
        **settings,
    )
    assert outcome.value["clean"]["how"] == "right"
    found = outcome.value["found"]
    bad = {
        order: each
        for order, each in found.items()
        if not set(each["how"].split(", ")) <= ALLOWED or each["left"] or each["violations"]
    }
    assert bad == {}
    return found


def in_work(code: int) -> list[str]:
    """The execution of each kind of work fails: the error shows at some later call."""
    return [
        f"@{kind}:{nth}:{code}" for kind in ("copy", "fill", "kernel", "host", "event", "wait") for nth in (1, 2, 9)
    ]


@pytest.mark.parametrize(
    ("code", "order", "every"),
    # After a sticky error memory is gone at once, which streams that really run would not survive.
    [
        (OUT_OF_MEMORY, "threads", 1),
        (LAUNCH_FAILED, "late", 1),
        (UNKNOWN, "threads", 3),
        (DEVICE_UNAVAILABLE, "late", 3),
        (NO_DEVICE, "late", 3),
    ],
)
def test_every_call_may_fail(plan: Plan, code: int, order: str, every: int) -> None:
    found = outcomes(plan, code, in_work(code) if code == LAUNCH_FAILED else [], every, order=order)
    assert len(found) > 70
    if code == OUT_OF_MEMORY:
        assert Counter(each["how"] for each in found.values())["right"] > len(found) / 2

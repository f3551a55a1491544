"""The GPU pipeline when the driver fails, at every call that it makes and in the work that it puts on streams, and when
TensorRT refuses to run.

Whatever fails, the pictures come out right or a DeviceError is raised; all device memory, streams, events, graphs,
modules and pools are gone after `close`, and nothing waits for ever. Pictures are on the host or on the GPU.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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

OUT_OF_MEMORY, DEVICE_UNAVAILABLE, NO_DEVICE, LAUNCH_FAILED, UNKNOWN = 2, 46, 100, 719, 999
SECONDS = 20
"""After which a process counts as hanging."""
ALLOWED = {"right", "DeviceError", "DeviceMemoryError", "DeviceLostError"}
KINDS = ("streams", "events", "graphs", "graph_execs", "modules", "pools")
IMAGES = [handmade.noise(24, 50), handmade.noise(30, 20, dtype=np.uint16)]


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What is to go wrong, one at a time: error `code` at the call of number `first`, and at every `every`-th after it;
    `others`, in the stand-in's words; and, with `refusals`, each run of a network."""

    code: int = OUT_OF_MEMORY
    first: int = 1
    every: int = 1
    others: list[str] = field(default_factory=list)
    refusals: bool = False


# ---- what runs in the process of the stand-in


@contextmanager
def on_the_gpu() -> Iterator[list[Any]]:
    """The images as another library's arrays, which that library has on a stream of its own."""
    from .array_producers import ByInterface, Producer, context

    context()
    producer = Producer()
    arrays = [ByInterface(producer, image, stream=int(producer.stream)) for image in IMAGES]
    yield arrays
    arrays.clear()
    gc.collect()
    producer.close()


def enlarged(pipeline: Any, image: Any) -> NDArray[Any]:
    """By the pipeline, on the host or where it is."""
    from srgan_trt.runtime.gpu.device_array import borrow
    from srgan_trt.runtime.gpu.device_result import new_result

    from .array_producers import read

    if isinstance(image, np.ndarray):
        height, width, channels = image.shape
        out = np.zeros((height * 4, width * 4, channels), image.dtype)
        pipeline.run(image, out, handmade.scheduled(pipeline, image, tile=20))
        return out
    with borrow(image) as picture:
        result = new_result(picture, 4)
        schedule = handmade.scheduled(pipeline, picture.image, tile=20)
        pipeline.run(picture.image, result.image, schedule, stream=picture.stream)
    with result.take() as large:
        return read(large.__cuda_array_interface__["data"][0], large.shape, large.dtype)


def pictures(source: SourceDouble, plan: Plan, images: list[Any], expected: list[NDArray[Any]]) -> str:
    """Opens a pipeline, runs two pictures (fp16, fp32), the first twice, and closes it: "right" or what went wrong."""
    from srgan_trt.runtime.gpu import tiling
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    tiling.TILE = 32  # or most of the time goes into filling memory
    troubles = []
    try:
        pipeline = GpuPipeline(plan, source=source)
    except DeviceError as error:
        return type(error).__name__
    try:
        for image, right in zip([*images, images[0]], [*expected, expected[0]], strict=True):
            try:
                out = enlarged(pipeline, image)
            except DeviceError as error:
                troubles.append(type(error).__name__)
            else:
                if handmade.differences(out, right).max() > 1 + (right.dtype == np.uint16):
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


def failed() -> set[str]:
    """The calls that returned an error."""
    return {line["call"] for line in standin.trace() if line["result"]}


def with_faults(plan: Plan, expected: list[NDArray[Any]], arrays: bool, faults: Faults) -> dict[str, Any]:
    """What came of each fault, alone in its process, and what was left."""
    import srgan_trt.runtime.gpu.pipeline  # noqa: F401  (before the forks, as all that takes time)
    from srgan_trt.runtime.gpu.device import bindings, core
    from srgan_trt.runtime.gpu.kernel_code import compile_kernels

    bindings()
    core()

    compile_kernels((8, 9))
    source = SourceDouble(plan.path, Script())
    source.session()
    gc.freeze()

    def attempt(fault: str, refuse: int = -1) -> dict[str, Any]:
        source.script.refuse = frozenset({refuse})
        with on_the_gpu() if arrays else nullcontext(IMAGES) as images:
            before = standin.calls()
            standin.faults(fault)
            how = pictures(source, plan, images, expected)
            standin.faults("")
            calls = standin.calls() - before
        gc.collect()
        left = standin.leaks()
        kinds = {kind: left[kind] for kind in KINDS if left[kind]}
        if kinds.get("graphs") == 1 and "cuStreamGetCaptureInfo" in failed():
            del kinds["graphs"]  # cuda.core 1.2 forgets the graph of a capture that fails while it begins
        held = [each["call"] for each in left["allocations"]] + [f"{count} {kind}" for kind, count in kinds.items()]
        script = source.script
        return {"how": how, "left": held, "calls": calls, "runs": script.enqueued, "violations": script.violations}

    clean = in_a_child(lambda: attempt(""))
    assert "calls" in clean, clean
    orders = faults.others + [f"*:{n}:{faults.code}" for n in range(faults.first, clean["calls"] + 1, faults.every)]
    found = {order: in_a_child(lambda order=order: attempt(order)) for order in orders}
    for run in range(clean["runs"] if faults.refusals else 0):
        found[f"run {run} refused"] = in_a_child(lambda run=run: attempt("", run))
    return {"clean": clean, "found": found}


# ---- the tests


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


def outcomes(plan: Plan, faults: Faults, *, arrays: bool = False, **settings: Any) -> dict[str, dict[str, Any]]:
    """By fault; none hangs, leaves anything or gives a wrong picture."""
    outcome = standin.run(
        with_faults,
        plan,
        [handmade.expected(plan, image) for image in IMAGES],
        arrays,
        faults,
        kernels=host_build.library(),
        multiprocessors=4,
        timeout=300,
        **settings,
    )
    clean, found = outcome.value["clean"], outcome.value["found"]
    assert (clean["how"], clean["left"], clean["violations"]) == ("right", [], [])
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
    ("faults", "order"),
    # After a sticky error memory is gone at once, which streams that really run would not survive.
    [
        (Faults(code=OUT_OF_MEMORY), "threads"),
        (Faults(code=LAUNCH_FAILED, others=in_work(LAUNCH_FAILED)), "late"),
        (Faults(code=UNKNOWN), "threads"),
        # These two say the same of different calls, and are handled alike: each call gets one of them.
        (Faults(code=DEVICE_UNAVAILABLE, every=2), "late"),
        (Faults(code=NO_DEVICE, first=2, every=2), "late"),
    ],
    ids=["out of memory", "launch failed", "unknown", "device unavailable", "no device"],
)
def test_every_call_may_fail(plan: Plan, faults: Faults, order: str) -> None:
    found = outcomes(plan, faults, order=order)
    assert len(found) > 200 // faults.every
    if faults.code == OUT_OF_MEMORY:
        assert Counter(each["how"] for each in found.values())["right"] > len(found) / 2


def test_every_call_may_fail_for_an_array_on_the_gpu(plan: Plan) -> None:
    found = outcomes(plan, Faults(code=OUT_OF_MEMORY, every=3), arrays=True, order="late")
    assert len(found) > 60
    assert "DeviceMemoryError" in {each["how"] for each in found.values()}


def test_tensorrt_may_refuse_every_run(plan: Plan) -> None:
    """What it refuses outside of a capture is an error, and no other picture's."""
    found = outcomes(plan, Faults(every=10**6, refusals=True), order="threads")
    hows = [each["how"] for order, each in found.items() if order.endswith("refused")]
    assert set(hows) <= {"DeviceError", "right"}
    assert hows.count("DeviceError") >= 3

"""The stand-in driver: what it runs, when it runs it, and what it refuses.

Through cuda.bindings, as a GPU's own driver would be used.
"""

from __future__ import annotations

import ctypes
import time
from typing import Any

import numpy as np
import pytest

from . import build, standin

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.bindings", reason="the stand-in's tests need cuda-bindings")

NOT_READY, ILLEGAL_ADDRESS, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED = 600, 700, 900, 901


# ---- what runs in the process of the stand-in


def driver() -> Any:
    from cuda.bindings import driver

    return driver


def checked(answer: tuple[Any, ...]) -> Any:
    """The values of a call that succeeded: one, or a tuple of them."""
    error, *values = answer
    assert int(error) == 0, error
    return values[0] if len(values) == 1 else tuple(values)


def code(answer: tuple[Any, ...]) -> int:
    return int(answer[0])


def begin() -> Any:
    """cuda.bindings.driver with the first device's context current."""
    cuda = driver()
    checked(cuda.cuInit(0))
    checked(cuda.cuCtxSetCurrent(checked(cuda.cuDevicePrimaryCtxRetain(0))))
    return cuda


def pinned(cuda: Any, count: int) -> tuple[int, np.ndarray]:
    address = checked(cuda.cuMemHostAlloc(4 * count, 0))
    return address, np.ctypeslib.as_array((ctypes.c_int * count).from_address(address))


def upload_and_forget(wait: bool) -> list[int]:
    """A copy to the device on one stream, back on another, with or without an event between them."""
    cuda = begin()
    first, second = (checked(cuda.cuStreamCreate(1)) for _ in range(2))
    event = checked(cuda.cuEventCreate(0))
    device = checked(cuda.cuMemAlloc(40))
    up, sent = pinned(cuda, 10)
    down, received = pinned(cuda, 10)
    sent[:], received[:] = range(10), 0
    checked(cuda.cuMemcpyHtoDAsync(device, up, 40, first))
    checked(cuda.cuEventRecord(event, first))
    if wait:
        checked(cuda.cuStreamWaitEvent(second, event, 0))
    checked(cuda.cuMemcpyDtoHAsync(down, device, 40, second))
    checked(cuda.cuStreamSynchronize(second))
    return received.tolist()


def late_readers() -> dict[str, Any]:
    """What page-locked and pageable memory holds at each step, when work runs as late as it may."""
    cuda = begin()
    stream = checked(cuda.cuStreamCreate(1))
    device = checked(cuda.cuMemAlloc(4))
    address, value = pinned(cuda, 1)
    found: dict[str, Any] = {}
    value[0] = 1
    checked(cuda.cuMemcpyHtoDAsync(device, address, 4, stream))
    value[0] = 2  # too early: the copy has not read it
    checked(cuda.cuMemcpyDtoHAsync(address, device, 4, stream))
    checked(cuda.cuStreamSynchronize(stream))
    found["page-locked source"] = int(value[0])
    pageable = np.full(1, 3, np.int32)
    checked(cuda.cuMemcpyHtoDAsync(device, pageable.ctypes.data, 4, stream))
    pageable[0] = 4
    checked(cuda.cuMemcpyDtoHAsync(pageable.ctypes.data, device, 4, stream))
    found["pageable both ways"] = int(pageable[0])
    checked(cuda.cuMemsetD32Async(device, 5, 1, stream))
    checked(cuda.cuMemcpyDtoHAsync(address, device, 4, stream))
    found["before synchronising"] = int(value[0])
    found["query"] = code(cuda.cuStreamQuery(stream))
    checked(cuda.cuCtxSynchronize())
    found["after"] = int(value[0]), code(cuda.cuStreamQuery(stream))
    return found


def default_streams() -> dict[str, int]:
    cuda = begin()
    blocking, free = checked(cuda.cuStreamCreate(0)), checked(cuda.cuStreamCreate(1))
    device = checked(cuda.cuMemAlloc(4))
    address, value = pinned(cuda, 1)
    found = {}
    for name, stream in {"blocking": blocking, "non-blocking": free, "per-thread": cuda.CUstream(2)}.items():
        value[0] = 0
        checked(cuda.cuMemcpyHtoD(device, np.zeros(1, np.int32).ctypes.data, 4))
        checked(cuda.cuMemsetD32(device, 7, 1))  # on the legacy stream, and the host does not wait
        checked(cuda.cuMemcpyDtoHAsync(address, device, 4, stream))
        checked(cuda.cuStreamSynchronize(stream))
        found[name] = int(value[0])
    return found


def memory_errors() -> dict[str, int]:
    cuda = begin()
    stream = checked(cuda.cuStreamCreate(1))
    device = checked(cuda.cuMemAlloc(600 << 10))
    found = {
        "too much": code(cuda.cuMemAlloc(600 << 10)),
        "past the end": code(cuda.cuMemsetD8Async(int(device) + 1, 0, 600 << 10, stream)),
        "unknown": code(cuda.cuMemFree(4096)),
        "inside": code(cuda.cuMemFree(int(device) + 256)),
        "null": code(cuda.cuMemFree(0)),
        "free": code(cuda.cuMemFree(device)),
        "free again": code(cuda.cuMemFree(device)),
        "nothing": code(cuda.cuMemAlloc(0)),
        "stream": code(cuda.cuStreamDestroy(stream)),
        "stream again": code(cuda.cuStreamDestroy(stream)),
        "not here": code(cuda.cuMemAddressReserve(1 << 21, 0, 0, 0)),
    }
    host = np.zeros(100, np.uint8)
    found["register"] = code(cuda.cuMemHostRegister(host.ctypes.data, 100, 0))
    found["register again"] = code(cuda.cuMemHostRegister(host.ctypes.data, 100, 0))
    found["unregister"] = code(cuda.cuMemHostUnregister(host.ctypes.data))
    found["unregister again"] = code(cuda.cuMemHostUnregister(host.ctypes.data))
    checked(cuda.cuMemAlloc(1000))  # left behind
    return found


def freed_too_early() -> tuple[int, int, int]:
    """A stream frees memory that another one has still to fill."""
    cuda = begin()
    user, owner = (checked(cuda.cuStreamCreate(1)) for _ in range(2))
    device = checked(cuda.cuMemAllocAsync(64, owner))
    checked(cuda.cuStreamSynchronize(owner))
    checked(cuda.cuMemsetD8Async(device, 0, 64, user))
    checked(cuda.cuMemFreeAsync(device, owner))
    checked(cuda.cuStreamSynchronize(owner))
    return code(cuda.cuStreamSynchronize(user)), code(cuda.cuMemAlloc(4)), code(cuda.cuCtxSynchronize())


def capture() -> dict[str, Any]:
    """A graph of two streams, replayed on what its page-locked source then holds; and what a capture refuses."""
    cuda = begin()
    one, two, other = (checked(cuda.cuStreamCreate(1)) for _ in range(3))
    fork, join = checked(cuda.cuEventCreate(2)), checked(cuda.cuEventCreate(2))
    device = checked(cuda.cuMemAlloc(8))
    address, value = pinned(cuda, 2)
    relaxed, strict = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED, cuda.CUstreamCaptureMode(0)
    value[:] = 1, 0
    checked(cuda.cuStreamBeginCapture(one, strict))
    checked(cuda.cuMemcpyHtoDAsync(device, address, 4, one))
    checked(cuda.cuEventRecord(fork, one))
    checked(cuda.cuStreamWaitEvent(two, fork, 0))
    checked(cuda.cuMemcpyDtoDAsync(int(device) + 4, device, 4, two))
    checked(cuda.cuEventRecord(join, two))
    found: dict[str, Any] = {"status": int(checked(cuda.cuStreamIsCapturing(two)))}
    checked(cuda.cuStreamWaitEvent(one, join, 0))
    checked(cuda.cuMemcpyDtoHAsync(address + 4, int(device) + 4, 4, one))
    graph = checked(cuda.cuStreamEndCapture(one))
    found["nodes"] = checked(cuda.cuGraphGetNodes(graph))[1]
    exec_ = checked(cuda.cuGraphInstantiate(graph, 0))
    checked(cuda.cuGraphDestroy(graph))
    found["nothing ran"] = value.tolist()
    replayed = []
    for number in (11, 12):
        value[0] = number
        checked(cuda.cuGraphLaunch(exec_, other))
        checked(cuda.cuStreamSynchronize(other))
        replayed.append(int(value[1]))
    found["replayed"] = replayed
    checked(cuda.cuGraphExecDestroy(exec_))

    def refused(call: Any) -> tuple[int, int, int]:
        checked(cuda.cuStreamBeginCapture(one, strict))
        return code(call()), code(cuda.cuMemsetD8Async(device, 0, 1, one)), code(cuda.cuStreamEndCapture(one))

    pageable = np.zeros(1, np.int32)
    found["synchronise"] = refused(lambda: cuda.cuStreamSynchronize(one))
    found["allocate"] = refused(lambda: cuda.cuMemAlloc(4))
    found["pageable"] = refused(lambda: cuda.cuMemcpyDtoHAsync(pageable.ctypes.data, device, 4, one))
    checked(cuda.cuStreamBeginCapture(one, relaxed))
    found["allocate, relaxed"] = code(cuda.cuMemFree(checked(cuda.cuMemAlloc(4))))
    checked(cuda.cuEventRecord(fork, one))
    checked(cuda.cuStreamWaitEvent(two, fork, 0))
    checked(cuda.cuMemsetD8Async(device, 0, 1, two))
    found["unjoined"] = code(cuda.cuStreamEndCapture(one))
    found["afterwards"] = code(cuda.cuStreamSynchronize(one)), code(cuda.cuStreamSynchronize(two))
    return found


def host_functions() -> dict[str, Any]:
    """Python on a stream: after the copy before it, before the copy behind it, and without any right to call CUDA."""
    cuda = begin()
    stream = checked(cuda.cuStreamCreate(1))
    device = checked(cuda.cuMemAlloc(4))
    address, value = pinned(cuda, 1)
    value[0] = 5
    found: dict[str, Any] = {}

    def double(_: Any) -> None:
        seen = ctypes.c_int.from_address(int(device))
        found["on the device"] = seen.value
        seen.value *= 2
        found["cuMemAlloc"] = code(cuda.cuMemAlloc(4))

    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(double)
    function = cuda.CUhostFn(ctypes.cast(callback, ctypes.c_void_p).value)
    checked(cuda.cuMemcpyHtoDAsync(device, address, 4, stream))
    checked(cuda.cuLaunchHostFunc(stream, function, 0))
    checked(cuda.cuMemcpyDtoHAsync(address, device, 4, stream))
    checked(cuda.cuStreamSynchronize(stream))
    found["copied back"] = int(value[0])
    return found


def overlapping_sleeps() -> float:
    cuda = begin()
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: time.sleep(0.1))
    function = cuda.CUhostFn(ctypes.cast(callback, ctypes.c_void_p).value)
    streams = [checked(cuda.cuStreamCreate(1)) for _ in range(2)]
    start, end = (checked(cuda.cuEventCreate(0)) for _ in range(2))
    checked(cuda.cuEventRecord(start, streams[0]))
    for stream in streams:
        checked(cuda.cuLaunchHostFunc(stream, function, 0))
    checked(cuda.cuEventRecord(end, streams[0]))
    checked(cuda.cuCtxSynchronize())
    milliseconds: float = checked(cuda.cuEventElapsedTime(start, end))
    return milliseconds


def faults() -> dict[str, Any]:
    cuda = begin()
    stream = checked(cuda.cuStreamCreate(1))
    found: dict[str, Any] = {"second": [code(cuda.cuMemAlloc(4)) for _ in range(3)]}
    standin.faults("*:2:999")
    found["any"] = [code(cuda.cuMemAlloc(4)) for _ in range(3)]
    device = checked(cuda.cuMemAlloc(64))
    standin.faults("@fill:1:719")
    found["discovered"] = [code(cuda.cuMemsetD8Async(device, 0, 64, stream)), code(cuda.cuStreamSynchronize(stream))]
    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: found.update(ran=True))
    function = cuda.CUhostFn(ctypes.cast(callback, ctypes.c_void_p).value)
    found["sticky"] = [code(cuda.cuLaunchHostFunc(stream, function, 0)), code(cuda.cuMemAlloc(4))]
    found["free"] = code(cuda.cuMemFree(device))
    found["reset"] = code(cuda.cuDevicePrimaryCtxReset(0))
    return found


# ---- the tests


@pytest.mark.parametrize("order", ["threads", "late"])
def test_event_orders_two_streams(order: str) -> None:
    outcome = standin.run(upload_and_forget, True, order=order, delay_us=2000)
    assert outcome.value == list(range(10))
    up, down = outcome.executed("copy")
    assert (up["direction"], down["direction"]) == ("HtoD", "DtoH")
    assert up["end"] <= down["begin"]


def test_forgotten_event_gives_a_wrong_result() -> None:
    assert standin.run(upload_and_forget, False, order="late").value == [-1] * 10


def test_memory_is_read_and_written_when_the_stream_gets_there() -> None:
    assert standin.run(late_readers, order="late").value == {
        "page-locked source": 2,
        "pageable both ways": 3,
        "before synchronising": 2,
        "query": NOT_READY,
        "after": (5, 0),
    }


def test_legacy_stream_orders_blocking_streams_only() -> None:
    found = standin.run(default_streams, order="late").value
    assert found == {"blocking": 7, "non-blocking": 0, "per-thread": 7}


def test_memory_is_accounted() -> None:
    outcome = standin.run(memory_errors, memory=1 << 20)
    assert outcome.value == {
        "too much": 2,
        "past the end": 1,
        "unknown": 1,
        "inside": 1,
        "null": 0,
        "free": 0,
        "free again": 1,
        "nothing": 1,
        "stream": 0,
        "stream again": 400,
        "not here": 801,
        "register": 0,
        "register again": 712,
        "unregister": 0,
        "unregister again": 713,
    }
    assert [(each["call"], each["bytes"]) for each in outcome.leaks["allocations"]] == [("cuMemAlloc", 1000)]
    assert outcome.leaks["devices"][0]["peak"] == 600 << 10
    assert [line["result"] for line in outcome.trace if line["call"] == "cuMemAddressReserve"] == [801]


def test_use_after_free_is_an_illegal_address_for_good() -> None:
    assert standin.run(freed_too_early, order="late").value == (ILLEGAL_ADDRESS,) * 3


@pytest.mark.parametrize("order", ["threads", "late"])
def test_capture_and_replay(order: str) -> None:
    found = standin.run(capture, order=order, delay_us=500).value
    assert found["status"] == 1
    assert found["nodes"] == 3
    assert found["nothing ran"] == [1, 0]
    assert found["replayed"] == [11, 12]
    for refused in ("synchronise", "allocate", "pageable"):
        assert found[refused] == (CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED, CAPTURE_INVALIDATED), refused
    assert found["allocate, relaxed"] == 0
    assert found["unjoined"] == 904
    assert found["afterwards"] == (0, 0)


@pytest.mark.parametrize("order", ["threads", "late"])
def test_host_functions_run_in_their_place(order: str) -> None:
    found = standin.run(host_functions, order=order, delay_us=500).value
    assert found == {"on the device": 5, "cuMemAlloc": 800, "copied back": 10}


def test_streams_overlap_and_events_measure() -> None:
    outcome = standin.run(overlapping_sleeps)
    first, second = outcome.executed("host")
    assert second["begin"] < first["end"]
    assert 90 < outcome.value < 1000


def test_faults() -> None:
    outcome = standin.run(faults, fault="cuMemAlloc:2:2")
    assert outcome.value == {
        "second": [0, 2, 0],
        "any": [0, 999, 0],
        "discovered": [0, 719],
        "sticky": [719, 719],
        "free": 719,
        "reset": 0,
    }
    assert not outcome.leaks["allocations"]

"""Results on the GPU: of the picture's own library, from its own context, or of ours; through the whole pipeline."""

from __future__ import annotations

import gc
import importlib
import importlib.util
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.runtime.gpu.device_array import as_host_array, borrow, is_device_array
from srgan_trt.runtime.gpu.device_result import DeviceArray, host_result, new_result
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

from .array_producers import Adopted, ByDlpack, ByInterface, ByNamespace, OnTheHost, Producer, context, read

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="results on a GPU need cuda-core")
# Importing these would load the driver, which this process lacks.
needs_pycuda = pytest.mark.skipif(
    importlib.util.find_spec("pycuda") is None,
    reason="pycuda is not installed: python -m tests.cuda_driver.pycuda_build",
)
needs_numba = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed: pip install numba-cuda"
)

PICTURE = handmade.noise(30, 41, 3)


# ---- what runs in the process of the stand-in


def enlarged(plan: Plan, image: Any, *, stream: Any = None) -> Any:
    """What an Upscaler does with an array on the GPU."""
    from srgan_trt.runtime.gpu import tiling
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    tiling.TILE = 64
    script = Script()
    pipeline = GpuPipeline(plan, source=SourceDouble(plan.path, script))
    with borrow(image, stream=stream) as picture:
        schedule = handmade.scheduled(pipeline, picture.image, tile=24)
        result = new_result(picture, plan.spec.scale)
        assert pipeline.run(picture.image, result.image, schedule, stream=picture.stream) == 0
    pipeline.close()
    assert script.violations == []
    return result.take()


def of_no_known_library(plan: Plan, kind: str, levels: np.ndarray) -> dict[str, Any]:
    context()
    producer = Producer()
    if kind == "interface":
        image: Any = ByInterface(producer, levels, stream=int(producer.stream))
    else:
        image = (ByNamespace if kind == "namespace" else ByDlpack)(producer, levels)
    large = enlarged(plan, image)
    found: dict[str, Any] = {"type": type(large).__name__, "is": is_device_array(large)}
    if isinstance(large, Adopted):
        found["levels"] = read(large.view.ptr, large.view.shape, large.view.dtype)
    else:
        facts = large.__cuda_array_interface__
        found["levels"] = read(facts["data"][0], facts["shape"], facts["typestr"])
        found["same by both"] = same_by_dlpack(large)
    del image
    gc.collect()
    producer.close()
    return found


def same_by_dlpack(array: Any) -> bool:
    from cuda.core.utils import StridedMemoryView

    facts = array.__cuda_array_interface__
    view = StridedMemoryView.from_dlpack(array, stream_ptr=-1)
    seen = (view.ptr, view.shape, view.dtype, view.device_id, view.readonly)
    return bool(seen == (facts["data"][0], facts["shape"], np.dtype(facts["typestr"]), 0, False))


def of_pycuda(plan: Plan, levels: np.ndarray, primary: bool, way: str) -> dict[str, Any]:
    """way: "own stream" is told to `borrow`; "default stream": the picture is made by work there, as by pycuda's own
    arithmetic; "ready"; "pool": its memory is of a pool of pycuda's."""
    import pycuda.driver as driver
    from pycuda import gpuarray, tools

    driver.init()
    device = driver.Device(0)
    theirs = device.retain_primary_context() if primary else device.make_context()
    if primary:
        theirs.push()
    stream = driver.Stream() if way == "own stream" else None
    host = driver.pagelocked_empty(levels.shape, levels.dtype)
    host[...] = levels
    pool = tools.DeviceMemoryPool() if way == "pool" else None
    image = gpuarray.empty(levels.shape, levels.dtype, allocator=pool.allocate if pool else driver.mem_alloc)
    if way in ("ready", "pool"):
        image.set(host)
    else:
        image.set_async(host, stream=stream)
    large = enlarged(plan, image, stream=stream)
    found = {
        "type": type(large) is gpuarray.GPUArray,
        "kept": driver.Context.get_current() == theirs,
        "levels": large.get(),
        "used by pycuda": bool((large.copy().get() == large.get()).all()),
        "of the pool": pool is None or pool.active_blocks == 2,
    }
    del image, large, host, stream
    if pool is not None:
        pool.stop_holding()
    del pool
    gc.collect()
    found["left"] = standin.leaks()["allocations"]
    theirs.pop()
    if not primary:
        theirs.detach()
    return found


def in_a_block_still_in_use(plan: Plan, levels: np.ndarray) -> dict[str, Any]:
    """The pool hands out memory that work on the default stream has yet to write to."""
    import pycuda.driver as driver
    from pycuda import gpuarray, tools

    driver.init()
    theirs = driver.Device(0).make_context()
    pool = tools.DeviceMemoryPool()
    image = gpuarray.to_gpu(levels, allocator=pool.allocate)
    junk = driver.pagelocked_empty(levels.nbytes * plan.spec.scale**2, np.uint8)
    junk[...] = 99
    used = gpuarray.empty(junk.shape, np.uint8, allocator=pool.allocate)
    used.set_async(junk)
    address = int(used.gpudata)
    del used
    large = enlarged(plan, image)
    found = {"same block": int(large.gpudata) == address}
    theirs.synchronize()
    found["levels"] = large.get()
    del image, large, junk
    pool.stop_holding()
    del pool
    gc.collect()
    theirs.pop()
    theirs.detach()
    return found


def without_pycudas_context() -> str:
    """The picture's context is nobody's in this thread when the result is to be made."""
    import pycuda.driver as driver
    from pycuda import gpuarray

    driver.init()
    theirs = driver.Device(0).make_context()
    image = gpuarray.to_gpu(PICTURE)
    theirs.pop()
    try:
        with borrow(image) as picture:
            new_result(picture, 4)
        message = "it was made"
    except DeviceError as error:
        message = str(error)
    theirs.push()
    del image, picture
    gc.collect()
    theirs.pop()
    theirs.detach()
    return message


def pycudas_other_gpu() -> str:
    """The picture is on one GPU, and pycuda works on another one."""
    import pycuda.driver as driver
    from pycuda import gpuarray

    driver.init()
    first = driver.Device(0).make_context()
    image = gpuarray.to_gpu(PICTURE)
    second = driver.Device(1).make_context()
    try:
        with borrow(image) as picture:
            new_result(picture, 4)
        message = "it was made"
    except DeviceError as error:
        message = str(error)
    second.pop()
    del image, picture
    gc.collect()
    first.pop()
    second.detach()
    first.detach()
    return message


def on_the_second_gpu() -> dict[str, Any]:
    ours = context("second GPU")
    producer = Producer()
    image = ByDlpack(producer, PICTURE)
    with borrow(image) as picture:
        result = new_result(picture, 2)
        array = result.take()
    there = [each for each in standin.leaks()["allocations"] if each["space"] == "device"]
    found = {
        "devices": (picture.image.device, result.image.device, array.device),
        "shape": array.shape,
        "memory": sorted((each["device"], each["bytes"]) for each in there),
        "context kept": int(producer.checked(producer.driver.cuCtxGetCurrent())) == int(ours),
    }
    del image, picture, result, array
    gc.collect()
    producer.close()
    return found


def of_numba(plan: Plan, levels: np.ndarray, own_stream: bool) -> dict[str, Any]:
    cuda: Any = importlib.import_module("numba.cuda")

    stream = cuda.stream() if own_stream else 0
    host = cuda.pinned_array(levels.shape, levels.dtype)
    host[...] = levels
    image = cuda.to_device(host, stream=stream)
    large = enlarged(plan, image)
    return {"type": type(large) is type(image), "levels": large.copy_to_host()}


def too_large(library: str) -> tuple[str, str]:
    """A result of more bytes than the GPU has."""
    levels = np.zeros((100, 100, 3), np.uint8)
    if library == "pycuda":
        import pycuda.driver as driver
        from pycuda import gpuarray

        driver.init()
        theirs = driver.Device(0).make_context()
        image: Any = gpuarray.to_gpu(levels)
    else:
        context()
        producer = Producer()
        image = ByDlpack(producer, levels)
    try:
        with borrow(image) as picture:
            new_result(picture, 100)
    except DeviceError as error:
        found = type(error).__name__, str(error)
    del image, picture
    gc.collect()
    if library == "pycuda":
        theirs.pop()
        theirs.detach()
    else:
        producer.close()
    return found


def lifetimes() -> dict[str, Any]:
    from cuda.core.utils import StridedMemoryView

    context()

    def alive() -> int:
        gc.collect()
        return len(standin.leaks()["allocations"])

    found: dict[str, Any] = {}
    with DeviceArray((4, 5, 3), np.dtype(np.uint16), 0) as array:
        found["bytes"] = standin.leaks()["allocations"][0]["bytes"]
        found["same by both"] = same_by_dlpack(array)
        view = StridedMemoryView.from_dlpack(array, stream_ptr=-1)
        capsule = array.__dlpack__()
        found["text"] = repr(array)
    found["after close"] = alive()
    del view
    found["after the view"] = alive()
    del capsule  # which nobody took
    found["after the capsule"] = alive()
    array.close()
    for name in ("__cuda_array_interface__", "__dlpack__"):
        try:
            found[name] = getattr(array, name)()
        except DeviceError as error:
            found[name] = str(error)
    dropped = DeviceArray((4, 5), np.dtype(np.uint8), 0)
    for wish in ({"copy": True}, {"dl_device": (1, 0)}):
        try:
            found[str(wish)] = dropped.__dlpack__(**wish)
        except BufferError as error:
            found[str(wish)] = str(error)
    found["its own device"] = type(dropped.__dlpack__(dl_device=(2, 0), copy=False, stream=1)).__name__
    del dropped
    found["after dropping"] = alive()
    return found


def freed_while_it_is_read() -> bool:
    """Whoever took the array by DLPack drops it while the GPU still reads it; then other memory is written."""
    from cuda.core.utils import StridedMemoryView

    context()
    producer = Producer()
    driver, checked = producer.driver, producer.checked
    array = DeviceArray((1000,), np.dtype(np.uint8), 0)
    view = StridedMemoryView.from_dlpack(array, stream_ptr=-1)
    checked(driver.cuMemsetD8(view.ptr, 7, 1000))
    checked(driver.cuCtxSynchronize())
    target = checked(driver.cuMemAlloc(1000))
    checked(driver.cuMemcpyDtoDAsync(target, view.ptr, 1000, producer.stream))
    array.close()
    del array, view
    gc.collect()
    checked(driver.cuStreamSynchronize(producer.stream))
    same = bool((read(int(target), (1000,), np.uint8) == 7).all())
    checked(driver.cuMemFree(target))
    producer.close()
    return same


def failing_calls() -> dict[str, int]:
    """Every call of the driver fails once while a picture is borrowed and its result made, taken and dropped: how many
    of the runs ended how."""
    from srgan_trt.errors import SrganTrtError

    context()
    producer = Producer()
    image = ByDlpack(producer, PICTURE)
    silent = ByInterface(producer, PICTURE)
    ends: dict[str, int] = {}

    def run(array: Any) -> str:
        try:
            with borrow(array) as picture:
                new_result(picture, 4).take()
        except SrganTrtError as error:
            return type(error).__name__
        return "done"

    run(image)  # what is loaded once is loaded now
    for array in (image, silent):
        number, end = 0, ""
        while number < 100:
            number += 1
            standin.faults(f"*:{number}:2")
            before = standin.calls()
            end = run(array)
            gc.collect()
            made = standin.calls() - before
            standin.faults("")
            ends[end] = ends.get(end, 0) + 1
            if made < number:
                break
        assert end == "done"
    del image, silent, array
    gc.collect()
    left = standin.leaks()
    producer.close()
    return {**ends, "allocations": len([each for each in left["allocations"] if each["space"] == "device"])}


# ---- the tests


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


def check(outcome: standin.Outcome, plan: Plan, levels: np.ndarray) -> None:
    """The result is the picture that the plan makes, with as many axes, and nothing is left behind."""
    found = outcome.value["levels"]
    large = handmade.expected(plan, np.atleast_3d(levels))
    assert found.dtype == levels.dtype
    assert found.shape == (levels.shape[0] * 4, levels.shape[1] * 4, *levels.shape[2:])
    assert handmade.differences(found.reshape(large.shape), large).max() <= 1
    assert not outcome.leaks["allocations"]


@pytest.mark.parametrize("order", ["late", "threads"])
@pytest.mark.parametrize("kind", ["interface", "dlpack", "namespace"])
def test_of_no_known_library(plan: Plan, kind: str, order: str) -> None:
    levels = PICTURE[..., 1].copy() if kind == "interface" else PICTURE
    outcome = standin.run(
        of_no_known_library, plan, kind, levels, kernels=host_build.library(), order=order, delay_us=300
    )
    check(outcome, plan, levels)
    assert outcome.leaks["streams"] == outcome.leaks["events"] == 0
    if kind == "namespace":
        assert outcome.value["type"] == "Adopted"
    else:
        assert (outcome.value["type"], outcome.value["is"]) == ("DeviceArray", True)
        assert outcome.value["same by both"]


@needs_pycuda
@pytest.mark.parametrize("order", ["late", "threads"])
@pytest.mark.parametrize("way", ["ready", "default stream", "own stream", "pool"])
@pytest.mark.parametrize("primary", [True, False])
def test_of_pycuda(plan: Plan, primary: bool, way: str, order: str) -> None:
    outcome = standin.run(
        of_pycuda, plan, PICTURE, primary, way, kernels=host_build.library(), order=order, delay_us=300
    )
    check(outcome, plan, PICTURE)
    assert outcome.value["type"]
    assert outcome.value["kept"]
    assert outcome.value["used by pycuda"]
    assert outcome.value["of the pool"]
    assert outcome.value["left"] == []
    assert "failed" not in outcome.stderr


@needs_pycuda
def test_result_in_a_block_that_work_still_writes_to(plan: Plan) -> None:
    outcome = standin.run(in_a_block_still_in_use, plan, PICTURE, kernels=host_build.library(), order="late")
    assert outcome.value["same block"]
    check(outcome, plan, PICTURE)


@needs_pycuda
def test_of_pycuda_without_its_context() -> None:
    outcome = standin.run(without_pycudas_context)
    assert "pycuda cannot make an array for the result" in outcome.value
    assert "make its context current in this thread" in outcome.value
    assert not outcome.leaks["allocations"]


@needs_pycuda
def test_of_pycuda_while_it_works_on_another_gpu() -> None:
    outcome = standin.run(pycudas_other_gpu, devices=2)
    assert outcome.value == (
        "the picture is on GPU 0, and its library makes arrays on GPU 1 now: "
        "make the context of the picture current in this thread"
    )
    assert not outcome.leaks["allocations"]


def test_on_the_second_gpu() -> None:
    outcome = standin.run(on_the_second_gpu, devices=2)
    assert outcome.value == {
        "devices": (1, 1, 1),
        "shape": (60, 82, 3),
        "memory": [(1, PICTURE.nbytes), (1, 4 * PICTURE.nbytes)],
        "context kept": True,
    }
    assert not outcome.leaks["allocations"]


@needs_numba
@pytest.mark.parametrize("order", ["late", "threads"])
@pytest.mark.parametrize("own_stream", [True, False])
def test_of_numba(plan: Plan, own_stream: bool, order: str) -> None:
    outcome = standin.run(of_numba, plan, PICTURE, own_stream, kernels=host_build.library(), order=order, delay_us=300)
    assert outcome.value["type"]
    assert handmade.differences(outcome.value["levels"], handmade.expected(plan, PICTURE)).max() <= 1


@pytest.mark.parametrize("library", ["ours", pytest.param("pycuda", marks=needs_pycuda)])
def test_too_large(library: str) -> None:
    outcome = standin.run(too_large, library, memory=64 << 20)
    kind, message = outcome.value
    assert kind == "DeviceMemoryError"
    assert "the GPU has no memory" in message
    assert not outcome.leaks["allocations"]
    assert outcome.leaks["streams"] == 0


def test_lifetimes_of_our_own_array() -> None:
    outcome = standin.run(lifetimes)
    assert outcome.value == {
        "bytes": 120,
        "same by both": True,
        "text": "DeviceArray(shape=(4, 5, 3), dtype=uint16, device=0)",
        "after close": 1,
        "after the view": 1,
        "after the capsule": 0,
        "__cuda_array_interface__": "this array was closed: upscale again",
        "__dlpack__": "this array was closed: upscale again",
        "{'copy': True}": "this array is not copied by DLPack: take it as it is, and copy that",
        "{'dl_device': (1, 0)}": "this array is on device (2, 0), not (1, 0)",
        "its own device": "PyCapsule",
        "after dropping": 0,
    }


@pytest.mark.parametrize("order", ["late", "threads"])
def test_our_own_array_is_not_freed_under_its_reader(order: str) -> None:
    outcome = standin.run(freed_while_it_is_read, order=order, delay_us=2000)
    assert outcome.value
    assert not outcome.leaks["allocations"]


def test_a_failing_driver() -> None:
    outcome = standin.run(failing_calls)
    ends = outcome.value
    assert set(ends) == {"done", "DeviceMemoryError", "allocations"}
    assert ends["DeviceMemoryError"] > 10
    assert ends["allocations"] == 0
    assert outcome.leaks["streams"] == outcome.leaks["events"] == 0


class OfANamespace(OnTheHost):
    """NumPy follows the array API standard itself."""

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return np


def test_results_on_the_host_are_of_the_library() -> None:
    large = np.zeros((4, 4, 3), np.uint8)
    assert host_result(OnTheHost(PICTURE), large) is large
    taken = host_result(OfANamespace(PICTURE), large)
    assert taken is not large
    assert np.shares_memory(taken, large)


def test_jax_on_the_host() -> None:
    numpy = pytest.importorskip("jax.numpy", reason="jax is not installed: pip install jax")
    image = numpy.asarray(PICTURE)
    array = as_host_array(image)
    assert not is_device_array(image)
    assert array is not None
    assert (array == PICTURE).all()
    large = host_result(image, np.repeat(array, 2, axis=0))
    assert type(large) is type(image)
    assert (np.asarray(large) == PICTURE.repeat(2, axis=0)).all()

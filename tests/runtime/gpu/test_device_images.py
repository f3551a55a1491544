"""Pictures that lie on the GPU already: nothing of them crosses the bus, and the caller's stream is respected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.imaging.tiles import plan_tiles
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")


@dataclass(frozen=True)
class Image:
    """The fields of runtime/gpu/device_array.py's DeviceImage that the pipeline reads."""

    address: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    device: int = 0


# ---- what runs in the process of the stand-in


def on_the_device(plan: Plan, image: np.ndarray, where: str, out_on_device: bool) -> dict[str, Any]:
    """The picture is copied to the device on the caller's stream, which has not got there when the pipeline is called;
    what it makes is copied back on the same stream.

    where: "ours", the context of the pipeline; "theirs", one of the caller's; "default", the legacy stream of theirs;
    "pool", memory of a pool, which has no context, whichever is current.
    """
    from srgan_trt.runtime.gpu import tiling
    from srgan_trt.runtime.gpu.device import bindings, checked
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    tiling.TILE = 64
    driver = bindings()
    checked(driver.cuInit(0))
    context = checked(driver.cuDevicePrimaryCtxRetain(0) if where == "ours" else driver.cuCtxCreate(None, 0, 0))
    checked(driver.cuCtxSetCurrent(context))
    stream = driver.CUstream(0) if where == "default" else checked(driver.cuStreamCreate(1))

    height, width, channels = image.shape
    large = (height * 4, width * 4, channels)
    out = np.zeros(large, image.dtype)
    pinned = checked(driver.cuMemHostAlloc(image.nbytes, 0))
    np.frombuffer((np.ctypeslib.ctypes.c_ubyte * image.nbytes).from_address(pinned), image.dtype)[:] = image.ravel()

    def allocated(size: int) -> int:
        return int(checked(driver.cuMemAllocAsync(size, stream) if where == "pool" else driver.cuMemAlloc(size)))

    addresses = [allocated(size) for size in (image.nbytes, out.nbytes)]
    script = Script()
    pipeline = GpuPipeline(plan, source=SourceDouble(plan.path, script))

    checked(driver.cuMemcpyHtoDAsync(addresses[0], pinned, image.nbytes, stream))
    source = Image(addresses[0], image.shape, image.dtype)
    target: Any = Image(addresses[1], large, image.dtype) if out_on_device else out
    standin.trace(forget=True)
    not_finite = pipeline.run(source, target, handmade.scheduled(pipeline, image, tile=24), stream=int(stream))
    seen = [line for line in standin.trace() if line["kind"] == "copy"]
    now = checked(driver.cuCtxGetCurrent())
    if out_on_device:
        checked(driver.cuMemcpyDtoHAsync(out.ctypes.data, addresses[1], out.nbytes, stream))
        checked(driver.cuStreamSynchronize(stream))
    pipeline.close()
    for address in addresses:
        checked(driver.cuMemFree(address))
    checked(driver.cuMemFreeHost(pinned))
    return {
        "out": out,
        "not_finite": not_finite,
        "script": script,
        "copies": [(line["direction"], line["bytes"]) for line in seen],
        "by": {line["call"] for line in seen if line["direction"] == "DtoD"},
        "context kept": int(now) == int(context),
    }


# ---- the tests


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


@pytest.mark.parametrize("order", ["threads", "late"])
@pytest.mark.parametrize("where", ["ours", "theirs", "default", "pool"])
@pytest.mark.parametrize("out_on_device", [True, False])
def test_image_on_the_device(plan: Plan, order: str, where: str, out_on_device: bool) -> None:
    image = handmade.noise(50, 61, 1 if where == "default" else 3, dtype=np.uint16 if where == "ours" else np.uint8)
    outcome = standin.run(
        on_the_device,
        plan,
        image,
        where,
        out_on_device,
        kernels=host_build.library(),
        order=order,
        delay_us=500,
        multiprocessors=2,
    )
    found = outcome.value
    assert handmade.differences(found["out"], handmade.expected(plan, image)).max() <= 1 + (image.dtype == np.uint16)
    assert found["not_finite"] == 0
    assert found["context kept"]
    assert found["script"].violations == []
    assert not outcome.leaks["allocations"]
    tiles = len(plan_tiles(50, 61, tile=(24, 24), halo=handmade.HALO).tiles)
    # But for the caller's own copy: table of tiles, counts of values that are not finite, a canvas of the host's.
    over_the_bus = [each for each in found["copies"] if each[0] != "DtoD" and each != ("HtoD", image.nbytes)]
    canvas = [each for each in over_the_bus if each not in (("HtoD", 32 * tiles), ("DtoH", 4 * tiles))]
    assert len(over_the_bus) - len(canvas) == 2
    assert {direction for direction, _ in canvas} <= {"DtoH"}
    assert sum(size for _, size in canvas) == (0 if out_on_device else found["out"].nbytes)
    inside = [size for direction, size in found["copies"] if direction == "DtoD"]
    if where in ("ours", "pool"):
        assert inside == []
    else:  # memory of another context is out of the kernels' reach
        assert found["by"] == {"cuMemcpyPeerAsync"}
        assert inside == [image.nbytes, found["out"].nbytes][: 1 + out_on_device]

"""`Upscaler` and arrays of other libraries, on the CPU and on the stand-in's GPU; and where a GPU's memory is short."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan, load_plan
from srgan_trt.errors import DeviceError, PictureError, SrganTrtError
from srgan_trt.runtime.devices import gpu_packages
from srgan_trt.upscaler import Upscaler

from .cuda_driver import build, standin
from .cuda_host import build as host
from .handmade import HALO, differences, expected, noise, small_plan
from .runtime.gpu.array_producers import ByDlpack, ByInterface, Producer, read
from .runtime.gpu.test_device_array import OnTheHost, context

with_stand_in = pytest.mark.skipif(
    bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}"
)
PICTURE = noise(60, 75, 3)
LARGE = noise(110, 120, 3)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"), default_halo=HALO)


class TestArraysOnTheHost:
    def test_its_floats_and_another_size(self, plan: Plan) -> None:
        values = (PICTURE / np.float32(255)).astype(np.float32)
        with Upscaler(plan, precision="fp32", device="cpu") as up:
            large = up(OnTheHost(values), scale=2)
        assert (large.dtype, large.shape) == (np.float32, (120, 150, 3))

    def test_another_library_s_array_is_read(self, plan: Plan) -> None:
        with Upscaler(plan, precision="fp32", device="cpu") as up:
            assert differences(up(OnTheHost(PICTURE)), expected(plan, PICTURE)).max() <= 1

    def test_it_gives_no_file(self, plan: Plan, tmp_path: Path) -> None:
        with Upscaler(plan, device="cpu") as up, pytest.raises(PictureError, match="leave output out"):
            up(OnTheHost(PICTURE), output=tmp_path / "large.png")

    def test_a_stream_is_for_gpus(self, plan: Plan) -> None:
        with Upscaler(plan, device="cpu") as up, pytest.raises(SrganTrtError, match="stream is for arrays on a GPU"):
            up(PICTURE, stream=1)


# ---- what runs in the process of the stand-in


def doubled(*, tile: int = 64, **script: Any) -> Any:
    """From now on engines are doubles; returns what they note."""
    import srgan_trt.runtime.tensorrt.cache as engine_cache
    from srgan_trt.runtime.gpu import tiling

    from .tensorrt_double import Script, SourceDouble

    tiling.TILE = tile
    noted = Script(**script)
    engine_cache.EngineCache = lambda plan, **_: SourceDouble(plan.path, noted)  # type: ignore[assignment,misc]
    return noted


def on_the_gpu(path: Path, kind: Callable[..., Any], device: str) -> tuple[np.ndarray, str]:
    doubled()
    context()
    producer = Producer()
    options = {"stream": int(producer.stream)} if kind is ByInterface else {}
    with Upscaler(load_plan(path), device=device, precision="fp32") as up:
        large = up(kind(producer, PICTURE, **options))
        found = read(large.__cuda_array_interface__["data"][0], large.shape, large.dtype)
        name = type(large).__name__
        large.close()
    producer.close()
    return found, name


def short_of_memory(path: Path, context_bytes: int, tile: int | None) -> dict[str, Any]:
    noted = doubled(tile=128, context_bytes=context_bytes)
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    with Upscaler(load_plan(path), device="cuda", precision="fp32", tile=tile) as up:
        large = up(LARGE)
        return {"large": large, "tile": up.info["tile"], "log": log.getvalue(), "violations": noted.violations}


def nothing_to_be_built(path: Path) -> dict[str, Any]:
    doubled(absent={name: DeviceError("TensorRT-RTX does not build for 9.0") for name in ("fp16", "fp32")})
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    with Upscaler(load_plan(path)) as up:
        larges = [up(PICTURE) for _ in range(2)]
        return {"larges": larges, "info": up.info, "log": log.getvalue()}


# ---- the tests


def stopped(path: Path) -> np.ndarray:
    """The picture after one whose progress raised."""
    doubled(tile=24)

    class Enough(RuntimeError):
        pass

    def progress(done: int, total: int) -> None:
        raise Enough

    with Upscaler(load_plan(path), device="cuda", precision="fp32") as up:
        for _ in range(3):
            with pytest.raises(Enough):
                up(PICTURE, progress=progress)
        large: np.ndarray = up(PICTURE)
        return large


def run(function: Callable[..., Any], *arguments: Any, **options: Any) -> standin.Outcome:
    outcome = standin.run(function, *arguments, kernels=host.library(), **options)
    assert not outcome.leaks["allocations"]
    return outcome


@with_stand_in
@pytest.mark.parametrize("order", ["threads", "late"])
@pytest.mark.parametrize("kind", [ByDlpack, ByInterface])
def test_an_array_on_the_gpu_stays_there(plan: Plan, kind: Any, order: str) -> None:
    outcome = run(on_the_gpu, plan.path, kind, "cuda", order=order)
    found, name = outcome.value
    assert name == "DeviceArray"
    assert differences(found, expected(plan, PICTURE)).max() <= 1
    # The picture of 60 x 75 and its result never cross the bus: what does is the producer's, the test's and tables.
    ups = [line["bytes"] for line in outcome.executed("copy") if line["direction"] == "HtoD"]
    assert ups.count(PICTURE.nbytes) == 1  # the producer's own


@with_stand_in
def test_an_array_on_a_gpu_that_is_not_used_is_refused(plan: Plan) -> None:
    with pytest.raises(standin.StandInError, match="the array is on GPU 0, this Upscaler on cpu: open one with"):
        run(on_the_gpu, plan.path, ByDlpack, "cpu")
    with pytest.raises(standin.StandInError, match="the array is on GPU 0, this Upscaler on cuda:1"):
        run(on_the_gpu, plan.path, ByDlpack, "cuda:1", devices=2)


@with_stand_in
def test_of_several_gpus_the_one_that_has_the_array_is_taken(plan: Plan) -> None:
    found, _ = run(on_the_gpu, plan.path, ByDlpack, "cuda:1,0", devices=2).value
    assert differences(found, expected(plan, PICTURE)).max() <= 1


@with_stand_in
@pytest.mark.parametrize("tile", [None, 100])
def test_where_memory_is_short_tiles_get_smaller_and_the_picture_stays(plan: Plan, tile: int | None) -> None:
    found = run(short_of_memory, plan.path, 10 << 20, tile, memory=16 << 20).value
    assert found["violations"] == []
    assert differences(found["large"], expected(plan, LARGE)).max() <= 1
    assert max(found["tile"]) <= 64
    assert "going on with tiles of" in found["log"]


@with_stand_in
def test_a_picture_whose_progress_raises_is_stopped_and_the_next_one_comes_out(plan: Plan) -> None:
    assert differences(run(stopped, plan.path).value, expected(plan, PICTURE)).max() <= 1


@with_stand_in
def test_memory_for_nothing_is_an_error(plan: Plan) -> None:
    with pytest.raises(standin.StandInError, match="DeviceMemoryError"):
        run(short_of_memory, plan.path, 64 << 20, None, memory=2 << 20)


@with_stand_in
def test_where_no_engine_can_be_built_the_cpu_goes_on_and_that_is_said_once(plan: Plan) -> None:
    found = run(nothing_to_be_built, plan.path).value
    for large in found["larges"]:
        assert differences(large, expected(plan, PICTURE)).max() <= 4  # bf16, where the CPU has it
    assert found["info"]["device"] == "cpu"
    assert [note for note in found["info"]["notes"] if "TensorRT-RTX does not build for 9.0" in note]
    assert found["log"].count("TensorRT-RTX does not build for 9.0") == 1


def test_a_closed_upscaler_says_so(plan: Plan) -> None:
    up = Upscaler(plan, device="cpu")
    up.close()
    with pytest.raises(DeviceError, match="closed"):
        up(OnTheHost(PICTURE))

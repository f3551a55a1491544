"""Pictures through the GPU pipeline on the stand-in driver: right levels in the right order, nothing left behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt._pixels import pack, unpack
from srgan_trt.compiler.plan import Plan
from srgan_trt.imaging.tiles import TilePlan, plan_tiles
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")


# ---- what runs in the process of the stand-in


def upscaled(plan: Plan, jobs: list[dict[str, Any]], script: Script, **options: Any) -> dict[str, Any]:
    """Each of `jobs` (image, tiles) through one pipeline, one after another."""
    from srgan_trt.runtime.gpu_pipeline import GpuPipeline

    source = SourceDouble(plan.path, script, fixed_shape=plan.spec.fixed_shape)
    pipeline = GpuPipeline(plan, source=source, **options)
    standin.trace(forget=True)
    results, progress = [], []
    try:
        for job in jobs:
            image = job["image"]
            out = np.zeros((image.shape[0] * 4, image.shape[1] * 4, image.shape[2]), image.dtype)
            told: list[int] = []
            not_finite = pipeline.run(image, out, job["tiles"], progress=told.append)
            results.append((out, not_finite))
            progress.append(told)
    finally:
        pipeline.close()
    return {"results": results, "progress": progress, "script": script, "info": pipeline.info, "trace": standin.trace()}


# ---- the reference


def by_cpu_kernels(plan: Plan, image: NDArray[Any], tiles: TilePlan, element: Any = np.float32) -> NDArray[Any]:
    """The same windows by the CPU's kernels and onnxruntime, one after another."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(plan.path), providers=["CPUExecutionProvider"])
    spec, levels = plan.spec, float(np.iinfo(image.dtype).max)
    (low, high), (out_low, out_high) = spec.input_range, spec.output_range
    out_scale = levels / (out_high - out_low)
    out = np.zeros((image.shape[0] * 4, image.shape[1] * 4, image.shape[2]), image.dtype)
    for tile in tiles.tiles:
        window = np.empty((1, 3, tiles.tile_height, tiles.tile_width), np.float32)
        pack(image, window[0], y=tile.y, x=tile.x, scale=(high - low) / levels, bias=low)
        (result,) = session.run(None, {"input": window.astype(element).astype(np.float32)})
        unpack(
            np.ascontiguousarray(result[0].astype(element).astype(np.float32)),
            out,
            shuffle=spec.shuffle,
            top=(tile.keep_y - tile.y) * 4,
            left=(tile.keep_x - tile.x) * 4,
            y=tile.keep_y * 4,
            x=tile.keep_x * 4,
            height=tile.keep_height * 4,
            width=tile.keep_width * 4,
            scale=out_scale,
            bias=-out_low * out_scale,
        )
    return out


def job(image: NDArray[Any], *, tile: int = 24, **options: Any) -> dict[str, Any]:
    height, width, _ = image.shape
    return {"image": image, "tiles": plan_tiles(height, width, tile=(tile, tile), halo=handmade.HALO, **options)}


def run(*arguments: Any, order: str = "threads", **settings: Any) -> standin.Outcome:
    delay = 300 if order == "threads" else 0
    options = {key: settings.pop(key) for key in ("precision", "max_vram") if key in settings}
    outcome = standin.run(
        with_options, arguments, options, kernels=host_build.library(), order=order, delay_us=delay, **settings
    )
    assert not outcome.leaks["allocations"]
    kinds = ("streams", "events", "graphs", "graph_execs", "modules", "pools")
    assert {kind: outcome.leaks[kind] for kind in kinds} == dict.fromkeys(kinds, 0)
    script = outcome.value["script"]
    assert script.violations == []
    assert (script.engines, script.contexts) == (0, 0)
    return outcome


def with_options(arguments: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    return upscaled(*arguments, **options)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


@pytest.mark.parametrize("order", ["threads", "late"])
@pytest.mark.parametrize("precision", ["fp16", "fp32"])
def test_pictures_of_all_kinds(plan: Plan, order: str, precision: str) -> None:
    jobs = [
        job(handmade.noise(50, 61)),
        job(handmade.noise(1, 1)),
        job(handmade.noise(37, 90, 1), tile=33),
        job(handmade.noise(20, 31, dtype=np.uint16)),
        job(handmade.noise(50, 61, seed=1)),
    ]
    outcome = run(plan, jobs, Script(), order=order, precision=precision)
    for each, (out, not_finite), told in zip(jobs, outcome.value["results"], outcome.value["progress"], strict=True):
        wide = precision == "fp32" or each["image"].dtype == np.uint16
        expected = by_cpu_kernels(plan, each["image"], each["tiles"], np.float32 if wide else np.float16)
        np.testing.assert_array_equal(out, expected)
        assert handmade.differences(out, handmade.expected(plan, each["image"])).max() <= 1
        assert not_finite == 0
        assert told[-1] == len(each["tiles"].tiles)
        assert told == sorted(told)

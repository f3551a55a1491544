"""Pictures through the GPU pipeline on the stand-in driver: right levels in the right order, nothing left behind."""

from __future__ import annotations

import contextlib
import io
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import srgan_trt.compiler
from srgan_trt._pixels import pack, unpack
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, ModelError
from srgan_trt.imaging.tiles import TilePlan, plan_tiles
from srgan_trt.resolve import open_plan
from srgan_trt.runtime.devices import open_pipeline
from srgan_trt.runtime.gpu.tiling import choose_tile, even_step, seam_step
from srgan_trt.runtime.pipeline import Schedule
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")


ENGINE_BYTES = 2 * (64 * 64 * 2 * 3 * (1 + 4 * 4) + 4096)
"""Of two slots for one window of 64 x 64 in fp16."""


# ---- what runs in the process of the stand-in


def upscaled(plan: Plan, jobs: list[dict[str, Any]], script: Script, **options: Any) -> dict[str, Any]:
    """Each of `jobs` (image, tiles) through one pipeline, one after another."""
    from srgan_trt.runtime.gpu import tiling
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    tiling.TILE = 64  # or most of the time goes into filling memory
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.INFO)
    source = SourceDouble(plan.path, script, fixed_shape=plan.spec.fixed_shape)
    pipeline = GpuPipeline(plan, source=source, **options)
    results, progress = [], []
    try:
        for job in jobs:
            image = job["image"]
            out = np.zeros((image.shape[0] * 4, image.shape[1] * 4, image.shape[2]), image.dtype)
            told: list[int] = []
            not_finite = pipeline.run(image, out, Schedule(job["tiles"], streams=2, batch=100), progress=told.append)
            results.append((out, not_finite))
            progress.append(told)
    finally:
        pipeline.close()
    return {
        "results": results,
        "progress": progress,
        "script": script,
        "info": pipeline.info,
        "log": log.getvalue(),
    }


def with_a_small_engine(plan: Plan, image: NDArray[Any], largest: tuple[int, int], halo: int) -> dict[str, Any]:
    """As Upscaler runs an engine file: the tile is left to the pipeline."""
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    script, (height, width, _) = Script(), image.shape
    out = np.zeros((height * 4, width * 4, 3), np.uint8)
    pipeline = GpuPipeline(plan, source=SourceDouble(plan.path, script, largest_tile=largest))
    with contextlib.closing(pipeline):
        schedule = handmade.scheduled(pipeline, image, halo=halo)
        pipeline.run(image, out, schedule)
    return {"out": out, "tile": (schedule.tiles.tile_height, schedule.tiles.tile_width), "script": script}


def mapped(plan: Plan, image: NDArray[Any]) -> list[str]:
    """Files of CUDA that this process has mapped, once a picture is done."""
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    height, width = image.shape[:2]
    out = np.zeros((height * 4, width * 4, 3), np.uint8)
    with contextlib.closing(GpuPipeline(plan, source=SourceDouble(plan.path))) as pipeline:
        pipeline.run(image, out, handmade.scheduled(pipeline, image, tile=24))
        files = {Path(line.split()[-1]).name for line in Path("/proc/self/maps").read_text().splitlines()}
    return sorted(name for name in files if name.startswith(("libcuda", "libnvrtc")))


# ---- the reference


def by_cpu_kernels(plan: Plan, image: NDArray[Any], tiles: TilePlan, element: Any = np.float32) -> NDArray[Any]:
    """The same tiles by the CPU's kernels and onnxruntime, one after another."""
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


def job(image: NDArray[Any], *, tile: int = 24, halo: int = handmade.HALO) -> dict[str, Any]:
    """A picture and the tiles that the pipeline makes of it."""
    height, width, channels = image.shape
    steps = {"even": even_step(1), "align": seam_step(4 * channels * image.itemsize)}
    return {"image": image, "tiles": plan_tiles(height, width, tile=(tile, tile), halo=halo, **steps)}


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
    # What the host sends and gets is page-locked always: copies of other memory make the host wait.
    assert not any(line["pageable"] for line in outcome.executed("copy"))
    return outcome


def picture_copies(outcome: standin.Outcome, direction: str) -> list[dict[str, Any]]:
    """What went over the bus in that direction, but for the few bytes that count values that are not finite."""
    return [line for line in outcome.executed("copy") if line["direction"] == direction and line["bytes"] > 256]


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


def test_the_engine_hears_of_each_new_shape_once(plan: Plan) -> None:
    """In each slot: TensorRT-RTX compiles kernels then."""
    outcome = run(
        plan, [job(handmade.noise(50, 61)), job(handmade.noise(37, 90), tile=33), job(handmade.noise(50, 61))], Script()
    )
    script = outcome.value["script"]
    ran = {(count, height, width) for count, _, height, width in script.shapes}
    assert set(script.first) == ran
    assert len(ran) > 1
    assert max(Counter(script.first).values()) <= 2


def test_a_small_picture_has_a_profile_of_its_own(plan: Plan) -> None:
    """Where the engine has one; a graph of each profile is captured and replayed."""
    jobs = [job(handmade.noise(50, 61)), job(handmade.noise(20, 20))] * 2
    script = run(plan, jobs, Script(small=(1, 24, 24)), precision="fp32").value["script"]
    assert {profile for profile, _ in script.profiles} == {0, 1}
    for profile, (count, _, _) in script.profiles:
        assert profile == (count == 1)


def test_cuda_s_runtime_is_not_loaded(plan: Plan) -> None:
    """The driver is all that is used of CUDA: libcudart would have to be of the version that others brought."""
    if not Path("/proc/self/maps").is_file():
        pytest.skip("only Linux tells which files a process has mapped")
    files = standin.run(mapped, plan, handmade.noise(40, 40), kernels=host_build.library()).value
    assert any(name.startswith("libcuda.so") for name in files)
    assert not any(name.startswith("libcudart") for name in files)


def test_network_of_one_size(tmp_path: Path) -> None:
    plan = handmade.small_plan(tmp_path, fixed_shape=(24, 32))
    jobs = []
    for height, width in ((50, 61), (10, 9)):
        tiles = plan_tiles(height, width, tile=(24, 32), halo=handmade.HALO, fixed=True)
        jobs.append({"image": handmade.noise(height, width), "tiles": tiles})
    outcome = run(plan, jobs, Script(), precision="fp32")
    for each, (out, _) in zip(jobs, outcome.value["results"], strict=True):
        np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"]))
    assert {settings.tile for settings in outcome.value["script"].opened} == {(24, 32)}


@pytest.mark.parametrize("order", ["threads", "late"])
def test_picture_larger_than_the_memory_goes_in_bands(plan: Plan, order: str) -> None:
    """The whole needs 24 * 800 * 3 * 17 bytes, 1 MB; half of what is allowed is kept for a second picture."""
    each = job(handmade.noise(800, 24))
    limit = 1_200_000 + ENGINE_BYTES
    outcome = run(plan, [each], Script(), order=order, max_vram=limit, multiprocessors=2)
    out, _ = outcome.value["results"][0]
    np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"], np.float16))
    ups, downs = picture_copies(outcome, "HtoD"), picture_copies(outcome, "DtoH")
    assert len(ups) > 1
    assert len(downs) == len(each["tiles"].tiles)
    assert sum(line["bytes"] for line in downs) == out.nbytes
    assert outcome.leaks["devices"][0]["peak"] <= limit


def test_what_crosses_the_bus_and_when(plan: Plan) -> None:
    """One picture after another: each goes up once, each of its tiles goes down when it is done, and a batch is packed
    while the one before is in the network or being unpacked."""
    jobs = [job(handmade.noise(90, 90, seed=seed)) for seed in range(2)]
    outcome = run(plan, jobs, Script(seconds=0.003), multiprocessors=2)
    tiles = len(jobs[0]["tiles"].tiles)
    ups, downs = picture_copies(outcome, "HtoD"), picture_copies(outcome, "DtoH")
    assert (len(ups), len(downs)) == (len(jobs), tiles * len(jobs))
    assert sum(line["bytes"] for line in downs) == len(jobs) * 360 * 360 * 3
    for line in ups:
        table = tiles * 32
        assert 90 * 90 * 3 + table <= line["bytes"] <= 90 * 90 * 3 + table + 256 + 32
    counts = [line for line in outcome.executed("copy") if line["bytes"] <= 256]
    assert [line["bytes"] for line in counts] == [4 * tiles] * len(jobs)  # how many values were not finite
    packs = [line for line in outcome.executed("kernel") if line["kernel"].startswith("pack")]
    unpacks = [line for line in outcome.executed("kernel") if line["kernel"].startswith("unpack")]
    assert len(packs) == len(unpacks) == len(jobs) * tiles
    assert len({line["stream"] for line in packs}) == 2
    early = sum(later["begin"] < before["end"] for later, before in zip(packs[1:], unpacks, strict=False))
    assert early > len(packs) / 2
    for up, number in zip(ups, range(len(jobs)), strict=True):
        mine = slice(number * tiles, (number + 1) * tiles)
        assert up["end"] <= min(line["begin"] for line in packs[mine])
        assert downs[mine][0]["end"] < unpacks[mine][-1]["begin"]
        # One after another: the n-th piece is not before n tiles are done.
        ends = sorted(line["end"] for line in unpacks[mine])
        assert all(end <= down["begin"] for end, down in zip(ends, downs[mine], strict=True))


def test_full_hd_goes_down_while_it_is_computed(plan: Plan) -> None:
    """Four tiles, eight pieces: half of the canvas is down before the last tile is in the network."""
    image = handmade.noise(1080, 1920)
    tile, exactly = choose_tile(1080, 1920, halo=handmade.HALO, multiple=1, limit=1024, pixels=1 << 20)
    each = {"image": image, "tiles": plan_tiles(1080, 1920, tile=tile, halo=handmade.HALO, fixed=exactly, align=4)}
    outcome = run(plan, [each], Script(seconds=0.3), multiprocessors=2)
    np.testing.assert_array_equal(
        outcome.value["results"][0][0], by_cpu_kernels(plan, image, each["tiles"], np.float16)
    )
    downs = picture_copies(outcome, "DtoH")
    unpacks = [line for line in outcome.executed("kernel") if line["kernel"].startswith("unpack")]
    assert (len(unpacks), len(downs)) == (4, 8)
    assert sum(line["bytes"] for line in downs) == 16 * image.nbytes
    last = max(unpacks, key=lambda line: line["end"])
    assert downs[0]["end"] < last["begin"]
    assert sum(line["end"] < last["begin"] for line in downs) >= 4


def test_a_small_picture_makes_the_host_wait_once(plan: Plan) -> None:
    """Once all is made that is made but once."""

    def waits(count: int) -> Counter[str]:
        outcome = run(plan, [job(handmade.noise(60, 60), tile=64)] * count, Script(), multiprocessors=2)
        return Counter(line["call"] for line in outcome.trace if line.get("call", "").endswith("Synchronize"))

    assert waits(5) - waits(3) == {"cuEventSynchronize": 2}


def test_graph_is_captured_at_second_use_and_replayed(plan: Plan) -> None:
    jobs = [job(handmade.noise(90, 90, seed=seed)) for seed in range(2)]
    outcome = run(plan, jobs, Script(), multiprocessors=2)
    script = outcome.value["script"]
    assert script.captures == 2  # one for each slot
    assert script.enqueued == 4  # and each once before
    assert len(script.shapes) == 2 * len(jobs[0]["tiles"].tiles)
    assert set(script.shapes) == {(1, 3, 24, 24)}
    replayed = [line for line in outcome.executed("host") if "graph" in line]
    assert len(replayed) == len(script.shapes) - 2


def test_graphs_of_the_shapes_used_last_are_kept(plan: Plan) -> None:
    """Two sizes in turns and a third: each is captured once for each slot, whatever comes between. The largest comes
    first, so that the slots' memory stays where it is."""
    tiles = {90: 24, 70: 32, 43: 45}
    heights = [43, 90, 70, 90, 70, 43, 90, 70, 43, 90]
    jobs = [job(handmade.noise(height, 90, seed=height), tile=tiles[height]) for height in heights]
    outcome = run(plan, jobs, Script(), multiprocessors=2)
    script = outcome.value["script"]
    shapes = set(script.shapes)
    assert len(shapes) == 3
    assert script.captures == len(shapes) * 2
    assert script.enqueued == 2 * script.captures
    assert script.most_contexts == len(shapes) * 2
    for each, (out, _) in zip(jobs, outcome.value["results"], strict=True):
        np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"], np.float16))


def test_larger_tiles_take_more_memory_and_graphs_of_smaller_ones_are_made_again(plan: Plan) -> None:
    jobs = [job(handmade.noise(50, 60, seed=tile), tile=tile) for tile in (20, 32, 20)]
    outcome = run(plan, jobs, Script(), multiprocessors=2)
    assert outcome.value["script"].captures == 3 * 2
    for each, (out, _) in zip(jobs, outcome.value["results"], strict=True):
        np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"], np.float16))


def test_small_pictures_take_no_memory_for_the_engine_s_largest_tile(plan: Plan) -> None:
    each = job(handmade.noise(20, 20))
    outcome = run(plan, [each], Script(), multiprocessors=2)
    assert outcome.value["script"].opened[0].tile == (64, 64)
    assert outcome.leaks["devices"][0]["peak"] < ENGINE_BYTES / 2


def test_graphs_of_more_shapes_than_are_kept_come_and_go(plan: Plan) -> None:
    """Pictures narrower than a tile, of eleven heights, twice: nothing is left when the slots are closed."""
    jobs = [job(handmade.noise(8 + side, 20), tile=64) for side in range(11)] * 2
    outcome = run(plan, jobs, Script(), multiprocessors=2)
    script = outcome.value["script"]
    assert len(set(script.shapes)) == 11
    assert script.most_contexts == 8  # a picture has one tile here, for the first slot
    for each, (out, _) in zip(jobs, outcome.value["results"], strict=True):
        np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"], np.float16))


def test_network_that_cannot_be_captured_runs_all_the_same(plan: Plan) -> None:
    each = job(handmade.noise(90, 90))
    outcome = run(plan, [each], Script(uncapturable=True), multiprocessors=2)
    out, _ = outcome.value["results"][0]
    np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"], np.float16))
    assert outcome.value["script"].captures == 1
    assert outcome.value["log"].count("without CUDA graphs") == 1


def test_tiles_of_a_batch_are_computed_together(plan: Plan) -> None:
    """25 tiles and at most 4 at once: seven batches of four, of which the last three tiles are nobody's."""
    each = job(handmade.noise(88, 88))
    assert len(each["tiles"].tiles) == 25
    outcome = run(plan, [each], Script(), multiprocessors=8)
    out, _ = outcome.value["results"][0]
    np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"], np.float16))
    assert [shape[0] for shape in outcome.value["script"].shapes] == [4] * 7
    assert outcome.value["progress"] == [[4, 8, 12, 16, 20, 24, 25]]


@pytest.mark.parametrize("order", ["threads", "late"])
def test_values_that_are_not_finite_are_computed_again_in_fp32(plan: Plan, order: str) -> None:
    each = job(handmade.noise(60, 60))
    outcome = run(plan, [each, each], Script(nan=frozenset({1, 4, 20})), order=order, multiprocessors=2)
    script = outcome.value["script"]
    assert [settings.precision for settings in script.opened] == ["fp16", "fp32"]
    assert len(script.shapes) == 2 * len(each["tiles"].tiles) + 3
    for out, not_finite in outcome.value["results"]:
        assert not_finite == 0
        assert handmade.differences(out, handmade.expected(plan, each["image"])).max() <= 1
    assert outcome.value["log"].count("run again in fp32") == 1
    assert outcome.value["info"]["notes"] != []
    assert len(picture_copies(outcome, "HtoD")) == 2
    down = picture_copies(outcome, "DtoH")  # what was wrong twice
    assert 2 * len(each["tiles"].tiles) < len(down) <= 2 * len(each["tiles"].tiles) + 3


@pytest.mark.parametrize("largest", [(48, 48), (40, 64), (9, 30)])
def test_engine_with_small_tiles_is_used(plan: Plan, largest: tuple[int, int]) -> None:
    """Two halos and 32 pixels would be more than it takes."""
    image = handmade.noise(70, 90)
    outcome = standin.run(with_a_small_engine, plan, image, largest, 4, kernels=host_build.library())
    assert handmade.differences(outcome.value["out"], handmade.expected(plan, image)).max() <= 1
    assert all(side <= most for side, most in zip(outcome.value["tile"], largest, strict=True))
    assert {settings.tile for settings in outcome.value["script"].opened} == {largest}
    assert outcome.value["script"].violations == []


def test_engine_whose_tiles_the_halo_fills_says_so(plan: Plan) -> None:
    with pytest.raises(
        standin.StandInError, match="which keep nothing between two halos of 20: build it with --tile 72"
    ):
        standin.run(with_a_small_engine, plan, handmade.noise(70, 90), (40, 40), 20, kernels=host_build.library())


def test_values_that_no_precision_keeps_finite_are_counted(tmp_path: Path) -> None:
    """The logarithm of what a random network gives is NaN for about half of it."""
    plan = handmade.small_plan(tmp_path, last="Log")
    each = job(handmade.noise(40, 40))
    outcome = run(plan, [each], Script(), multiprocessors=2)
    (_, not_finite), *_ = outcome.value["results"]
    assert 0.2 < not_finite / (160 * 160 * 3) < 0.8
    assert [settings.precision for settings in outcome.value["script"].opened] == ["fp16", "fp32"]


def test_no_engine_in_fp32_leaves_what_fp16_gives(plan: Plan) -> None:
    """An engine file holds one precision."""
    each = job(handmade.noise(40, 40))
    script = Script(nan=frozenset({0}), absent={"fp32": DeviceError("there is none")})
    outcome = run(plan, [each], script, multiprocessors=2)
    (out, not_finite), *_ = outcome.value["results"]
    assert not_finite == 2
    assert (handmade.differences(out, handmade.expected(plan, each["image"])) > 1).sum() == 2
    assert "no engine in fp32: there is none" in outcome.value["log"]


def test_network_that_fp16_does_not_do_for_runs_in_fp32(plan: Plan) -> None:
    each = job(handmade.noise(40, 40))
    script = Script(absent={"fp16": ModelError("it overflows")})
    outcome = run(plan, [each, each], script, multiprocessors=2)
    out, _ = outcome.value["results"][1]
    np.testing.assert_array_equal(out, by_cpu_kernels(plan, each["image"], each["tiles"]))
    assert outcome.value["info"]["precision"] == "fp32"
    assert outcome.value["log"].count("it overflows") == 1
    with pytest.raises(standin.StandInError, match="it overflows"):  # asked for, it is not replaced
        run(plan, [each], script, precision="fp16", multiprocessors=2)


@pytest.mark.parametrize(
    ("model", "precision", "worst"),
    # What fp16 rounds off the picture before the network, a GAN's makes larger: by two levels in one value of 614400.
    [("srresnet-photo-x4", "fp16", 1), ("srgan-photo-x4", "fp32", 1), ("srgan-photo-x4", "fp16", 2)],
)
def test_photograph_by_a_shipped_network_is_that_of_the_cpu(model: str, precision: str, worst: int) -> None:
    """The same tiles, by OpenVINO in fp32, and here (where fp16 is rounded to at both ends)."""
    plan = open_plan(model)
    with Image.open(Path(srgan_trt.compiler.__file__).with_name("data") / "photo.png") as photo:
        image = np.ascontiguousarray(np.asarray(photo.convert("RGB"))[:100])
    height, width, _ = image.shape
    each = job(image, tile=80, halo=plan.spec.default_halo)
    expected = np.zeros((height * 4, width * 4, 3), np.uint8)
    with contextlib.closing(open_pipeline(plan, device="cpu", precision="fp32")) as pipeline:
        pipeline.run(image, expected, Schedule(each["tiles"], streams=1))
    outcome = run(plan, [each], Script(), precision=precision, multiprocessors=8)
    out, not_finite = outcome.value["results"][0]
    assert not_finite == 0
    differences = handmade.differences(out, expected)
    assert differences.max() <= worst
    assert (differences > 1).mean() < 1e-5

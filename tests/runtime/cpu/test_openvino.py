"""The CPU pipeline gives the network's picture, whatever the tiles, threads, precisions and caches."""

from __future__ import annotations

import _thread
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from srgan_trt.cache import write_checksummed, write_record
from srgan_trt.compiler.conversion import lowerings_of
from srgan_trt.compiler.plan import Plan, save_plan
from srgan_trt.errors import DeviceError, PlanError, StoppedError
from srgan_trt.imaging.tiles import plan_tiles
from srgan_trt.runtime.cpu import compiled
from srgan_trt.runtime.cpu.compiled import CompiledPlan, _Queue
from srgan_trt.runtime.cpu.openvino import CpuPipeline
from srgan_trt.runtime.cpu.processor import find_cpu, load_tuning, tuning_path
from srgan_trt.runtime.pipeline import NETWORK_THREADS, Schedule
from srgan_trt.runtime.tuning import DEFAULT, Setting, TilingConfig, Tuning

from ...handmade import (
    HALO,
    dense_plan,
    differences,
    enlarging_plan,
    expected,
    nearest_model,
    noise,
    scheduled,
    small_model,
    small_plan,
    small_spec,
    witnessed,
)
from ...peak_memory import PRINT_PEAK_BYTES


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def fp32(plan: Plan) -> Iterator[CpuPipeline]:
    pipeline = CpuPipeline(plan, precision="fp32")
    yield pipeline
    pipeline.close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(folder))
    return folder


def run(
    pipeline: CpuPipeline, image: NDArray[Any], tile: int | None = 4096, halo: int = HALO, **options: Any
) -> NDArray[Any]:
    height, width, channels = image.shape
    out = np.full((height * 4, width * 4, channels), 77, image.dtype)
    pipeline.run(image, out, scheduled(pipeline, image, tile=tile, halo=halo), **options)
    return out


sizes = [(1, 1), (1, 50), (53, 1), (7, 9), (31, 45), (64, 64), (65, 33)]


@pytest.mark.parametrize(("height", "width"), sizes)
def test_fp32_is_the_network_itself(fp32: CpuPipeline, plan: Plan, height: int, width: int) -> None:
    image = noise(height, width)
    apart = differences(run(fp32, image), expected(plan, image))
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.999


@pytest.mark.parametrize(("height", "width"), sizes)
@pytest.mark.parametrize("tile", [9, 17])
def test_tiles_with_the_whole_halo_equal_the_whole_picture_exactly(
    fp32: CpuPipeline, height: int, width: int, tile: int
) -> None:
    image = noise(height, width)
    np.testing.assert_array_equal(run(fp32, image, tile), run(fp32, image))


def test_gray_is_the_luma_of_the_network_s_picture(fp32: CpuPipeline, plan: Plan) -> None:
    image = noise(20, 30, 1)
    assert differences(run(fp32, image, 16), expected(plan, image)).max() <= 1


def test_sixteen_bits_are_worth_their_bits(plan: Plan) -> None:
    """Without being asked for fp32: bf16 has 8 bits of mantissa."""
    image = noise(40, 30, dtype=np.uint16)
    pipeline = CpuPipeline(plan)
    apart = differences(run(pipeline, image), expected(plan, image))
    pipeline.close()
    assert apart.max() <= 3


def test_the_fastest_precision_stays_close_to_fp32(fp32: CpuPipeline, plan: Plan) -> None:
    image = noise(60, 60)
    pipeline = CpuPipeline(plan)
    error = differences(run(pipeline, image), run(fp32, image))
    assert pipeline.info["precision"] in ("bf16", "fp32")
    assert 10 * np.log10(255**2 / max(np.mean(error**2.0), 1e-9)) > 40
    pipeline.close()


def test_a_fixed_network_runs_in_its_own_tiles(tmp_path: Path, plan: Plan) -> None:
    """The large picture as if it were free; the small one as if its border went on."""
    pipeline = CpuPipeline(small_plan(tmp_path, fixed_shape=(24, 24)), precision="fp32")
    image = noise(40, 50)
    tiles = scheduled(pipeline, image, tile=64).tiles
    assert (tiles.tile_height, tiles.tile_width) == (24, 24)
    assert differences(run(pipeline, image), expected(plan, image)).max() <= 1
    small = noise(10, 5)
    padded = np.pad(small, ((0, 14), (0, 19), (0, 0)), mode="edge")
    assert differences(run(pipeline, small), expected(plan, padded)[:40, :20]).max() <= 1
    pipeline.close()


def test_progress_counts_the_tiles_one_by_one(fp32: CpuPipeline) -> None:
    seen: list[int] = []
    run(fp32, noise(60, 60), 20, progress=seen.append)
    assert seen == list(range(1, 26))


def test_an_error_of_the_caller_s_progress_ends_the_run(fp32: CpuPipeline) -> None:
    def fail(done: int) -> None:
        raise KeyError(done)

    with pytest.raises(KeyError):
        run(fp32, noise(60, 60), 20, progress=fail)
    assert run(fp32, noise(5, 5)).any()


@pytest.fixture
def at_the_first_look(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Takes what is to be done when a run looks for the first time whether it is wanted: its layers have just begun."""

    def arrange(action: Callable[[], object]) -> None:
        looked = False

        def look(queue: _Queue) -> bool:
            nonlocal looked
            if not looked:
                looked = True
                action()
            return queue.given_up or queue.cancelled

        monkeypatch.setattr(compiled, "_GLANCE", 0)
        monkeypatch.setattr(_Queue, "stopped", property(look))

    return arrange


def test_a_run_is_given_up_within_a_tile(
    fp32: CpuPipeline, at_the_first_look: Callable[[Callable[[], object]], None]
) -> None:
    """And the next one is as if nothing had been."""
    image, schedule = noise(900, 900), fp32.schedule(900, 900, halo=HALO, dtype=np.uint8, tile=900)
    out = np.zeros((3600, 3600, 3), np.uint8)
    before = run(fp32, noise(20, 20))
    stop = threading.Event()
    at_the_first_look(stop.set)
    with pytest.raises(StoppedError, match="given up"):
        fp32.run(image, out, schedule, stop=stop)
    assert not out.any()
    assert np.array_equal(run(fp32, noise(20, 20)), before)


def test_ctrl_c_ends_a_run_within_its_only_tile(
    tmp_path: Path, at_the_first_look: Callable[[Callable[[], object]], None]
) -> None:
    pipeline = CpuPipeline(small_plan(tmp_path, macs=1e6), precision="fp32")
    image, schedule = noise(900, 900), pipeline.schedule(900, 900, halo=HALO, dtype=np.uint8, tile=900)
    out = np.zeros((3600, 3600, 3), np.uint8)
    before = run(pipeline, noise(20, 20))
    at_the_first_look(_thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(image, out, schedule)
    assert not out.any()
    assert np.array_equal(run(pipeline, noise(20, 20)), before)
    pipeline.close()


def test_ctrl_c_ends_a_run_in_threads(tmp_path: Path) -> None:
    """Though another thread got the signal, which wakes no waiting one."""
    pipeline = CpuPipeline(small_plan(tmp_path, macs=1e6), precision="fp32")
    image, schedule = noise(900, 900), pipeline.schedule(900, 900, halo=HALO, dtype=np.uint8, tile=60)
    out = np.zeros((3600, 3600, 3), np.uint8)
    before = run(pipeline, noise(20, 20))

    def interrupt(done: int) -> None:
        if done == 1:
            _thread.interrupt_main()

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(image, out, schedule, progress=interrupt)
    assert np.count_nonzero(out) < out.size / 2, "most tiles were not begun"
    after = out.copy()
    for thread in threading.enumerate():
        if thread.name.startswith(NETWORK_THREADS):
            thread.join()
    assert np.array_equal(out, after), "threads that end later touch no picture"
    assert np.array_equal(run(pipeline, noise(20, 20)), before)
    pipeline.close()


def test_threads_share_a_pipeline(fp32: CpuPipeline) -> None:
    images = [noise(20 + 5 * i, 40 - 3 * i, seed=i) for i in range(6)]
    alone = [run(fp32, image) for image in images]
    together: list[NDArray[Any] | None] = [None] * len(images)

    def work(i: int) -> None:
        together[i] = run(fp32, images[i], 16)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_values_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    """The logarithm of a negative number is none."""
    pipeline = CpuPipeline(small_plan(tmp_path, last="Log"), precision="fp32")
    image = noise(10, 10)
    out = np.empty((40, 40, 3), np.uint8)
    count = pipeline.run(image, out, scheduled(pipeline, image))
    assert 100 < count < out.size
    pipeline.close()


def test_a_closed_pipeline_says_so(plan: Plan) -> None:
    pipeline = CpuPipeline(plan)
    pipeline.close()
    pipeline.close()
    with pytest.raises(DeviceError, match="was closed"):
        run(pipeline, noise(5, 5))


@pytest.mark.parametrize(
    ("image", "out", "error"),
    [
        (noise(5, 5).astype(np.float32), np.empty((20, 20, 3), np.float32), TypeError),
        (noise(5, 6), np.empty((20, 20, 3), np.uint8), ValueError),
        (noise(5, 5), np.empty((20, 21, 3), np.uint8), ValueError),
        (noise(5, 5), np.empty((20, 20, 3), np.uint16), ValueError),
        (np.asfortranarray(noise(5, 5)), np.empty((20, 20, 3), np.uint8), ValueError),
    ],
)
def test_wrong_arrays_are_refused(
    fp32: CpuPipeline, image: NDArray[Any], out: NDArray[Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        fp32.run(image, out, scheduled(fp32, noise(5, 5)))


def test_a_network_that_needs_the_whole_picture_gets_it_with_a_warning(
    fp32: CpuPipeline, caplog: pytest.LogCaptureFixture
) -> None:
    assert fp32.schedule(300, 200, halo=None, dtype=np.uint8).tiles.tile_area == 300 * 200
    assert not caplog.records
    assert fp32.schedule(30_000, 20_000, halo=None, dtype=np.uint8).tiles.tile_area == 30_000 * 20_000
    assert "needs the whole picture at once" in caplog.text


def test_a_plan_whose_output_is_not_its_spec_s_is_refused(tmp_path: Path) -> None:
    pipeline = CpuPipeline(small_plan(tmp_path, scale=8), precision="fp32")
    with pytest.raises(DeviceError, match="build the plan again"):
        pipeline.run(noise(5, 5), np.empty((40, 40, 3), np.uint8), scheduled(pipeline, noise(5, 5)))
    pipeline.close()


def test_a_network_that_openvino_does_not_know_is_one_line(tmp_path: Path) -> None:
    model = small_model()
    model.graph.node[-1].op_type = "NoSuchOperation"
    model.graph.node[-1].domain = "nowhere"
    with pytest.raises(DeviceError, match=r"cannot run the plan .*small\.onnx") as caught:
        CpuPipeline(save_plan(model, small_spec(), tmp_path / "small.onnx"))
    assert "\n" not in str(caught.value)


def test_the_second_start_reads_what_the_first_compiled(
    plan: Plan, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CpuPipeline(plan).close()
    (blob,) = cache.glob("openvino/*.blob")
    written = blob.stat().st_mtime_ns

    def compile_again(*_: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(CompiledPlan, "_compile", compile_again)
    image = noise(20, 20)
    pipeline = CpuPipeline(plan)
    assert differences(run(pipeline, image), expected(plan, image)).max() <= 6
    pipeline.close()
    assert blob.stat().st_mtime_ns == written


def test_another_number_of_streams_is_not_compiled_again_but_held_again(
    plan: Plan, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, held = [], []
    compile_plan, check = CompiledPlan._compile, CompiledPlan._check
    monkeypatch.setattr(CompiledPlan, "_compile", lambda self, *rest: compiled.append(1) or compile_plan(self, *rest))
    monkeypatch.setattr(CompiledPlan, "_check", lambda self, plan: held.append(1) or check(self, plan))
    one = witnessed(plan, tmp_path / "one.onnx")
    pipeline = CpuPipeline(one, precision="fp32")
    image = noise(32, 48)
    tiles = plan_tiles(32, 48, tile=(24, 24), halo=HALO)
    engine = pipeline._engine(pipeline._choice.narrow, 2, None)
    assert (len(compiled), len(held)) == (1, 2)
    assert len(list(cache.glob("openvino/*.blob"))) == 2
    out = np.empty((128, 192, 3), np.uint8)
    engine.run(image, out, tiles, one.spec, None)
    assert differences(out, expected(one, image)).max() <= 1
    pipeline.close()


def test_what_was_read_in_for_more_streams_is_there_at_the_next_start(
    plan: Plan, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = noise(32, 48)
    for start in range(3):
        pipeline = CpuPipeline(plan)
        for streams in (1, 2):
            engine = pipeline._engine(pipeline._choice.narrow, streams, None)
            assert engine.from_cache == (start > 0)
            out = np.empty((128, 192, 3), np.uint8)
            engine.run(image, out, plan_tiles(32, 48, tile=(24, 24), halo=HALO), plan.spec, None)
        pipeline.close()
    assert not caplog.records


def test_a_plan_that_was_replaced_since_is_not_compiled_under_its_hash(tmp_path: Path, cache: Path) -> None:
    plan = small_plan(tmp_path)
    with closing(CpuPipeline(plan, precision="fp32")) as pipeline:
        save_plan(nearest_model(scale=4), plan.spec, plan.path)
        before = set(cache.glob("openvino/*.blob"))
        with pytest.raises(PlanError, match="was replaced since it was opened"):
            pipeline._engine(pipeline._choice.narrow, 1, "dense")
        assert set(cache.glob("openvino/*.blob")) == before


def test_what_was_read_for_another_form_is_not_told_any_more(plan: Plan) -> None:
    image, out = noise(32, 48), np.empty((128, 192, 3), np.uint8)
    with closing(CpuPipeline(plan)) as pipeline:
        pipeline.info["lowering"] = "an earlier one"
        pipeline.run(image, out, scheduled(pipeline, image))
        assert "lowering" not in pipeline.info


def test_another_device_s_schedule_takes_no_more_than_there_is(plan: Plan) -> None:
    """As where a GPU failed, whose batches and streams are for its own memory."""
    image, out = noise(40, 50), np.empty((160, 200, 3), np.uint8)
    with closing(CpuPipeline(plan, precision="fp32", threads=1)) as pipeline:
        tiles = scheduled(pipeline, image, tile=20).tiles
        limit = pipeline._limit(pipeline._choice.narrow) // tiles.tile_area
        pipeline.run(image, out, Schedule(tiles, streams=2, batch=2 * limit))
        assert (pipeline.info["streams"], pipeline.info["batch"]) == (1, limit)
    assert differences(out, expected(plan, image)).max() <= 1


def test_no_more_threads_than_asked_for(plan: Plan) -> None:
    with closing(CpuPipeline(plan, threads=1)) as pipeline:
        engine = pipeline._engine(pipeline._choice.narrow, 1, None)
        assert engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1
        assert pipeline.info["streams"] == 1
    with pytest.raises(DeviceError, match="threads is at least 1, not 0"):
        CpuPipeline(plan, threads=0)


def test_16_bits_through_int8_are_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = small_plan(tmp_path, precision="int8")
    image, out = noise(32, 48).astype(np.uint16) * 257, np.empty((128, 192, 3), np.uint16)
    with closing(CpuPipeline(plan)) as pipeline:
        for _ in range(2):
            pipeline.run(image, out, scheduled(pipeline, image))
    (said,) = (record.getMessage() for record in caplog.records)
    assert "is in int8: 16-bit pictures go through it" in said


def test_a_plan_is_held_to_the_picture_in_it(plan: Plan, tmp_path: Path, cache: Path) -> None:
    other = witnessed(plan, tmp_path / "other.onnx", shift=20)
    for _ in range(2):  # nothing is kept of what is wrong
        with pytest.raises(DeviceError, match=r"other\.onnx, run by OpenVINO on this CPU, fails the plan's self-test"):
            CpuPipeline(other)
    assert not list(cache.glob("openvino/*.blob"))
    honest = witnessed(plan, tmp_path / "honest.onnx")
    pipeline = CpuPipeline(honest)
    assert len(list(cache.glob("openvino/*.blob"))) == 1
    assert differences(run(pipeline, noise(20, 20)), expected(plan, noise(20, 20))).max() <= 6
    pipeline.close()


def test_what_was_compiled_of_a_plan_without_a_picture_does_not_speak_for_one_with(
    plan: Plan, tmp_path: Path, cache: Path
) -> None:
    CpuPipeline(plan).close()
    with pytest.raises(DeviceError, match="self-test"):
        CpuPipeline(witnessed(plan, tmp_path / "other.onnx", shift=20))


@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty", "one byte of the weights", "sealed garbage"])
def test_a_damaged_cache_is_made_again(plan: Plan, cache: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    image = noise(20, 20)
    CpuPipeline(plan, precision="fp32").close()
    (blob,) = cache.glob("openvino/*.blob")
    content = blob.read_bytes()
    if damage == "sealed garbage":
        write_checksummed(blob, content[32:40] + b"not a network" * 100)
    else:
        blob.write_bytes(
            {
                "garbage": b"\x55" * len(content),
                "truncated": content[: len(content) // 2],
                "empty": b"",
                "one byte of the weights": content[:-2000] + bytes([content[-2000] ^ 1]) + content[-1999:],
            }[damage]
        )
    pipeline = CpuPipeline(plan, precision="fp32")
    assert differences(run(pipeline, image), expected(plan, image)).max() <= 1
    pipeline.close()
    assert str(blob) in caplog.text
    caplog.clear()
    CpuPipeline(plan, precision="fp32").close()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_memory_of_a_network_is_known_before_it_runs(fp32: CpuPipeline) -> None:
    """The small one at most holds, per input pixel, 16 values shuffled and the 12 of each of four pixels."""
    assert fp32._pixel_values == 16 + 4 * 12


def wide_plan(folder: Path) -> Plan:
    """1024 values per input pixel twice over: the whole of a 1000 x 700 picture would take 5 GB."""
    weights = {"w0": np.zeros((1024, 3, 1, 1), np.float32), "w1": np.zeros((12, 256, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["t0"]),
        helper.make_node("DepthToSpace", ["t0"], ["t1"], blocksize=2, mode="DCR"),
        helper.make_node("Conv", ["t1", "w1"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, ["batch", 12, None, None])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return save_plan(model, small_spec(halo=0, default_halo=0), folder / "wide.onnx")


@pytest.mark.parametrize(
    ("make_plan", "height", "width", "halo"),
    [(wide_plan, 700, 1000, 0), (small_plan, 2000, 2500, HALO)],
    ids=["a wide network", "a light network, whose inputs and outputs weigh most"],
)
def test_memory_is_the_picture_its_result_and_a_constant(
    make_plan: Callable[[Path], Plan], height: int, width: int, halo: int, tmp_path: Path
) -> None:
    plan = make_plan(tmp_path)
    program = f"""
from pathlib import Path
import numpy as np
import onnx
from srgan_trt.compiler.plan import load_plan
from srgan_trt.runtime.cpu.openvino import CpuPipeline
pipeline = CpuPipeline(load_plan(Path({str(plan.path)!r})), precision="fp32")
image, out = np.ones(({height}, {width}, 3), np.uint8), np.ones(({4 * height}, {4 * width}, 3), np.uint8)
pipeline.run(image, out, pipeline.schedule({height}, {width}, halo={halo}, dtype=np.uint8))
print(image.nbytes + out.nbytes)
{PRINT_PEAK_BYTES}
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    pictures, peak = (int(line) for line in done.stdout.split())
    print(f"{(peak - pictures) / 1e9:.2f} GB beside the pictures")
    assert peak - pictures < 1_500_000_000


def use(plan: Plan, setting: Setting) -> None:
    """Keeps `setting` as what tuning found for the plan in fp32."""
    tuning = Tuning(best=setting, gain=2.0, size=(9, 9), trials=(), date="2026-01-01")
    write_record(tuning_path(plan, find_cpu(), precision="fp32"), tuning)


class TestTuning:
    @pytest.fixture
    def pipeline(self, plan: Plan, cache: Path) -> Iterator[CpuPipeline]:
        pipeline = CpuPipeline(plan, precision="fp32")
        yield pipeline
        pipeline.close()

    def test_what_was_found_is_kept_for_the_next_pipeline(self, pipeline: CpuPipeline, plan: Plan) -> None:
        assert pipeline.tuning() is None
        found = pipeline.tune(noise(120, 150), seconds=1.0)
        assert found.size <= (120, 150)
        assert DEFAULT in {trial.setting for trial in found.trials}
        assert len(found.trials) > 2
        again = CpuPipeline(plan, precision="fp32")
        assert again.tuning() == pipeline.tuning() == found
        again.close()

    def test_a_tuned_tiling_is_used_and_gives_the_same_picture(
        self, fp32: CpuPipeline, plan: Plan, cache: Path
    ) -> None:
        use(plan, Setting(TilingConfig(48, 1)))
        pipeline = CpuPipeline(plan, precision="fp32")
        image, halo = noise(100, 130), plan.spec.default_halo
        tiles = scheduled(pipeline, image, halo=halo).tiles
        assert max(tiles.tile_height, tiles.tile_width) <= 48
        np.testing.assert_array_equal(run(pipeline, image, None, halo), run(fp32, image, 48, halo))
        assert pipeline.info["streams"] == 1
        pipeline.close()

    @pytest.mark.parametrize("batch", [2, 4, 100])
    def test_batches_of_tiles_give_the_same_picture(
        self, fp32: CpuPipeline, plan: Plan, cache: Path, batch: int
    ) -> None:
        """Seven tiles: no whole number of batches."""
        use(plan, Setting(TilingConfig(32, 1, batch)))
        pipeline = CpuPipeline(plan, precision="fp32")
        image, seen, halo = noise(32, 182), list[int](), plan.spec.default_halo
        out = run(pipeline, image, None, halo, progress=seen.append)
        assert pipeline.info["batch"] == batch
        assert seen == list(range(1, 8))
        np.testing.assert_array_equal(out, run(fp32, image, 32, halo))
        pipeline.close()

    @pytest.mark.parametrize("lowering", ["phases", "dense", "shifted", "summed"])
    def test_a_tuned_form_gives_the_same_picture_in_this_process_and_the_next(
        self, tmp_path: Path, cache: Path, lowering: str
    ) -> None:
        plan = dense_plan(tmp_path) if lowering == "summed" else enlarging_plan(tmp_path)
        assert lowering in lowerings_of(plan)
        image = noise(40, 50)
        use(plan, Setting(None, lowering))
        for _ in range(2):
            pipeline = CpuPipeline(plan, precision="fp32")
            apart = differences(run(pipeline, image), expected(plan, image))
            assert pipeline.info["lowering"] == lowering
            assert apart.max() <= 1
            pipeline.close()

    def test_forms_are_tuned_too(self, tmp_path: Path, cache: Path) -> None:
        plan = enlarging_plan(tmp_path)
        pipeline = CpuPipeline(plan, precision="fp32")
        found = pipeline.tune(noise(120, 150), seconds=10.0)
        assert {trial.setting.lowering for trial in found.trials} == {None, *lowerings_of(plan)}
        pipeline.close()

    def test_a_form_that_gives_another_picture_is_not_chosen(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As if OpenVINO computed all lowerings but the plan's own wrongly."""
        plan = witnessed(enlarging_plan(tmp_path), tmp_path / "witnessed.onnx")
        check = CompiledPlan._check

        def other_picture(self: CompiledPlan, plan: Plan) -> None:
            check(self, plan if self._lowering is None else witnessed(plan, tmp_path / "shifted.onnx", shift=20))

        monkeypatch.setattr(CompiledPlan, "_check", other_picture)
        pipeline = CpuPipeline(plan, precision="fp32")
        found = pipeline.tune(noise(120, 150), seconds=5.0)
        assert found.best.lowering is None
        assert "fails the plan's self-test" in caplog.text
        pipeline.close()

    def test_the_picture_is_smaller_where_the_time_is_short(self, fp32: CpuPipeline, cache: Path) -> None:
        found = fp32.tune(noise(600, 800), seconds=0.2)
        height, width = found.size
        assert 100 <= height < 600
        assert 200 <= width < 800

    def test_another_halo_tile_or_precision_is_not_tuned(self, plan: Plan, cache: Path) -> None:
        use(plan, Setting(TilingConfig(48, 1, 4)))
        halo = plan.spec.default_halo
        with closing(CpuPipeline(plan, precision="fp32")) as pipeline:
            assert scheduled(pipeline, noise(100, 130), halo=halo).batch == 4
            assert scheduled(pipeline, noise(100, 130), halo=halo + 1).batch == 1
            assert scheduled(pipeline, noise(100, 130), halo=halo, tile=40).batch == 1
        assert load_tuning(plan, find_cpu(), precision="bf16") is None

    def test_a_network_that_is_tiled_in_one_way_only_says_so(self, tmp_path: Path, cache: Path) -> None:
        pipeline = CpuPipeline(small_plan(tmp_path, fixed_shape=(24, 24)), precision="fp32")
        with pytest.raises(DeviceError, match="nothing to tune"):
            pipeline.tune(noise(60, 60), seconds=1.0)
        pipeline.close()

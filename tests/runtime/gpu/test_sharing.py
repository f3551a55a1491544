"""The GPU pipeline in several threads, interrupted, closed, and short of memory."""

from __future__ import annotations

import io
import itertools
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, DeviceMemoryError
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")

TILE = 64
MEGABYTE = 1 << 20


# ---- what runs in the process of the stand-in


def opened(plan: Plan, script: Script, **options: Any) -> Any:
    from srgan_trt.runtime.gpu import tiling
    from srgan_trt.runtime.gpu.pipeline import GpuPipeline

    tiling.TILE = TILE
    return GpuPipeline(plan, source=SourceDouble(plan.path, script), **options)


def enlarged(pipeline: Any, image: np.ndarray, tile: int | None = 24, **options: Any) -> np.ndarray:
    height, width, channels = image.shape
    out = np.zeros((height * 4, width * 4, channels), image.dtype)
    pipeline.run(image, out, handmade.scheduled(pipeline, image, tile=tile), **options)
    return out


def in_threads(plan: Plan, images: list[np.ndarray], most: int = 2, context_bytes: int = 4096) -> dict[str, Any]:
    """Each image by a thread of its own, all at once, twice. most: pictures that may be under way."""
    from srgan_trt.runtime.gpu import worker_pool

    worker_pool.MAX_WORKERS = most
    script = Script(seconds=0.002, context_bytes=context_bytes)
    pipeline = opened(plan, script)
    found: dict[int, list[Any]] = {}

    def work(number: int) -> None:
        for _ in range(2):
            try:
                found.setdefault(number, []).append(enlarged(pipeline, images[number]))
            except DeviceError as error:
                found[number].append(str(error))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipeline.close()
    return {"found": found, "script": script, "max_concurrency": pipeline.max_concurrency}


def within(plan: Plan, long: np.ndarray, short: np.ndarray) -> dict[str, Any]:
    """A picture enlarged from its first byte to its last while another one, begun before, has tiles left."""
    script = Script(seconds=0.002, context_bytes=4096)
    pipeline = opened(plan, script)
    found: dict[str, Any] = {"script": script}

    def work() -> None:
        found["short"] = enlarged(pipeline, short)

    thread = threading.Thread(target=work)

    def wait(done: int) -> None:
        if thread.ident is None:
            thread.start()
            thread.join(60)

    found["long"] = enlarged(pipeline, long, progress=wait)
    thread.join()
    pipeline.close()
    return found


def interrupted(plan: Plan, image: np.ndarray) -> dict[str, Any]:
    """Ctrl-C while tiles are being made, then another picture on the same pipeline."""
    script = Script()
    pipeline = opened(plan, script)
    answers: list[str] = []

    def stop(done: int) -> None:
        if done > 1:
            raise KeyboardInterrupt

    try:
        enlarged(pipeline, image, progress=stop)
    except KeyboardInterrupt:
        answers.append("interrupted")
    out = enlarged(pipeline, image)
    pipeline.close()
    pipeline.close()
    try:
        enlarged(pipeline, image)
    except DeviceError as error:
        answers.append(str(error))
    return {"out": out, "answers": answers, "script": script}


def closed_meanwhile(plan: Plan, image: np.ndarray) -> dict[str, Any]:
    """Three threads run, one after another as there is room, while the pipeline is closed."""
    script = Script(seconds=0.02)
    pipeline = opened(plan, script)
    started = threading.Event()
    answers: list[Any] = []

    def work() -> None:
        try:
            answers.append(enlarged(pipeline, image, progress=lambda _: started.set()))
        except DeviceError as error:
            answers.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    pipeline.close()
    left = standin.leaks()["allocations"]
    for thread in threads:
        thread.join()
    return {"answers": answers, "script": script, "left": left}


def closed_with_errors(plan: Plan, image: np.ndarray, modules: list[str]) -> dict[str, Any]:
    """`close` where something of each class raises once it is done; then `close` again."""
    from importlib import import_module

    script, raised = Script(), []
    pipeline = opened(plan, script)
    enlarged(pipeline, image)
    for name in modules:
        module, _, kind = name.rpartition(".")
        owner = getattr(import_module(module), kind)

        def close(self: Any, before: Any = owner.close, kind: str = kind) -> None:
            before(self)
            raise RuntimeError(f"{kind} is not well")

        owner.close = close
    try:
        pipeline.close()
    except RuntimeError as error:
        raised.append(str(error))
    pipeline.close()
    return {"script": script, "raised": raised}


def short_of_memory(plan: Plan, image: np.ndarray, context_bytes: int, options: dict[str, Any]) -> dict[str, Any]:
    """As Upscaler does it: after a DeviceMemoryError the pipeline is asked for a schedule again."""
    log = io.StringIO()
    logging.basicConfig(stream=log, level=logging.WARNING)
    script = Script(context_bytes=context_bytes)
    pipeline = opened(plan, script, **options)
    tiles, out, errors = [], None, []
    for _ in range(6):
        planned = handmade.scheduled(pipeline, image).tiles
        tiles.append((planned.tile_height, planned.tile_width))
        try:
            out = enlarged(pipeline, image, tile=None)
            break
        except DeviceMemoryError as error:
            errors.append(str(error))
    pipeline.close()
    return {"out": out, "tiles": tiles, "errors": errors, "script": script, "log": log.getvalue()}


# ---- the tests


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


def run(function: Any, *arguments: Any, **settings: Any) -> standin.Outcome:
    settings = {"multiprocessors": 2, "order": "threads", "delay_us": 200} | settings
    outcome = standin.run(function, *arguments, kernels=host_build.library(), **settings)
    assert not outcome.leaks["allocations"]
    assert outcome.leaks["streams"] == outcome.leaks["events"] == outcome.leaks["graph_execs"] == 0
    script = outcome.value["script"]
    assert script.violations == []
    assert (script.engines, script.contexts) == (0, 0)
    assert not any(line["pageable"] for line in outcome.executed("copy"))
    return outcome


Interval = tuple[int, int]


@dataclass(frozen=True)
class Picture:
    """When a picture went up, was computed and had its last piece go down, in nanoseconds; which stream copied it."""

    worker: int
    up: Interval
    computed: Interval
    down: Interval

    @property
    def begin(self) -> int:
        return self.up[0]

    @property
    def end(self) -> int:
        return self.down[1]


def inside(one: Interval, other: Interval) -> bool:
    return other[0] < one[0] and one[1] < other[1]


def overlapping(pictures: list[Picture], how: Callable[[Picture, Picture], bool]) -> bool:
    """Whether two different pictures do."""
    return any(how(one, other) for one, other in itertools.permutations(pictures, 2))


def pictures(outcome: standin.Outcome) -> list[Picture]:
    """By the copies, and by the kernels that read the memory that was copied to."""
    copies = [line for line in outcome.executed("copy") if line["bytes"] > 1024]  # not the counts
    packs = [line for line in outcome.executed("kernel") if line["kernel"].startswith("pack")]
    unpacks = [line for line in outcome.executed("kernel") if line["kernel"].startswith("unpack")]
    found = []
    ups = [line for line in copies if line["direction"] == "HtoD"]
    for up in ups:
        later = [line["begin"] for line in ups if line["stream"] == up["stream"] and line["begin"] > up["begin"]]
        *_, down = (
            line
            for line in copies
            if (line["direction"], line["stream"]) == ("DtoH", up["stream"])
            and up["begin"] < line["begin"] < min(later, default=line["end"])
        )
        mine = [
            line
            for line in packs
            if line["arguments"][0] == up["address"] and up["end"] <= line["begin"] <= down["begin"]
        ]
        streams = {line["stream"] for line in mine}
        last = [line for line in unpacks if line["stream"] in streams and up["end"] <= line["end"] <= down["begin"]]
        found.append(
            Picture(
                up["stream"],
                (up["begin"], up["end"]),
                (min(line["begin"] for line in mine), max(line["end"] for line in last)),
                (down["begin"], down["end"]),
            )
        )
    return found


def assert_right(plan: Plan, image: np.ndarray, out: np.ndarray) -> None:
    """Within the level that fp16 may differ by."""
    assert handmade.differences(out, handmade.expected(plan, image)).max() <= 1


@pytest.mark.parametrize("count", [2, 4])
def test_pictures_of_several_threads(plan: Plan, count: int) -> None:
    images = [handmade.noise(40 + 7 * number, 60, seed=number) for number in range(count)]
    images[1] = handmade.noise(33, 47, 1, dtype=np.uint16)
    outcome = run(in_threads, plan, images)
    for number, image in enumerate(images):
        for out in outcome.value["found"][number]:
            assert isinstance(out, np.ndarray), out
            limit = 1 if image.dtype == np.uint8 else 2
            assert handmade.differences(out, handmade.expected(plan, image)).max() <= limit
    assert outcome.value["max_concurrency"] == 2
    # Two pictures are under way at once: four slots' streams and two for copies, however many threads there are.
    assert len({line["stream"] for line in outcome.executed("kernel")}) <= 8
    shown = pictures(outcome)
    assert len(shown) == 2 * count
    assert len({picture.worker for picture in shown}) == 2
    assert overlapping(shown, lambda one, other: one.begin < other.end and other.begin < one.end)


def test_a_picture_goes_up_and_down_while_another_is_computed(plan: Plan) -> None:
    images = {"long": handmade.noise(120, 120), "short": handmade.noise(30, 40)}
    outcome = run(within, plan, *images.values())
    for name, image in images.items():
        assert_right(plan, image, outcome.value[name])
    one, other = sorted(pictures(outcome), key=lambda picture: picture.begin)
    assert inside(other.up, one.computed)
    assert inside(other.down, one.computed)


def test_pictures_of_several_threads_one_after_another(plan: Plan) -> None:
    """The overlap above is none of the tests' own making."""
    images = [handmade.noise(40, 60, seed=seed) for seed in range(2)]
    outcome = run(in_threads, plan, images, 1)
    shown = pictures(outcome)
    assert len(shown) == 4
    assert not overlapping(shown, lambda one, other: one.begin < other.end and other.begin < one.end)


@pytest.mark.parametrize("order", ["threads", "late"])
def test_interrupted_picture_leaves_a_pipeline_that_works(plan: Plan, order: str) -> None:
    image = handmade.noise(90, 90)
    outcome = run(interrupted, plan, image, order=order)
    assert_right(plan, image, outcome.value["out"])
    assert outcome.value["answers"] == ["interrupted", "this pipeline was closed: open another one"]


def test_closing_waits_for_pictures_under_way(plan: Plan) -> None:
    image = handmade.noise(60, 60)
    answers = run(closed_meanwhile, plan, image).value["answers"]
    outcomes = [isinstance(each, np.ndarray) for each in answers]
    assert 1 <= sum(outcomes) < 3
    for each in answers:
        if isinstance(each, np.ndarray):
            assert_right(plan, image, each)
        else:
            assert "was closed" in each


@pytest.mark.parametrize(
    "modules",
    [
        ["tests.tensorrt_double.engine.EngineDouble"],
        ["srgan_trt.runtime.gpu.network.NetworkSlot"],
        ["srgan_trt.runtime.gpu.memory.HostBuffer", "srgan_trt.runtime.gpu.memory.DeviceBuffer"],
        ["srgan_trt.runtime.gpu.kernels.PixelKernels", "srgan_trt.runtime.gpu.worker.PictureWorker"],
    ],
)
def test_one_error_while_closing_leaves_nothing_else_behind(plan: Plan, modules: list[str]) -> None:
    outcome = run(closed_with_errors, plan, handmade.noise(40, 40), modules)
    (said,) = outcome.value["raised"]
    assert "is not well" in said
    assert outcome.leaks["modules"] == outcome.leaks["pools"] == 0


def test_batches_get_smaller_where_memory_is_short(plan: Plan) -> None:
    """Nine tiles of 56 x 56: two slots for three at once need 1.9 MB of tensors and 16 for the network, more than was
    reckoned with; for one 0.6 and 5.4. The engine stays."""
    image = handmade.noise(150, 150)
    outcome = run(short_of_memory, plan, image, 3_500_000, {}, multiprocessors=16, memory=16 * MEGABYTE)
    assert_right(plan, image, outcome.value["out"])
    assert [settings.batch for settings in outcome.value["script"].opened] == [8]
    assert outcome.value["errors"] == []
    assert "batches of at most 1 tiles" in outcome.value["log"]


def test_tiles_get_smaller_where_memory_is_shorter_still(plan: Plan) -> None:
    """Two slots for one tile of 64 x 64 need 0.84 MB and 4.4 for the network, more than was reckoned with; for one of
    half as many pixels half of that. The engine stays."""
    image = handmade.noise(120, 120)
    outcome = run(short_of_memory, plan, image, 2_200_000, {"max_vram": 4_500_000}, multiprocessors=2)
    assert_right(plan, image, outcome.value["out"])
    assert [settings.batch for settings in outcome.value["script"].opened] == [1]
    assert len(outcome.value["errors"]) == 1
    assert "do not fit into the GPU's memory" in outcome.value["errors"][0]
    first, second = outcome.value["tiles"]
    assert max(second) < max(first)
    assert outcome.leaks["devices"][0]["peak"] <= 4_500_000


def test_one_picture_at_a_time_where_memory_does_not_do_for_two(plan: Plan) -> None:
    """A picture needs two slots of 0.12 MB of tensors and 0.42 for the network, and 0.2 for itself."""
    images = [handmade.noise(50, 60, seed=seed) for seed in range(3)]
    outcome = run(in_threads, plan, images, 2, 1_500_000, memory=1_500_000)
    for number, image in enumerate(images):
        for out in outcome.value["found"][number]:
            assert isinstance(out, np.ndarray), out
            assert_right(plan, image, out)
    assert outcome.value["max_concurrency"] == 1
    assert len(outcome.value["script"].opened) == 1


def test_memory_for_nothing_is_an_error(plan: Plan) -> None:
    outcome = run(short_of_memory, plan, handmade.noise(70, 70), 4096, {"max_vram": 10_000}, multiprocessors=4)
    assert outcome.value["out"] is None
    assert all("allow more (--max-vram)" in error for error in outcome.value["errors"])

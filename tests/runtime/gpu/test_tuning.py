"""`tune` on a GPU: tiles, batches and PReLUs are tried, each by an engine of its own, and what was found is used."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan_trt.cache import write_record
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError
from srgan_trt.runtime.tuning import DEFAULT, Setting, TilingConfig, Trial, Tuning
from tests import handmade
from tests.cuda_driver import build, standin
from tests.cuda_host import build as host_build
from tests.tensorrt_double import Script, SourceDouble

if build.missing():
    pytest.skip(build.missing() or "", allow_module_level=True)
pytest.importorskip("cuda.core", reason="the GPU pipeline needs cuda-core")
pytest.importorskip("cuda.bindings.nvrtc", reason="the GPU pipeline needs cuda-bindings")

TILINGS = (TilingConfig(48, 2), TilingConfig(40, 2, 3), TilingConfig(24, 2))
"""The last one keeps too little between two halos."""


def opened_pipeline(plan: Plan, script: Script, **options: Any) -> Any:
    from srgan_trt.runtime.gpu import pipeline, tiling, tuning

    tiling.TILE = 64
    tuning.TILINGS = TILINGS
    return pipeline.GpuPipeline(plan, source=SourceDouble(plan.path, script, **options))


def tuned(plan: Plan, image: NDArray[np.uint8], script: Script, options: dict[str, Any]) -> dict[str, Any]:
    """What tuning finds, and the picture after it."""
    from srgan_trt.runtime import tuning as trials

    trials._ROUNDS = (1, 1)
    found: dict[str, Any] = {"script": script}
    with contextlib.closing(opened_pipeline(plan, script, **options)) as pipeline:
        found["before"] = pipeline.tuning()
        try:
            found["tuning"] = pipeline.tune(image, seconds=60)  # more than its few rounds take on a busy machine
        except DeviceError as error:
            found["error"] = str(error)
        found["after"] = pipeline.tuning()
    return found


def as_kept(plan: Plan, images: list[NDArray[Any]], setting: Setting, script: Script) -> dict[str, Any]:
    """Pictures of a new process, where `setting` was found to be best."""
    outs, schedules = [], []
    with contextlib.closing(opened_pipeline(plan, script)) as pipeline:
        trial = Trial(DEFAULT, 1.0, 1)
        found = Tuning(best=setting, gain=2.0, size=(1, 1), trials=(trial,), date="2026-11-29")
        write_record(pipeline._tunings._path("fp16"), found)
        assert pipeline.tuning() == found
        for image in images:
            out = np.zeros((image.shape[0] * 4, image.shape[1] * 4, 3), image.dtype)
            schedules.append(handmade.scheduled(pipeline, image, halo=plan.spec.default_halo))
            pipeline.run(image, out, schedules[-1])
            outs.append(out)
    return {"outs": outs, "schedules": schedules, "script": script}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return handmade.small_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))


def run(function: Any, *arguments: Any) -> dict[str, Any]:
    outcome = standin.run(function, *arguments, kernels=host_build.library())
    script = outcome.value["script"]
    assert script.violations == []
    assert (script.engines, script.contexts) == (0, 0)
    assert not outcome.leaks["allocations"]
    return dict(outcome.value)


def test_tiles_batches_and_prelus_are_tried_and_the_finding_is_kept(plan: Plan) -> None:
    found = run(tuned, plan, handmade.noise(100, 150), Script(), {})
    assert found["before"] is None
    assert found["after"] == found["tuning"]
    tried = {trial.setting for trial in found["tuning"].trials}
    assert {DEFAULT, *map(Setting, TILINGS[:2])} < tried
    assert Setting(TILINGS[2]) not in tried
    assert [setting for setting in tried if setting.prelu == "apart"]
    sizes = {(engine.tile, engine.batch) for engine in found["script"].opened}
    assert {((48, 48), 1), ((40, 40), 3)} < sizes
    assert {engine.prelu for engine in found["script"].opened} == {"inside", "apart"}
    again = run(tuned, plan, handmade.noise(100, 150), Script(), {})
    assert again["before"] == found["tuning"]


@pytest.mark.parametrize(
    "setting",
    [Setting(TilingConfig(40, 2, 3)), Setting(TilingConfig(48, 2), prelu="apart"), Setting(prelu="apart")],
    ids=["tiles", "both", "prelu"],
)
def test_a_tuned_setting_gives_the_same_pictures_by_its_own_engine(plan: Plan, setting: Setting) -> None:
    images = [handmade.noise(100, 150), handmade.noise(20, 30), handmade.noise(100, 150, dtype=np.uint16)]
    found = run(as_kept, plan, images, setting, Script())
    for image, out in zip(images, found["outs"], strict=True):
        limit = 1 if image.dtype == np.uint8 else 300
        assert handmade.differences(out, handmade.expected(plan, image)).max() <= limit
    narrow = [engine for engine in found["script"].opened if engine.precision == "fp16"]
    (engine,) = narrow  # small and large pictures share it
    assert engine.prelu == (setting.prelu or "inside")
    if setting.tiling is not None:
        side = setting.tiling.max_tile
        assert (engine.tile, engine.batch) == ((side, side), setting.tiling.batch)
        assert max(found["schedules"][0].tiles.tile_height, found["schedules"][0].tiles.tile_width) <= side
        assert found["schedules"][0].batch == setting.tiling.batch
    wide = [engine for engine in found["script"].opened if engine.precision == "fp32"]
    assert {engine.prelu for engine in wide} == {"inside"}, "16-bit pictures were not tuned"


def test_a_precision_that_there_is_no_engine_in_is_told_at_once(plan: Plan) -> None:
    found = run(tuned, plan, handmade.noise(50, 60), Script(absent={"fp16": DeviceError("the builder refused")}), {})
    assert found["error"] == "the builder refused"
    assert found["after"] is None


def test_an_engine_file_leaves_nothing_to_tune(plan: Plan) -> None:
    found = run(tuned, plan, handmade.noise(50, 60), Script(), {"largest_tile": (64, 64)})
    assert found["error"] == f"{plan.spec.name} leaves nothing to tune: its engine runs in one way only"
    assert found["after"] is None


def test_a_setting_that_fails_is_not_taken(plan: Plan) -> None:
    """The double refuses what it is told to by its settings."""
    found = run(tuned_without_prelus_apart, plan, handmade.noise(100, 150))
    assert found["error"] is None
    assert "apart" not in {trial.setting.prelu for trial in found["tuning"].trials}


def tuned_without_prelus_apart(plan: Plan, image: NDArray[np.uint8]) -> dict[str, Any]:
    script = Script()
    opened = SourceDouble.open

    def open_(self: SourceDouble, settings: Any, gpu: Any) -> Any:
        if settings.prelu == "apart":
            raise DeviceError("no kernel")
        return opened(self, settings, gpu)

    SourceDouble.open = open_  # type: ignore[method-assign]  # in a process of its own
    return {"error": None, **tuned(plan, image, script, {})}


def test_both_forms_of_a_network_are_offered(plan: Plan, tmp_path: Path) -> None:
    from srgan_trt.runtime.tensorrt.cache import EngineCache
    from srgan_trt.runtime.tensorrt.library import Library
    from srgan_trt.runtime.tensorrt.pytorch import TorchSource

    library = Library.__new__(Library)
    assert EngineCache(plan, library=library).prelus("fp16") == ("inside", "apart")
    without = handmade.enlarging_plan(tmp_path)
    assert EngineCache(without, library=library).prelus("fp16") == ("inside",)
    assert EngineCache(plan, library=library).prelus("int8") == ("inside",)
    assert TorchSource.prelus(TorchSource.__new__(TorchSource), "fp16") == ("apart",)

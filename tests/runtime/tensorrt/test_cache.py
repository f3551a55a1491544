"""Engines that are built once, kept, and built again when they are of no use.

TensorRT-RTX really builds them. Loading needs a GPU: in its place stands a recorder of what would be loaded.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from srgan_trt import cache
from srgan_trt.compiler.plan import Plan
from srgan_trt.errors import DeviceError, DeviceMemoryError, PlanError
from srgan_trt.runtime.gpu.device import Gpu, gpus
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt import cache as engine_cache
from srgan_trt.runtime.tensorrt.cache import EngineCache, EngineOnDisk
from srgan_trt.runtime.tensorrt.file import EngineHeader, read_engine, read_header, write_engine
from srgan_trt.runtime.tensorrt.from_plan import build_engine_file
from srgan_trt.runtime.tensorrt.library import Library, find_library

from ...handmade import small_plan

pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")

ADA = Gpu(0, "NVIDIA GeForce RTX 4090", (8, 9), "13.0", 24 << 30, 128)
HALF = EngineSettings(precision="fp16", tile=(64, 64), batch=2)


class Loads:
    """Stands for LoadedEngine; remembers what was loaded, and can refuse."""

    def __init__(self) -> None:
        self.loaded: list[tuple[EngineHeader, bytes]] = []
        self.refuse: list[DeviceError] = []

    def __call__(self, library: Library, header: EngineHeader, data: bytes, **options: Any) -> Any:
        if self.refuse:
            raise self.refuse.pop()
        self.loaded.append((header, data))
        self.options = options
        return header


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Loads:
    recorder = Loads()
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(engine_cache, "LoadedEngine", recorder)
    monkeypatch.setattr(engine_cache, "need_gpu", lambda without: None)
    return recorder


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path)


@pytest.fixture
def source(plan: Plan) -> EngineCache:
    return EngineCache(plan, library=find_library("tensorrt-rtx"))


def builds(caplog: pytest.LogCaptureFixture) -> int:
    return sum(record.message.startswith("building an engine") for record in caplog.records)


class TestCache:
    def test_an_engine_is_built_once(
        self, source: EngineCache, loads: Loads, plan: Plan, caplog: pytest.LogCaptureFixture
    ) -> None:
        source.open(HALF, ADA)
        EngineCache(plan, library=source.library).open(HALF, ADA)
        assert builds(caplog) == 1
        assert loads.loaded[0] == loads.loaded[1]
        header, _ = loads.loaded[0]
        assert header.settings == dataclasses.replace(HALF, compute_capability=(8, 9))
        assert header.plan_hash == plan.body_hash
        assert header.compute_capabilities == ((8, 9),)
        assert read_engine(source.path(header.settings, ADA)) == loads.loaded[0]

    def test_it_is_said_that_this_takes_a_while(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        source.open(HALF, ADA)
        assert "building an engine of small for NVIDIA GeForce RTX 4090 (fp16, tiles of 64 x 64, 2 at once)" in (
            caplog.text
        )

    def test_progress_is_told(self, plan: Plan, loads: Loads) -> None:
        told: list[float] = []
        rtx = find_library("tensorrt-rtx")
        EngineCache(plan, library=rtx, progress=lambda phase, part: told.append(part)).open(HALF, ADA)
        assert told[-1] == 1.0

    def test_the_key_holds_whatever_makes_another_engine(
        self, source: EngineCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        paths = [
            source.path(HALF, ADA),
            *(
                source.path(dataclasses.replace(HALF, **change), ADA)
                for change in (
                    {"precision": "fp32"}, {"tile": (64, 96)}, {"batch": 3},
                    {"compute_capability": (8, 6)}, {"prelu": "apart"},
                )
            ),
            *(
                source.path(HALF, dataclasses.replace(ADA, **change))
                for change in ({"name": "NVIDIA L4"}, {"compute_capability": (9, 0)})
            ),
            EngineCache(small_plan(other, last="Sigmoid"), library=source.library).path(HALF, ADA),
            *(
                EngineCache(small_plan(other), library=dataclasses.replace(source.library, **change)).path(HALF, ADA)
                for change in ({"version": "9"}, {"flavour": "tensorrt"})
            ),
        ]  # fmt: skip
        assert len(set(paths)) == len(paths) == 11
        monkeypatch.setattr(engine_cache, "driver_version", lambda: "590.10")
        assert source.path(HALF, dataclasses.replace(ADA, number=3, memory=1, driver="13.1")) == paths[0]

    def test_a_damaged_engine_is_built_again(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        header = source.open(HALF, ADA)
        path = source.path(header.settings, ADA)
        path.write_bytes(path.read_bytes()[:-100])
        source.open(HALF, ADA)
        assert builds(caplog) == 2
        assert "of no use and is built again: the engine" in caplog.text
        read_engine(path)

    def test_one_of_other_settings_is_built_again(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Or a picture that needs fp32 would be computed in fp16, and nobody would know."""
        wide = dataclasses.replace(HALF, precision="fp32", compute_capability=(8, 9))
        source.open(HALF, ADA)
        [half] = cache.cache_folder().rglob("*.engine")
        shutil.copyfile(half, source.path(wide, ADA))
        assert source.open(wide, ADA).settings == wide
        assert "was built for other settings" in caplog.text
        assert builds(caplog) == 2

    def test_one_of_another_driver_is_taken_and_noted(
        self, plan: Plan, loads: Loads, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trt = Library("tensorrt", "11.4.0", object())
        source = EngineCache(plan, library=trt)
        monkeypatch.setattr(engine_cache, "driver_version", lambda: "590.10")
        built: list[str] = []

        def assemble(plan: Plan, settings: EngineSettings, **_: Any) -> tuple[EngineHeader, bytes]:
            built.append("580.65.06" if not built else "590.10")
            data = b"engine"
            return EngineHeader(
                spec=plan.spec, plan_hash=plan.body_hash, flavour="tensorrt", library="11.4.0",
                compute_capabilities=((8, 9),), gpu=ADA.name, cuda=ADA.driver, driver=built[-1], settings=settings,
                element="float16", layers=(), unreported=0, float32=(), engine_bytes=len(data),
                engine_sha256=hashlib.sha256(data).hexdigest(),
            ), data  # fmt: skip

        monkeypatch.setattr(engine_cache, "assemble_engine", assemble)
        with caplog.at_level("INFO"):
            for _ in range(3):
                source.open(HALF, ADA)
        assert built == ["580.65.06"]
        assert "was built with the driver 580.65.06, 590.10 is installed" in caplog.text

    def test_one_that_tensorrt_does_not_take_is_built_again(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        source.open(HALF, ADA)
        loads.refuse = [DeviceError("TensorRT cannot load the engine"), DeviceError("nor now")]
        source.open(HALF, ADA)
        assert builds(caplog) == 2

    def test_want_of_memory_is_no_reason_to_build_again(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        source.open(HALF, ADA)
        loads.refuse = [DeviceMemoryError("no memory left")]
        with pytest.raises(DeviceMemoryError):
            source.open(HALF, ADA)
        assert builds(caplog) == 1

    def test_a_build_that_fails_leaves_nothing(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(DeviceError, match="does not build for compute capability"):
            source.open(HALF, dataclasses.replace(ADA, compute_capability=(9, 0)))
        assert not list(cache.cache_folder().rglob("*.engine"))
        assert builds(caplog) == 0

    def test_float16_is_measured_once_for_all_sizes(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level("INFO"):
            source.open(HALF, ADA)
            source.open(dataclasses.replace(HALF, tile=(96, 96)), ADA)
        assert builds(caplog) == 2
        assert sum("in fp16:" in record.message for record in caplog.records) == 1

    def test_threads_that_want_the_same_build_it_once(
        self, source: EngineCache, loads: Loads, caplog: pytest.LogCaptureFixture
    ) -> None:
        threads = [threading.Thread(target=source.open, args=(HALF, ADA)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(loads.loaded), builds(caplog)) == (3, 1)

    def test_without_a_cache_folder_it_is_built_for_this_process(
        self, source: EngineCache, loads: Loads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "file" / "cache"))
        source.open(HALF, ADA)
        source.open(HALF, ADA)
        assert loads.loaded[0] == loads.loaded[1]

    @pytest.mark.skipif(gpus() is not None, reason="there is an NVIDIA driver here")
    def test_without_a_driver_nothing_is_built(self, source: EngineCache, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(DeviceError, match="there is no NVIDIA driver here"):
            source.open(HALF, ADA)
        assert builds(caplog) == 0


class TestOnDisk:
    @pytest.fixture
    def path(self, plan: Plan, tmp_path: Path) -> Path:
        build_engine_file(plan, tmp_path / "small.engine", target="tensorrt-rtx", tile=64, batch=4)
        return tmp_path / "small.engine"

    def test_it_is_loaded_if_it_is_trusted(self, path: Path, loads: Loads, plan: Plan) -> None:
        source = EngineOnDisk(path, trust_model=True)
        source.open(HALF, ADA)
        assert loads.loaded == [read_engine(path)]
        assert (source.plan.spec, source.plan.body_hash) == (plan.spec, plan.body_hash)

    def test_else_it_is_not_even_read_whole(self, path: Path, loads: Loads) -> None:
        with pytest.raises(DeviceError, match=r"small\.engine holds code that would run.*--trust-model"):
            EngineOnDisk(path)
        assert not loads.loaded

    def test_it_runs_fewer_tiles_at_once_as_well(self, path: Path, loads: Loads) -> None:
        EngineOnDisk(path, trust_model=True).open(HALF, ADA)
        assert (loads.options["settings"].batch, loads.options["settings"].tile) == (2, (64, 64))
        EngineOnDisk(path, trust_model=True).open(dataclasses.replace(HALF, batch=9), ADA)
        assert loads.options["settings"].batch == 4

    def test_another_precision(self, path: Path, loads: Loads) -> None:
        with pytest.raises(DeviceError, match="computes in fp16, fp32 is needed"):
            EngineOnDisk(path, trust_model=True).open(dataclasses.replace(HALF, precision="fp32"), ADA)

    def test_larger_tiles(self, path: Path, loads: Loads) -> None:
        with pytest.raises(DeviceError, match="at most 64 x 64 pixels, not 96 x 64: use --tile 64"):
            EngineOnDisk(path, trust_model=True).open(dataclasses.replace(HALF, tile=(64, 96)), ADA)

    def test_another_gpu(self, path: Path, loads: Loads) -> None:
        turing = dataclasses.replace(ADA, compute_capability=(7, 5))
        with pytest.raises(DeviceError, match=r"8\.0, 8\.6, 8\.9, 12\.0, this NVIDIA GeForce RTX 4090 has 7\.5"):
            EngineOnDisk(path, trust_model=True).open(HALF, turing)
        assert not loads.loaded

    def test_another_driver_is_said_and_taken(
        self, path: Path, loads: Loads, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        header, data = read_engine(path)
        trt = Library("tensorrt", "11.4.0", object())
        facts = {"flavour": "tensorrt", "library": "11.4.0", "gpu": ADA.name, "cuda": "13.0", "driver": "580.65.06"}
        write_engine(path, dataclasses.replace(header, **facts), data)
        monkeypatch.setattr(engine_cache, "driver_version", lambda: "590.10")
        source = EngineOnDisk(path, trust_model=True, library=trt)
        with caplog.at_level("INFO"):
            source.open(HALF, ADA)
            source.open(HALF, ADA)
        assert len(loads.loaded) == 2
        assert caplog.text.count("was built with the driver 580.65.06, 590.10 is installed") == 1

    def test_a_damaged_file(self, path: Path, loads: Loads) -> None:
        source = EngineOnDisk(path, trust_model=True)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(PlanError, match="is cut off"):
            source.open(HALF, ADA)
        assert read_header(path) == source.header
        assert not loads.loaded

"""TensorRT's measurements are handed from one build to the next. TensorRT itself needs a GPU: a double builds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from srgan_trt import cache
from srgan_trt.compiler.plan import Plan
from srgan_trt.runtime.gpu.device import Gpu
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt import build, from_plan, timings
from srgan_trt.runtime.tensorrt import cache as engine_cache
from srgan_trt.runtime.tensorrt.build import BuiltEngine
from srgan_trt.runtime.tensorrt.cache import EngineCache
from srgan_trt.runtime.tensorrt.from_plan import build_engine_file
from srgan_trt.runtime.tensorrt.library import Library

from ...handmade import small_plan

H100 = Gpu(0, "NVIDIA H100", (9, 0), "13.0", 80 << 30, 132)
L4 = Gpu(1, "NVIDIA L4", (8, 9), "13.0", 24 << 30, 58)
TENSORRT = Library("tensorrt", "11.4.0", SimpleNamespace())
HALF = EngineSettings(precision="fp16", tile=(64, 64), batch=2)


class Builder:
    """Stands for build_engine: measures one kernel more in each build, and remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[bytes | None] = []

    def __call__(self, network: bytes, settings: EngineSettings, **options: Any) -> BuiltEngine:
        earlier = options["timing_cache"]
        self.given.append(earlier)
        return BuiltEngine(b"engine", np.dtype(np.float16), (), 0, (), (earlier or b"") + b"kernel,", 1.0)


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Builder:
    @contextlib.contextmanager
    def current(device: Any) -> Iterator[int]:
        yield 0

    made = Builder()
    monkeypatch.setenv("SRGAN_TRT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(from_plan, "build_engine", made)
    monkeypatch.setattr(from_plan, "find_library", lambda name: TENSORRT)
    monkeypatch.setattr(from_plan, "find_gpu", lambda number: (H100, L4)[number])
    monkeypatch.setattr(from_plan, "current", current)
    monkeypatch.setattr(from_plan, "core", lambda: SimpleNamespace(Device=int))
    monkeypatch.setattr(engine_cache, "need_gpu", lambda without: None)
    monkeypatch.setattr(engine_cache, "LoadedEngine", lambda *_, **__: None)
    return made


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return small_plan(tmp_path)


def test_files_and_cached_engines_share_them(builder: Builder, plan: Plan, tmp_path: Path) -> None:
    build_engine_file(plan, tmp_path / "one.engine", target="tensorrt")
    EngineCache(plan, library=TENSORRT).open(HALF, H100)
    build_engine_file(plan, tmp_path / "two.engine", target="tensorrt")
    assert builder.given == [None, b"kernel,", b"kernel,kernel,"]


def test_a_new_driver_measures_anew(
    builder: Builder, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("580.65.06", "590.10"):
        monkeypatch.setattr(timings, "driver_version", lambda version=version: version)
        build_engine_file(plan, tmp_path / "small.engine", target="tensorrt")
    assert builder.given == [None, None]


def test_each_gpu_has_its_own(builder: Builder, plan: Plan, tmp_path: Path) -> None:
    for number in (0, 1, 0):
        build_engine_file(plan, tmp_path / "small.engine", target="tensorrt", gpu_id=number)
    assert builder.given == [None, None, b"kernel,"]


def test_a_damaged_file_is_measured_again(
    builder: Builder, plan: Plan, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build_engine_file(plan, tmp_path / "small.engine", target="tensorrt")
    (file,) = cache.cache_folder().rglob("*.timing")
    file.write_bytes(file.read_bytes() + b"!")
    build_engine_file(plan, tmp_path / "small.engine", target="tensorrt")
    assert builder.given == [None, None]
    assert "is damaged: making it again" in caplog.text


class Config:
    """An IBuilderConfig that takes what one TensorRT measured, and nothing else."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def create_timing_cache(self, content: bytes) -> bytes:
        return content

    def set_timing_cache(self, content: bytes, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        fits = content in (b"", b"kernel,")
        self.taken += [content] * fits
        return fits


@pytest.mark.parametrize(("earlier", "taken"), [(None, b""), (b"kernel,", b"kernel,"), (b"of another TensorRT", b"")])
def test_tensorrt_begins_with_what_fits(earlier: bytes | None, taken: bytes) -> None:
    config = Config()
    messages: Any = SimpleNamespace(forget=lambda: None)
    assert build._timing_cache(TENSORRT, config, earlier, messages) == taken
    assert config.taken == [taken]

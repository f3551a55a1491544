"""How TensorRT's runtime is used: by a double of it that notes the calls, whose names the real library must have."""

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from srgan_trt.cache import read_checksummed, write_checksummed
from srgan_trt.errors import DeviceError, DeviceMemoryError
from srgan_trt.runtime.gpu.interfaces import EngineSettings
from srgan_trt.runtime.tensorrt import library
from srgan_trt.runtime.tensorrt.file import EngineHeader
from srgan_trt.runtime.tensorrt.library import Library
from srgan_trt.runtime.tensorrt.loaded import LoadedEngine

from ...handmade import small_spec

DATA = b"an engine"
HEADER = EngineHeader(
    spec=small_spec(), plan_hash="0" * 64, flavour="tensorrt-rtx", library="1", compute_capabilities=((8, 9),),
    gpu=None, cuda=None, driver=None, settings=EngineSettings(precision="fp16", tile=(64, 64), batch=4),
    element="float16", layers=(), unreported=0, float32=(), engine_bytes=len(DATA),
    engine_sha256=hashlib.sha256(DATA).hexdigest(),
)  # fmt: skip


class Logger:
    ERROR = SimpleNamespace(name="ERROR")

    def __init__(self) -> None: ...


class Strategy:
    EAGER = "eager"


class Allocation:
    USER_MANAGED = "ours"


class RuntimeCache:
    def __init__(self, trt: TensorRt) -> None:
        self._trt = trt

    def deserialize(self, blob: bytes) -> bool:
        self._trt.calls.append(f"kernels {blob.decode()}")
        return blob == b"old kernels"

    def serialize(self) -> bytes:
        return b"new kernels"


class RuntimeConfig:
    def __init__(self, trt: TensorRt) -> None:
        self._trt = trt
        self.dynamic_shapes_kernel_specialization_strategy = "lazy"
        self.memory = "theirs"

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.memory = strategy

    def create_runtime_cache(self) -> RuntimeCache:
        return RuntimeCache(self._trt)

    def set_runtime_cache(self, cache: RuntimeCache) -> bool:
        self._trt.calls.append("cache set")
        return True


class CudaEngine:
    device_memory_size_v2 = 12345
    num_optimization_profiles = 1

    def __init__(self, trt: TensorRt) -> None:
        self._trt = trt

    def get_tensor_format(self, name: str) -> str:
        return self._trt.formats[name]

    def create_execution_context(self, config: RuntimeConfig | str) -> Any:
        if isinstance(config, str):
            self._trt.calls.append(f"context in {config} memory")
        else:
            strategy = config.dynamic_shapes_kernel_specialization_strategy
            self._trt.calls.append(f"context {strategy} in {config.memory} memory")
        if self._trt.no_context:
            self._trt.logger.log(Logger.ERROR, "no memory for a context")
            return None
        return SimpleNamespace(of=self)


class TwoProfiles(CudaEngine):
    num_optimization_profiles = 2

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert name == "input"
        largest = [(4, 3, 256, 320), (1, 3, 128, 96)][profile_index]
        return [(1, 3, 1, 1), largest, largest]


class RtxEngine(CudaEngine):
    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig(self._trt)


class TensorRt:
    """The names of NVIDIA's module that loading uses."""

    ILogger = Logger
    DynamicShapesKernelSpecializationStrategy = Strategy
    ExecutionContextAllocationStrategy = Allocation
    TensorFormat = SimpleNamespace(LINEAR="linear")

    def __init__(self, engine: type[CudaEngine] = RtxEngine) -> None:
        self.calls: list[str] = []
        self.no_context = False
        self.formats = {"input": "linear", "output": "linear"}
        self.says: str | None = None
        self.logger: Any = None
        self._engine = engine
        self.engines: weakref.WeakSet[CudaEngine] = weakref.WeakSet()

    def Runtime(self, logger: Any) -> Any:
        self.logger = logger
        return SimpleNamespace(deserialize_cuda_engine=self._load)

    def _load(self, data: bytes) -> CudaEngine | None:
        assert data == DATA
        if self.says is not None:
            self.logger.log(Logger.ERROR, self.says)
            return None
        engine = self._engine(self)
        self.engines.add(engine)
        return engine


@pytest.fixture(autouse=True)
def _with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "need_gpu", lambda without: None)


def load(trt: TensorRt, **options: Any) -> LoadedEngine:
    return LoadedEngine(Library("tensorrt-rtx", "1", trt), HEADER, DATA, **options)


def test_what_a_pipeline_sees() -> None:
    engine = load(TensorRt())
    assert (engine.settings, engine.element, engine.device_bytes) == (HEADER.settings, np.float16, 12345)
    seen = EngineSettings(precision="fp16", tile=(64, 64), batch=2)
    assert load(TensorRt(), settings=seen).settings == seen


def test_tensorrt_rtx_compiles_before_it_runs() -> None:
    """Or a CUDA graph would keep the kernels that bridge the time."""
    trt = TensorRt()
    assert load(trt).create_execution_context() is not None
    assert trt.calls == ["context eager in ours memory"]


def test_tensorrt_needs_no_such_thing() -> None:
    trt = TensorRt(CudaEngine)
    assert load(trt).create_execution_context() is not None
    assert trt.calls == ["context in ours memory"]


def test_compiled_kernels_are_kept_for_the_next_start(tmp_path: Path) -> None:
    kernels = tmp_path / "small.kernels"
    write_checksummed(kernels, b"old kernels")
    trt = TensorRt()
    engine = load(trt, kernels=kernels)
    assert trt.calls == ["kernels old kernels", "cache set"]
    engine.close()
    assert read_checksummed(kernels) == b"new kernels"


def test_kernels_of_a_new_shape_are_told_and_kept_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kernels = tmp_path / "small.kernels"
    engine = load(TensorRt(), kernels=kernels)
    with caplog.at_level("INFO"), engine.first_run((4, 256, 320)):
        assert "compiles its kernels for 4 windows of 320 x 256 pixels" in caplog.text
        assert not kernels.exists()
    assert read_checksummed(kernels) == b"new kernels"
    kernels.unlink()
    with engine.first_run((1, 256, 320)):
        pass
    assert not kernels.exists(), "nothing new was compiled"


def test_tensorrt_compiles_nothing_while_it_runs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), load(TensorRt(CudaEngine)).first_run((4, 256, 320)):
        pass
    assert "compiles" not in caplog.text


def test_kernels_of_another_driver_are_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kernels = tmp_path / "small.kernels"
    write_checksummed(kernels, b"strange kernels")
    with caplog.at_level("INFO"):
        engine = load(TensorRt(), kernels=kernels)
    assert "compiled again" in caplog.text
    engine.close()
    assert read_checksummed(kernels) == b"new kernels"


def test_the_profile_of_a_shape_is_the_smallest_that_takes_it() -> None:
    shapes = [(1, 128, 96), (1, 9, 9), (2, 9, 9), (1, 129, 96), (1, 128, 97), (4, 256, 320)]
    engine = load(TensorRt(TwoProfiles))
    assert [engine.profile(shape) for shape in shapes] == [1, 1, 0, 0, 0, 0]
    assert load(TensorRt()).profile((1, 9, 9)) is None, "it is chosen without being named"


def test_a_context_that_cannot_be_made_is_none_and_tensorrt_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    trt = TensorRt()
    engine = load(trt)
    trt.no_context = True
    assert engine.create_execution_context() is None
    assert "no memory for a context" in caplog.text
    with pytest.raises(DeviceError, match="TensorRT-RTX 1 cannot run: no memory for a context"):
        engine.check("run")
    engine.check("run")  # said once


@pytest.mark.parametrize(
    ("says", "kind", "text"),
    [
        ("The engine plan file is not compatible: version tag does not match", DeviceError, "build the engine again"),
        ("Error Code 2: OutOfMemory (Requested size was 1 bytes.)", DeviceMemoryError, "smaller tile"),
    ],
)
def test_an_engine_that_tensorrt_does_not_take(says: str, kind: type[DeviceError], text: str) -> None:
    trt = TensorRt()
    trt.says = says
    with pytest.raises(DeviceError, match=f"cannot load the engine: .*{text}") as raised:
        load(trt)
    assert type(raised.value) is kind


def test_an_engine_whose_pictures_are_not_in_rows() -> None:
    trt = TensorRt()
    trt.formats["output"] = "channels last"
    with pytest.raises(DeviceError, match="the engine's output is not in rows"):
        load(trt)


def test_closing_frees_the_engine_and_twice_is_once() -> None:
    trt = TensorRt()
    engine = load(trt)
    assert len(trt.engines) == 1
    engine.close()
    engine.close()
    assert not trt.engines


def test_the_real_library_has_these_names() -> None:
    real = pytest.importorskip("tensorrt_rtx", reason="the [tensorrt-rtx] extra is not installed")
    for double, name in (
        (RuntimeCache, "IRuntimeCache"),
        (RuntimeConfig, "IRuntimeConfig"),
        (RtxEngine, "ICudaEngine"),
        (TwoProfiles, "ICudaEngine"),
        (Strategy, "DynamicShapesKernelSpecializationStrategy"),
        (Allocation, "ExecutionContextAllocationStrategy"),
    ):
        used = {each for each in dir(double) if not each.startswith("_")}
        assert used <= set(dir(getattr(real, name))), name
    assert hasattr(real.IRuntimeConfig, "dynamic_shapes_kernel_specialization_strategy")
    assert hasattr(real.Runtime, "deserialize_cuda_engine")

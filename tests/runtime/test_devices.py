"""Devices are found by name, and what is not there is said plainly."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan_trt.compiler.plan import load_plan
from srgan_trt.errors import DeviceError
from srgan_trt.runtime import devices
from srgan_trt.runtime.devices import gpu_packages, nvidia_gpus, open_pipeline

from ..cuda_driver import build, standin
from ..handmade import differences, expected, noise, scheduled, small_plan, with_int8

without_driver = pytest.mark.skipif(nvidia_gpus() is not None, reason="there is an NVIDIA driver here")
with_stand_in = pytest.mark.skipif(
    bool(build.missing() or gpu_packages()), reason=f"{build.missing() or gpu_packages()}"
)


@pytest.mark.parametrize("device", ["auto", "cpu", "CPU"])
@without_driver
def test_the_cpu_runs_every_plan(tmp_path: Path, device: str) -> None:
    pipeline = open_pipeline(small_plan(tmp_path), device=device)
    assert pipeline.info["device"] == "cpu"
    assert pipeline.info["name"]
    pipeline.close()


@without_driver
@pytest.mark.skipif(bool(gpu_packages()), reason=f"{gpu_packages()}")
@pytest.mark.parametrize("device", ["gpu", "cuda", "cuda:1", "CUDA:0,1"])
def test_a_gpu_needs_a_driver(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match="no NVIDIA driver"):
        open_pipeline(small_plan(tmp_path), device=device)


@pytest.mark.parametrize("device", ["npu", "cuda:", "cuda:x", "cuda0", ""])
def test_an_unknown_device_is_answered_with_the_known_ones(tmp_path: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=re.escape(f"no device {device!r}: use one of auto, cpu, cuda")):
        open_pipeline(small_plan(tmp_path), device=device)


def test_a_gpu_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="names a GPU twice"):
        open_pipeline(small_plan(tmp_path), device="cuda:1,1")


@pytest.mark.parametrize(("precision", "taken"), [(None, "fp32"), ("fp16", "fp32"), ("int8", "int8")])
def test_a_gpu_takes_the_twin_in_int8_only_if_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str | None, taken: str
) -> None:
    import srgan_trt.runtime.tensorrt.cache as engine_cache

    def source(plan: Any, **_: Any) -> Any:
        raise DeviceError(f"an engine of the plan in {plan.spec.precision}")

    monkeypatch.setattr(engine_cache, "EngineCache", source)
    with pytest.raises(DeviceError, match=f"an engine of the plan in {taken}"):
        open_pipeline(with_int8(small_plan(tmp_path), tmp_path / "int8"), device="cuda", precision=precision)


def on_imaginary_gpus(path: Path, device: str, precision: str | None, broken: str) -> dict[str, Any]:
    """What `open_pipeline` opens where a driver is; engines come from a double, or nowhere: if "opening" is broken, or
    "building"."""
    import srgan_trt.runtime.tensorrt.cache as engine_cache

    from ..tensorrt_double import Script, SourceDouble

    error = DeviceError("TensorRT does not like this GPU")

    def source(plan: Any, **_: Any) -> Any:
        if broken == "opening":
            raise error
        return SourceDouble(plan.path, Script(absent={"fp32": error} if broken == "building" else {}))

    engine_cache.EngineCache = source  # type: ignore[assignment,misc]
    image = noise(70, 90)
    out = np.empty((280, 360, 3), np.uint8)
    with closing(open_pipeline(load_plan(path), device=device, precision=precision)) as pipeline:
        pipeline.run(image, out, scheduled(pipeline, image))
        return {"out": out, "info": pipeline.info, "max_concurrency": pipeline.max_concurrency}


def imaginary(tmp_path: Path, kernels: Path, device: str, *, precision: str | None = None, **options: Any) -> Any:
    plan = small_plan(tmp_path)
    broken = options.pop("broken", "")
    outcome = standin.run(on_imaginary_gpus, plan.path, device, precision, broken, kernels=kernels, **options)
    assert not outcome.leaks["allocations"]
    assert differences(outcome.value["out"], expected(plan, noise(70, 90))).max() <= 1
    return outcome.value


@pytest.fixture(scope="module")
def kernels() -> Path:
    from ..cuda_host import build as host

    return host.library()


def test_an_unknown_engine_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no engine 'cudnn': use one of tensorrt, tensorrt-rtx, torch"):
        open_pipeline(small_plan(tmp_path), engine="cudnn")


@pytest.mark.parametrize("there", [True, False])
def test_where_pytorch_is_and_no_tensorrt_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, there: bool
) -> None:
    monkeypatch.setattr(devices, "nvidia_gpus", lambda: ["Imaginary GPU"])
    monkeypatch.setattr(devices, "gpu_packages", lambda: "pip install it")
    monkeypatch.setattr(devices, "find_spec", lambda name: object() if there and name == "torch" else None)
    with closing(open_pipeline(small_plan(tmp_path))) as pipeline:
        assert pipeline.info["device"] == "cpu"
    assert "TensorRT and cuda-core are needed to use it: pip install it" in caplog.text
    assert ("--engine torch" in caplog.text) == there


def test_an_engine_is_for_gpus(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="engine torch runs plans and models on a GPU"):
        open_pipeline(small_plan(tmp_path), device="cpu", engine="torch")


@without_driver
def test_auto_says_that_the_cpu_needs_no_engine(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(open_pipeline(small_plan(tmp_path), engine="torch")) as pipeline:
        assert pipeline.info["device"] == "cpu"
        assert pipeline.info["notes"][0] in caplog.text
    assert "the CPU runs this without torch, which is for GPUs" in caplog.text


def with_torch_s_double(path: Path) -> str:
    """The engine that a picture ran by, if PyTorch's place is taken by a double, and no TensorRT is to be found."""
    from srgan_trt import Upscaler
    from srgan_trt.runtime.tensorrt import pytorch

    from ..tensorrt_double import SourceDouble

    pytorch.TorchSource = lambda plan: SourceDouble(plan.path)  # type: ignore[assignment,misc]
    for name in ("tensorrt", "tensorrt_rtx", "openvino"):
        sys.modules[name] = None  # type: ignore[assignment]
    with Upscaler(load_plan(path), engine="torch", precision="fp32") as up:
        np.testing.assert_array_equal(up(noise(70, 90)).shape, (280, 360, 3))
        return str(up.info["engine"])


@with_stand_in
class TestWithADriver:
    def test_pytorch_needs_no_tensorrt(self, tmp_path: Path, kernels: Path) -> None:
        outcome = standin.run(with_torch_s_double, small_plan(tmp_path).path, kernels=kernels)
        assert outcome.value == "onnxruntime in TensorRT's place"

    def test_auto_takes_the_first_gpu(self, tmp_path: Path, kernels: Path) -> None:
        info = imaginary(tmp_path, kernels, "auto", devices=2)["info"]
        assert (info["device"], info["precision"]) == ("cuda:0", "fp16")

    def test_several_share_the_pictures(self, tmp_path: Path, kernels: Path) -> None:
        found = imaginary(tmp_path, kernels, "cuda:0,1", precision="fp32", devices=2)
        assert found["info"]["name"] == "Imaginary GPU, Imaginary GPU"
        assert found["max_concurrency"] == 4

    def test_bf16_is_for_the_cpu(self, tmp_path: Path, kernels: Path) -> None:
        assert imaginary(tmp_path, kernels, "cpu", precision="fp32")["info"]["device"] == "cpu"
        with pytest.raises(standin.StandInError, match="precision 'bf16' is not to be had on a GPU"):
            imaginary(tmp_path, kernels, "cuda", precision="bf16")

    def test_auto_goes_on_without_a_gpu_that_does_not_work_and_says_so(self, tmp_path: Path, kernels: Path) -> None:
        info = imaginary(tmp_path, kernels, "auto", precision="fp32", broken="opening")["info"]
        assert info["device"] == "cpu"
        assert info["notes"][0] == "the CPU runs this, not the Imaginary GPU: TensorRT does not like this GPU"

    def test_auto_goes_on_without_a_gpu_that_no_engine_can_be_built_for(self, tmp_path: Path, kernels: Path) -> None:
        info = imaginary(tmp_path, kernels, "auto", precision="fp32", broken="building")["info"]
        assert info["device"] == "cpu"
        assert info["name"] in info["notes"][0]
        assert "runs this, not the Imaginary GPU (cuda:0): TensorRT does not like this GPU" in info["notes"][0]

    @pytest.mark.parametrize("broken", ["opening", "building"])
    def test_cuda_does_not_go_on_without(self, tmp_path: Path, kernels: Path, broken: str) -> None:
        with pytest.raises(standin.StandInError, match="TensorRT does not like this GPU"):
            imaginary(tmp_path, kernels, "cuda", precision="fp32", broken=broken)

    def test_a_number_that_there_is_not_is_answered_with_those_there_are(self, tmp_path: Path, kernels: Path) -> None:
        with pytest.raises(standin.StandInError, match=r"there is no GPU 3: the driver lists 0 \(Imaginary GPU\)"):
            imaginary(tmp_path, kernels, "cuda:3")

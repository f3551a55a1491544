"""The models of this package on a photo that neither was trained on: what their cards say, in kind."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.quality.bicubic import enlarge
from srgan_trt.quality.metrics import psnr
from srgan_trt.quality.recipes import RECIPES
from srgan_trt.upscaler import Upscaler

_PIXEL, _GAN = "srresnet-photo-x4", "srgan-photo-x4"


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    path = Path(__file__).resolve().parents[2] / "examples" / "coffee.jpg"
    return np.asarray(Image.open(path).convert("RGB"))[:400, :600]


@pytest.fixture(scope="module", params=["clean", "web", "phone"])
def results(request: pytest.FixtureRequest, photo: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Of the photo as it was made small by a recipe of `evaluate --degrade`."""
    file, _ = RECIPES[request.param].file(photo, scale=4, seed=0)
    small = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    found = {"small": small, "bicubic": enlarge(small, 4)}
    for name in (_PIXEL, _GAN):
        with Upscaler(name, precision="fp32") as up:
            found[name] = up(small)
    return found


def _sharpness(picture: NDArray[np.uint8]) -> float:
    """Mean strength of what the pixels around a pixel do not tell about it (a Laplacian), in levels."""
    values = picture.astype(np.float64)
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float(np.abs(4 * values[1:-1, 1:-1] - around).mean())


def test_the_pixel_model_is_closer_to_the_truth_than_bicubic(
    photo: NDArray[np.uint8], results: dict[str, NDArray[np.uint8]]
) -> None:
    assert psnr(results[_PIXEL], photo, border=4) > psnr(results["bicubic"], photo, border=4) + 0.2


def test_the_gan_model_is_sharper_and_little_farther_from_the_truth(
    photo: NDArray[np.uint8], results: dict[str, NDArray[np.uint8]]
) -> None:
    assert _sharpness(results[_GAN]) > 1.15 * _sharpness(results[_PIXEL])
    assert psnr(results[_GAN], photo, border=4) > psnr(results[_PIXEL], photo, border=4) - 1.2


@pytest.mark.parametrize("name", [_PIXEL, _GAN])
def test_colours_do_not_shift(name: str, photo: NDArray[np.uint8], results: dict[str, NDArray[np.uint8]]) -> None:
    """From those of the photo, or of the small picture: sharpening and JPEG shift them by themselves."""
    means = results[name].mean((0, 1))
    shifts = [np.abs(means - picture.mean((0, 1))) for picture in (photo, results["bicubic"])]
    assert np.minimum(*shifts).max() < 1.0


@pytest.mark.parametrize("name", [_PIXEL, _GAN])
def test_the_plan_in_int8_gives_nearly_the_same_picture(
    name: str, photo: NDArray[np.uint8], results: dict[str, NDArray[np.uint8]]
) -> None:
    """By what the gate asks for, on a photo that it did not judge by."""
    with Upscaler(name, precision="int8") as up:
        large = up(results["small"])
        assert up.info["precision"].startswith("int8 and ")
    error = np.square(large.astype(np.float64) - results[name]).mean()
    assert 10 * np.log10(255**2 / error) > 44.0
    assert psnr(large, photo, border=4) > psnr(results[name], photo, border=4) - 0.1


@pytest.mark.parametrize("level", [20, 60, 100, 140, 180, 230])
@pytest.mark.parametrize("name", [_PIXEL, _GAN])
def test_a_plain_area_stays_plain(name: str, level: int) -> None:
    """Checkerboards show here first. The frame, where the network sees its zero padding, is left out."""
    with Upscaler(name, precision="fp32") as up:
        large = up(np.full((40, 40, 3), level, np.uint8))[48:-48, 48:-48].astype(np.float64)
    assert large.reshape(-1, 3).std(0).max() < 1.0
    assert np.abs(large.mean((0, 1)) - level).max() < 4.0

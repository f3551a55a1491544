"""Small pictures by chance: each kind of damage looks as it should, and nothing but the chances decides."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.blocks import visible_blocks
from srgan_trt.quality.metrics import psnr
from srgan_trt.training.degrade import MARGIN, MIXTURE, PHONE, WEB, Degradation, degrade

from .photos import PHOTO

NOTHING = Degradation(clean=0, blur=0, late_blur=0, first_round=0, sharpen=0, noise=0, jpeg=0, webp=0)


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.asarray(Image.open(PHOTO).convert("RGB"))[40:296, 100:420]


def drawn(photo: NDArray[np.uint8], how: Degradation, count: int = 12) -> list[NDArray[np.uint8]]:
    return [degrade(photo, 4, np.random.default_rng(seed), how) for seed in range(count)]


def test_it_depends_on_the_state_of_the_chances_alone(photo: NDArray[np.uint8]) -> None:
    for seed in range(20):
        one, other = (degrade(photo, 4, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(one, other)
        assert one.shape == (64, 80, 3)
        assert one.dtype == np.uint8


def test_clean_pictures_are_the_fields(photo: NDArray[np.uint8]) -> None:
    for small in drawn(photo, Degradation(clean=1), 2):
        np.testing.assert_array_equal(small, shrink(photo, 4))


def test_a_quarter_stays_clean(photo: NDArray[np.uint8]) -> None:
    part = photo[:64, :64]
    clean = shrink(part, 4)
    count = sum(np.array_equal(degrade(part, 4, np.random.default_rng(seed)), clean) for seed in range(400))
    assert 75 < count < 125


def test_every_kind_of_resizing_keeps_the_place(photo: NDArray[np.uint8]) -> None:
    results = drawn(photo, dataclasses.replace(NOTHING, first_round=0.5), 40)
    assert len({result.tobytes() for result in results}) > 4  # filters, sizes between
    for result in results:
        assert psnr(result, shrink(photo, 4), border=MARGIN) > 26


def test_blur_takes_detail_away_and_keeps_the_mean(photo: NDArray[np.uint8]) -> None:
    sharp = [detail(small) for small in drawn(photo, NOTHING)]
    blurred = drawn(photo, dataclasses.replace(NOTHING, blur=1))
    assert np.mean([detail(small) for small in blurred]) < 0.9 * np.mean(sharp)
    for small in blurred:
        np.testing.assert_allclose(small.mean((0, 1)), photo.mean((0, 1)), atol=1.5)


def test_sharpening_overshoots(photo: NDArray[np.uint8]) -> None:
    sharp = np.mean([detail(small) for small in drawn(photo, NOTHING)])
    sharpened = np.mean([detail(small) for small in drawn(photo, dataclasses.replace(NOTHING, sharpen=1))])
    assert sharpened > 1.15 * sharp


def test_noise_is_gray_or_coloured_and_of_the_strength_asked_for(photo: NDArray[np.uint8]) -> None:
    gray = np.full((256, 256, 3), 128, np.uint8)
    how = dataclasses.replace(NOTHING, noise=1, noise_level=(4.0, 4.0))
    noisy = [small.astype(int) - 128 for small in drawn(gray, how, 40)]
    strengths = np.array([noise.std() for noise in noisy])
    assert set(np.round(strengths[strengths > 0])) <= {3, 4, 5, 6}  # sqrt of the light, even, or both
    assert (strengths == 0).any()
    coloured = [bool((noise[..., 0] != noise[..., 1]).any()) for noise in noisy if noise.any()]
    assert True in coloured
    assert False in coloured


@pytest.mark.parametrize("quality", [30, 60])
def test_jpeg_leaves_its_blocks(photo: NDArray[np.uint8], quality: int) -> None:
    how = dataclasses.replace(NOTHING, jpeg=1, jpeg_again=0, quality=(quality, quality + 0.5))
    for small in drawn(photo, how, 4):
        assert blocks(small, shrink(photo, 4)) > 0.1


def test_a_second_jpeg_may_lie_across_the_blocks_of_the_first(photo: NDArray[np.uint8]) -> None:
    how = dataclasses.replace(NOTHING, jpeg=1, jpeg_again=1, quality=(98, 98.5))
    for small in drawn(photo, how, 6):
        assert small.shape == (64, 80, 3)
        assert psnr(small, shrink(photo, 4), border=MARGIN) > 26


def test_webp_is_what_pillow_writes(photo: NDArray[np.uint8]) -> None:
    how = dataclasses.replace(NOTHING, webp=1, quality=(50, 50.5))
    file = io.BytesIO()
    plain = {small.tobytes() for small in drawn(photo, NOTHING, 40)}
    wanted = set()
    for content in plain:
        file = io.BytesIO()
        Image.frombytes("RGB", (80, 64), content).save(file, "WEBP", quality=50)
        wanted.add(np.asarray(Image.open(file)).tobytes())
    assert {small.tobytes() for small in drawn(photo, how, 4)} <= wanted


def test_previews_of_web_sites_are_sharper_than_clean_pictures_and_have_blocks(photo: NDArray[np.uint8]) -> None:
    clean = shrink(photo, 4)
    previews = drawn(photo, dataclasses.replace(WEB, clean=0))
    assert np.mean([detail(small) for small in previews]) > 1.2 * detail(clean)
    assert np.mean([blocks(small, clean) for small in previews]) > 0.1


def test_pictures_of_phones_are_soft_and_have_blocks(photo: NDArray[np.uint8]) -> None:
    clean = shrink(photo, 4)
    soft = drawn(photo, dataclasses.replace(PHONE, clean=0, noise=0, sharpen=0))
    assert np.mean([detail(small) for small in soft]) < 0.8 * detail(clean)
    assert np.mean([blocks(small, clean) for small in soft]) > 0.1


def test_without_a_degradation_it_is_one_of_the_mixture(photo: NDArray[np.uint8]) -> None:
    part = photo[:64, :64]
    shares = [share for _, share in MIXTURE]
    assert sum(shares) == pytest.approx(1)
    for seed in range(30):
        chance = np.random.default_rng(seed)
        how, _ = MIXTURE[chance.choice(len(MIXTURE), p=shares)]
        np.testing.assert_array_equal(degrade(part, 4, np.random.default_rng(seed)), degrade(part, 4, chance, how))


def test_other_sizes_are_refused(photo: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="not a multiple of 4"):
        degrade(photo[:63], 4, np.random.default_rng(0))


def blocks(small: NDArray[np.uint8], clean: NDArray[np.uint8]) -> float:
    return visible_blocks(enlarge(small, 4), enlarge(clean, 4), scale=4)


def detail(small: NDArray[np.uint8]) -> float:
    """Mean square of what a mean of 3 x 3 pixels takes away."""
    inner = small[MARGIN:-MARGIN, MARGIN:-MARGIN].astype(float)
    rows = (inner[:-2] + inner[1:-1] + inner[2:]) / 3
    mean = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 3
    return float(np.square(inner[1:-1, 1:-1] - mean).mean())

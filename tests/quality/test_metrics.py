"""PSNR and SSIM: against the textbook, scikit-image, and the figures that papers print."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from srgan_trt.quality.bicubic import enlarge, shrink
from srgan_trt.quality.metrics import luma, paper_ssim, psnr, ssim

PHOTO = Path(__file__).parents[2] / "examples" / "coffee.jpg"


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return np.asarray(Image.open(PHOTO).convert("RGB"))[:236, :316]


@pytest.fixture(scope="module")
def blurred(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return enlarge(shrink(photo, 4), 4)


@pytest.mark.parametrize(
    ("pictures", "paper", "others"),
    [
        # Ledig et al., "Photo-realistic single image super-resolution using a GAN", CVPR 2017, table 2; and Lim et al.,
        # "Enhanced deep residual networks for single image super-resolution", CVPRW 2017, table 3.
        ("Set5", (28.43, 0.8211), (28.42, 0.8104)),
        ("BSD100", (25.94, 0.6935), (25.96, 0.6675)),
    ],
)
def test_bicubic_scores_are_the_published_ones(
    shared_images: Path, pictures: str, paper: tuple[float, float], others: tuple[float, float]
) -> None:
    scores = []
    for path in sorted((shared_images / "test" / pictures / "HR").iterdir()):
        high = np.asarray(Image.open(path).convert("RGB"))
        high = high[: high.shape[0] // 4 * 4, : high.shape[1] // 4 * 4]
        result = enlarge(shrink(high, 4), 4)
        scores.append([score(high, result, border=4) for score in (psnr, paper_ssim, ssim)])
    mean_psnr, mean_paper_ssim, mean_ssim = np.mean(scores, axis=0)
    assert mean_psnr == pytest.approx(paper[0], abs=0.05)
    assert mean_psnr == pytest.approx(others[0], abs=0.05)
    assert mean_paper_ssim == pytest.approx(paper[1], abs=0.002)
    assert mean_ssim == pytest.approx(others[1], abs=0.002)


@pytest.mark.parametrize("border", [0, 4, 7])
def test_ssim_is_scikit_images(photo: NDArray[np.uint8], blurred: NDArray[np.uint8], border: int) -> None:
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    inner = (slice(border, photo.shape[0] - border), slice(border, photo.shape[1] - border))
    expected = structural_similarity(
        luma(photo)[inner],
        luma(blurred)[inner],
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    assert ssim(photo, blurred, border=border) == pytest.approx(expected, abs=1e-12)


def test_the_papers_window_is_weighed_by_its_part_inside(photo: NDArray[np.uint8], blurred: NDArray[np.uint8]) -> None:
    for rows, columns in ((slice(0, 190), slice(100, 120)), (slice(100, 111), slice(100, 111))):
        high, low = photo[rows, columns], blurred[rows, columns]
        assert paper_ssim(high, low, border=0) == pytest.approx(by_places(luma(high), luma(low)), abs=1e-12)


def test_psnr_is_scikit_images(photo: NDArray[np.uint8], blurred: NDArray[np.uint8]) -> None:
    peak_signal_noise_ratio = pytest.importorskip("skimage.metrics").peak_signal_noise_ratio
    expected = peak_signal_noise_ratio(luma(photo)[4:-4, 4:-4], luma(blurred)[4:-4, 4:-4], data_range=255)
    assert psnr(photo, blurred, border=4) == pytest.approx(expected, abs=1e-12)


def test_luma_is_scikit_images(photo: NDArray[np.uint8]) -> None:
    color = pytest.importorskip("skimage.color")
    np.testing.assert_allclose(luma(photo), color.rgb2ycbcr(photo)[:, :, 0], atol=1e-10)


def test_luma_is_in_studio_levels() -> None:
    black_white_red = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0]]], np.uint8)
    np.testing.assert_allclose(luma(black_white_red), [[16, 235, 81.481]])


def test_psnr_by_hand() -> None:
    gray = np.full((20, 30, 3), 100, np.uint8)
    # One level of gray is 219/255 of a level of studio luma.
    assert psnr(gray, gray + np.uint8(1), border=4) == pytest.approx(20 * math.log10(255 * 255 / 219))


def test_equal_pictures_have_the_best_scores(photo: NDArray[np.uint8]) -> None:
    assert psnr(photo, photo.copy(), border=4) == math.inf
    assert ssim(photo, photo.copy(), border=4) == pytest.approx(1, abs=1e-12)
    assert paper_ssim(photo, photo.copy(), border=4) == pytest.approx(1, abs=1e-12)


def test_the_order_does_not_count(photo: NDArray[np.uint8], blurred: NDArray[np.uint8]) -> None:
    for score in (psnr, ssim, paper_ssim):
        assert score(photo, blurred, border=4) == score(blurred, photo, border=4)


def test_what_happens_in_the_border_does_not_count(photo: NDArray[np.uint8], blurred: NDArray[np.uint8]) -> None:
    spoilt = blurred.copy()
    spoilt[:4], spoilt[-4:], spoilt[:, :4], spoilt[:, -4:] = 0, 255, 0, 255
    for score in (psnr, ssim, paper_ssim):
        assert score(photo, spoilt, border=4) == score(photo, blurred, border=4)
        assert score(photo, spoilt, border=3) < score(photo, blurred, border=3)


def test_the_least_size_is_the_window_and_two_borders(photo: NDArray[np.uint8], blurred: NDArray[np.uint8]) -> None:
    assert 0 < ssim(photo[:19, :19], blurred[:19, :19], border=4) < 1
    with pytest.raises(ValueError, match="19 pixels are the least"):
        ssim(photo[:18, :40], blurred[:18, :40], border=4)
    with pytest.raises(ValueError, match="9 pixels are the least"):
        psnr(photo[:8, :8], blurred[:8, :8], border=4)


def test_what_cannot_be_compared_is_refused(photo: NDArray[np.uint8]) -> None:
    for score in (psnr, ssim, paper_ssim):
        with pytest.raises(ValueError, match="not compared"):
            score(photo, photo[1:], border=4)
        with pytest.raises(ValueError, match="uint8"):
            score((photo / 255).astype(np.float32), (photo / 255).astype(np.float32), border=4)
        with pytest.raises(ValueError, match="uint8"):
            score(photo[:, :, :1], photo[:, :, :1], border=4)
        with pytest.raises(ValueError, match="too small"):
            score(photo, photo, border=-1)


def by_places(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """`paper_ssim` by its definition, one place after the other."""
    height, width = x.shape
    sigma = 1.5 * height / 256
    weight = [round(256 / (math.sqrt(2 * math.pi) * sigma) * math.exp(-(d**2) / (2 * sigma**2))) for d in range(50)]
    weight[0] = 256 - 2 * sum(weight[1:])
    total = weights = 0.0
    for row, column in np.ndindex(height, width):
        above, left = np.arange(height), np.arange(width)
        window = np.outer(
            [weight[abs(d)] if abs(d) < 50 else 0 for d in above - row],
            [weight[abs(d)] if abs(d) < 50 else 0 for d in left - column],
        )
        mean_x, mean_y = np.average(x, weights=window), np.average(y, weights=window)
        variances = np.average((x - mean_x) ** 2, weights=window) + np.average((y - mean_y) ** 2, weights=window)
        covariance = np.average((x - mean_x) * (y - mean_y), weights=window)
        similarity = (2 * mean_x * mean_y + 2.55**2) * (2 * covariance + 7.65**2)
        similarity /= (mean_x**2 + mean_y**2 + 2.55**2) * (variances + 7.65**2)
        total += window.sum() * similarity
        weights += window.sum()
    return total / weights
